//! How text from outside is made harmless before a person or a log sees it, and numbers with their
//! nouns.

use std::fmt::Display;

/// Whether a character could disturb a terminal, a log or a header: control characters, and those
/// that format or turn around what follows.
fn disturbs(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => true,
        _ => c.is_control(),
    }
}

/// The text with everything that could disturb taken out: each run of it becomes one space.
pub fn clean(text: &str) -> String {
    // Hardly any text is disturbing.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(disturbs) {
        return text.to_owned();
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars() {
        let blank = disturbs(c);
        if !(blank && gap) {
            cleaned.push(if blank { ' ' } else { c });
        }
        gap = blank;
    }
    cleaned
}

/// At most so many bytes of the text, cut between two characters.
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// A number of things in words: `1 image`, `2 images`.
pub fn count<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// The text cut to at most so many characters, with an ellipsis where it was cut.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// At most so many characters of the text on one line, with escapes in place of what could disturb
/// and an ellipsis where it was cut.
pub fn escaped(text: &str, most: usize) -> String {
    let mut line = String::new();
    push_escaped(&mut line, text, most, None);
    line
}

/// The same between two quotation marks; those in the text are escaped.
pub fn quoted(text: &str, mark: char, most: usize) -> String {
    let mut line = String::from(mark);
    push_escaped(&mut line, text, most, Some(mark));
    line.push(mark);
    line
}

fn push_escaped(line: &mut String, text: &str, most: usize, mark: Option<char>) {
    let mut chars = text.chars();
    for c in chars.by_ref().take(most) {
        match c {
            c if c.is_control() => line.extend(c.escape_default()),
            c if disturbs(c) => line.extend(c.escape_unicode()),
            c if mark.is_some() && (Some(c) == mark || c == '\\') => line.extend(['\\', c]),
            c => line.push(c),
        }
    }
    if chars.next().is_some() {
        line.push('…');
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_text_is_cut_between_two_letters() {
        assert_eq!(
            (cut("häß", 2), cut("häß", 3), cut("häß", 9), cut("ä", 1)),
            ("h", "hä", "häß", "")
        );
    }

    #[test]
    fn control_characters_never_pass() {
        assert_eq!(clean("a\r\n\tb\u{1b}[31mc\u{202e}d"), "a b [31mc d");
    }

    #[rstest]
    #[case("denied\nlevel=error \x1b[31m", 200, "denied\\nlevel=error \\u{1b}[31m")]
    #[case("\u{202e}x", 200, "\\u{202e}x")]
    #[case("abcdef", 3, "abc…")]
    #[case("a\\b", 10, "a\\b")]
    fn what_disturbs_is_escaped(#[case] text: &str, #[case] most: usize, #[case] line: &str) {
        assert_eq!(escaped(text, most), line);
    }

    #[rstest]
    #[case("a\nb", '`', "`a\\nb`")]
    #[case("a\"b\\", '"', r#""a\"b\\""#)]
    #[case("a\"b", '`', "`a\"b`")]
    fn a_quotation_ends_where_it_ends(#[case] text: &str, #[case] mark: char, #[case] line: &str) {
        assert_eq!(quoted(text, mark, 80), line);
        assert!(quoted(&"x".repeat(5000), mark, 80).len() < 100);
    }

    #[test]
    fn a_cut_is_shown() {
        assert_eq!(shorten("abc def", 5), "abc…");
        assert_eq!(shorten("abc", 3), "abc");
    }
}
