//! How lines for people are kept readable and harmless.
//!
//! The API server drops a warning with any control character in it without a word, may cut one
//! above 256 characters, and cuts all once they exceed 4,096 in sum
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>).

/// Characters in one warning.
pub const MAX_WARNING: usize = 256;
/// Characters in all warnings of an answer.
pub const MAX_WARNINGS_TOTAL: usize = 4096;
/// What is left for the warnings of other webhooks and the API server itself.
const OURS: usize = MAX_WARNINGS_TOTAL - 512;

/// The text with everything that could disturb a terminal, a log or a header taken out: control
/// and formatting characters become one space.
pub fn clean(text: &str) -> String {
    let disturbing = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut cleaned = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars() {
        let blank = disturbing(c);
        if !(blank && gap) {
            cleaned.push(if blank { ' ' } else { c });
        }
        gap = blank;
    }
    cleaned
}

/// The text cut to at most so many characters, with an ellipsis where it was cut.
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// The warnings as they may be sent: clean, each once, each short enough, and all together too.
/// What does not fit is counted in a last line.
pub fn fit_warnings(warnings: &[String]) -> Vec<String> {
    let mut fitting: Vec<String> = Vec::with_capacity(warnings.len());
    let mut total = 0;
    let mut left_out = 0;
    for warning in warnings {
        let line = shorten(&clean(warning), MAX_WARNING);
        if line.is_empty() || fitting.contains(&line) {
            continue;
        }
        let length = line.chars().count();
        if total + length > OURS {
            left_out += 1;
            continue;
        }
        total += length;
        fitting.push(line);
    }
    if left_out > 0 {
        fitting.push(format!("{left_out} more images have problems; `pullgate check` shows all"));
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_pass() {
        assert_eq!(clean("a\r\n\tb\u{1b}[31mc\u{202e}d"), "a b [31mc d");
    }

    #[test]
    fn many_long_warnings_stay_within_what_the_api_server_takes() {
        let warnings: Vec<String> = (0..100).map(|n| format!("{n} {}", "ü".repeat(400))).collect();
        let fitting = fit_warnings(&warnings);
        assert!(fitting.iter().all(|line| line.chars().count() <= MAX_WARNING));
        assert!(
            fitting.iter().map(|line| line.chars().count()).sum::<usize>() < MAX_WARNINGS_TOTAL
        );
        assert!(fitting.last().is_some_and(|line| line.contains("more images")));
    }

    #[test]
    fn equal_warnings_are_said_once() {
        let twice = vec!["same".to_owned(), "same".to_owned(), String::new()];
        assert_eq!(fit_warnings(&twice), ["same"]);
    }
}
