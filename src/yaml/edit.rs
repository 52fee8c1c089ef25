//! Names replaced in the text of a file, each at its place.

use std::collections::BTreeSet;
use std::ops::Range;

use super::place::Position;

/// What some editors put in front of a file.
const BOM: char = '\u{feff}';

/// A name, where it stands, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Without a column it is somewhere on or below the line, as in JSON, or on the line itself, as
    /// in a list.
    pub(crate) at: Position,
    pub(crate) image: Box<str>,
    pub(crate) pinned: String,
}

/// What became of a file.
pub(crate) struct Edited {
    pub(crate) content: Vec<u8>,
    pub(crate) done: Vec<Edit>,
    /// What does not stand where it was read.
    pub(crate) undone: Vec<Edit>,
}

/// Applies the edits; one that does not fit changes nothing.
pub(crate) fn edit(content: Vec<u8>, edits: &[Edit]) -> Edited {
    let Ok(text) = std::str::from_utf8(&content) else {
        return Edited { content, done: Vec::new(), undone: edits.to_vec() };
    };
    let lines = Lines::of(text);
    let mut places: Vec<(Range<usize>, &Edit)> = Vec::new();
    let mut seen = BTreeSet::new();
    let (mut done, mut undone) = (Vec::new(), Vec::new());
    for edit in edits {
        let found = match edit.at.column {
            0 => lines.without_column(edit, edits),
            _ => lines.at(edit).into_iter().collect(),
        };
        if found.is_empty() {
            undone.push(edit.clone());
            continue;
        }
        done.push(edit.clone());
        for place in found {
            // One place may be read twice, where an anchor is repeated.
            if seen.insert(place.start) {
                places.push((place, edit));
            }
        }
    }
    places.sort_by_key(|(place, _)| place.start);
    let mut changed = String::with_capacity(text.len() + places.len() * 72);
    let mut at = 0;
    for (place, edit) in places {
        changed.push_str(text.get(at..place.start).unwrap_or_default());
        changed.push_str(&edit.pinned);
        at = place.end;
    }
    changed.push_str(text.get(at..).unwrap_or_default());
    Edited { content: changed.into_bytes(), done, undone }
}

/// A text and where its lines begin.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Where a line begins, and the line.
    fn line(&self, number: u32) -> Option<(usize, &'t str)> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end)?.trim_end_matches(['\n', '\r']);
        let bare = line.trim_start_matches(BOM);
        Some((start + line.len() - bare.len(), bare))
    }

    /// The name at its line and column: plain, or in quotes, behind an anchor or a tag.
    fn at(&self, edit: &Edit) -> Option<Range<usize>> {
        let (start, line) = self.line(edit.at.line)?;
        let column = usize::try_from(edit.at.column).ok()?.checked_sub(1)?;
        let (mut at, _) = line.char_indices().nth(column)?;
        let mut rest = line.get(at..)?;
        while rest.starts_with(['&', '!']) {
            let property = rest.find([' ', '\t'])?;
            let after = rest.get(property..)?;
            let value = after.trim_start_matches([' ', '\t']);
            at += property + after.len() - value.len();
            rest = value;
        }
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        if quote.is_some() {
            at += 1;
            rest = rest.get(1..)?;
        }
        let after = rest.strip_prefix(&*edit.image)?;
        let ends = match (quote, after.chars().next()) {
            (Some(quote), next) => next == Some(quote),
            (None, next) => next.is_none_or(|c| matches!(c, ' ' | '\t' | ',' | '}' | ']')),
        };
        let start = start + at;
        ends.then_some(start..start + edit.image.len())
    }

    /// The name in a list of images, on its line; or in JSON, wherever it is a whole text, if it
    /// stands there as often as it was read as an image.
    fn without_column(&self, edit: &Edit, all: &[Edit]) -> Vec<Range<usize>> {
        if let Some(place) = self.in_list(edit) {
            return vec![place];
        }
        let text = format!("\"{}\"", edit.image);
        let places: Vec<_> = self
            .text
            .match_indices(&text)
            .map(|(at, found)| at + 1..at + found.len() - 1)
            .collect();
        let read = all.iter().filter(|other| other.image == edit.image);
        let alike = read.clone().all(|other| other.pinned == edit.pinned && other.at.column == 0);
        if alike && places.len() == read.count() { places } else { Vec::new() }
    }

    fn in_list(&self, edit: &Edit) -> Option<Range<usize>> {
        let (start, line) = self.line(edit.at.line)?;
        let words = line.split('#').next().unwrap_or_default();
        let mut at = 0;
        for word in words.split_inclusive(char::is_whitespace) {
            if word.trim_end() == &*edit.image {
                let start = start + at;
                return Some(start..start + edit.image.len());
            }
            at += word.len();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn pin(text: &str, places: &[(u32, u32)]) -> (String, usize) {
        let edits: Vec<Edit> = places
            .iter()
            .map(|(line, column)| Edit {
                at: Position { line: *line, column: *column },
                image: "a:1".into(),
                pinned: "a:1@D".to_owned(),
            })
            .collect();
        let edited = edit(text.as_bytes().to_vec(), &edits);
        (String::from_utf8(edited.content).unwrap(), edited.undone.len())
    }

    #[rstest]
    #[case::plain("image: a:1 # old\n", (1, 8), "image: a:1@D # old\n")]
    #[case::last("image: a:1", (1, 8), "image: a:1@D")]
    #[case::crlf("x: y\r\nimage: a:1\r\n", (2, 8), "x: y\r\nimage: a:1@D\r\n")]
    #[case::quoted("image: \"a:1\"\n", (1, 8), "image: \"a:1@D\"\n")]
    #[case::single("image: 'a:1'\n", (1, 8), "image: 'a:1@D'\n")]
    #[case::flow("{image: a:1, b: c}\n", (1, 9), "{image: a:1@D, b: c}\n")]
    #[case::anchor("image: &i !!str a:1\n", (1, 8), "image: &i !!str a:1@D\n")]
    #[case::mark("\u{feff}image: a:1\n", (1, 8), "\u{feff}image: a:1@D\n")]
    #[case::letters("ü: {image: a:1}\n", (1, 12), "ü: {image: a:1@D}\n")]
    #[case::json("{\"image\": \"a:1\",\n \"x\": \"a:11\"}\n", (1, 0), "{\"image\": \"a:1@D\",\n \"x\": \"a:11\"}\n")]
    #[case::list("# a:1\n  b:1 a:1 # a:1\n", (2, 0), "# a:1\n  b:1 a:1@D # a:1\n")]
    fn names_are_replaced_at_their_place(
        #[case] text: &str,
        #[case] place: (u32, u32),
        #[case] expected: &str,
    ) {
        assert_eq!(pin(text, &[place]), (expected.to_owned(), 0));
    }

    #[rstest]
    #[case::longer("image: a:12\n", (1, 8))]
    #[case::alias("image: *i\n", (1, 8))]
    #[case::block("image: >-\n  a:1\n", (1, 8))]
    #[case::elsewhere("image: b:1\nimage: a:1\n", (1, 8))]
    #[case::beyond("image: a:1\n", (9, 8))]
    #[case::not_only_an_image("{\"image\": \"a:1\",\n \"x\": \"a:1\"}\n", (1, 0))]
    fn what_does_not_stand_there_is_left(#[case] text: &str, #[case] place: (u32, u32)) {
        assert_eq!(pin(text, &[place]), (text.to_owned(), 1));
    }

    #[test]
    fn each_place_is_changed_once() {
        let text = "x: &i {image: a:1}\ny: *i\nimage: a:1\n";
        let (pinned, left) = pin(text, &[(1, 15), (1, 15), (3, 8)]);
        assert_eq!((pinned.as_str(), left), ("x: &i {image: a:1@D}\ny: *i\nimage: a:1@D\n", 0));
    }
}
