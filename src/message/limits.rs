//! How lines for people are kept readable and harmless.
//!
//! The API server drops a warning with any control character in it without a word, may cut one
//! above 256 characters, and cuts all once they exceed 4,096 in sum
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>).

use crate::text::{clean, shorten};

/// Characters in one warning.
pub const MAX_WARNING: usize = 256;
/// Characters in all warnings of an answer.
const MAX_WARNINGS_TOTAL: usize = 4096;
/// What is left for the warnings of other webhooks and the API server itself.
const OURS: usize = MAX_WARNINGS_TOTAL - 512;

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
        fitting
            .push(format!("{left_out} more images have problems; to see all, run: pullgate check"));
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

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
