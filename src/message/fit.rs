//! How the parts of a line are put together, and lines in an answer: within their limits, what matters
//! first.
//!
//! The API server drops a warning with any control character in it without a word, may cut one
//! above 256 characters, and cuts all once they exceed 4,096 in sum
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>).

use crate::text::{clean, shorten};

/// Names within a cause are cut to this.
pub(super) const MAX_NAME: usize = 28;

/// Image and cause are within so many characters.
pub const MAX_HEAD: usize = 120;
/// An image name is cut to this before it stands in a line, keeping its end, where the tag is.
const MAX_IMAGE: usize = 60;
/// However long the cause is, so much of the image's name stands before it.
const MIN_IMAGE: usize = 30;
/// And so many characters are left for the cause.
pub(super) const MAX_CAUSE: usize = MAX_HEAD - MIN_IMAGE - "images : ".len();

/// What stands in front of the details, which do not change what the person does now.
pub const DETAILS: &str = " — ";

/// A part of a line behind its head. Parts of lower rank are left out first.
pub(super) struct Tail {
    rank: u8,
    /// Whether it changes nothing about what to do now.
    is_detail: bool,
    words: String,
}

impl Tail {
    pub(super) fn step(rank: u8, words: impl Into<String>) -> Self {
        Self { rank, is_detail: false, words: words.into() }
    }

    pub(super) fn detail(rank: u8, words: impl Into<String>) -> Self {
        Self { rank, is_detail: true, words: words.into() }
    }

    /// Characters that it takes at most, with what stands in front.
    fn room(&self) -> usize {
        count(&self.words) + if self.is_detail { count(DETAILS) } else { "; ".len() }
    }
}

/// The line about these images, with what fits of the rest.
pub(super) fn fit(images: &[&str], cause: &str, tails: &[Tail]) -> String {
    let cause = shorten(&clean(cause), MAX_CAUSE);
    let subject = subject(images, MAX_HEAD - count(&cause) - ": ".len());
    let mut left = MAX_WARNING.saturating_sub(count(&subject) + 2 + count(&cause));
    let mut order: Vec<usize> = (0..tails.len()).collect();
    order.sort_by_key(|index| tails.get(*index).map(|tail| tail.rank));
    let mut chosen = vec![false; tails.len()];
    for index in order {
        let Some(needed) = tails.get(index).map(Tail::room) else { continue };
        if needed <= left {
            left -= needed;
            chosen[index] = true;
        }
    }
    let chosen = tails.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(tail, _)| tail);
    clean(&joined(format!("{subject}: {cause}"), chosen))
}

/// What is wrong, what to do, and behind a dash the details.
pub(super) fn joined<'t>(mut line: String, tails: impl Iterator<Item = &'t Tail>) -> String {
    let mut in_details = false;
    for tail in tails {
        line.push_str(if tail.is_detail && !in_details { DETAILS } else { "; " });
        line.push_str(&tail.words);
        in_details |= tail.is_detail;
    }
    line
}

/// The images at the head of a line: all of them if they fit, else the first and how many more.
fn subject(images: &[&str], room: usize) -> String {
    let [first, rest @ ..] = images else { return String::new() };
    if rest.is_empty() {
        return format!("image {}", image_name(first, room - "image ".len()));
    }
    let all =
        format!("images {}", images.iter().map(|one| clean(one)).collect::<Vec<_>>().join(", "));
    if count(&all) <= room {
        return all;
    }
    let more = format!(" and {} more", rest.len());
    format!("image {}{more}", image_name(first, room - "image ".len() - count(&more)))
}

/// The image in a line: cut in front, since the end tells images apart.
fn image_name(image: &str, room: usize) -> String {
    let image = clean(image);
    let most = room.min(MAX_IMAGE);
    let length = count(&image);
    if length <= most {
        return image;
    }
    let head = shorten(&image, most / 3);
    let tail: String = image.chars().skip(length - most * 2 / 3).collect();
    format!("{head}{tail}")
}

fn count(text: &str) -> usize {
    text.chars().count()
}

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
