//! The little language of the rules, and how a phrase is found among the words of a message.
//!
//! A phrase is words with blanks between: `word` that word, `a|b` either, `word*` a word that
//! starts so, `*` any one word, `..` up to [`MAX_GAP`] words in between. Case does not matter.

use super::tokens::{Text, Token};

/// Most words that `..` skips.
const MAX_GAP: usize = 14;
/// Words of a cut-off phrase that must be there before the rest is believed.
const MIN_OF_CUT: usize = 2;
/// Words that do not count for that: any message is full of them.
const COMMON: &[&str] = &[
    "failed",
    "unable",
    "error",
    "to",
    "is",
    "not",
    "no",
    "the",
    "of",
    "a",
    "for",
    "code",
    "status",
    "http",
    "from",
    "image",
    "unknown",
    "invalid",
    "unexpected",
    "manifest",
    "repository",
    "layer",
    "trying",
    "pull",
    "an",
];

/// A phrase, taken apart.
#[derive(Debug)]
pub(super) struct Phrase(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Words(Vec<&'static str>),
    One,
    Gap,
}

impl Phrase {
    pub(super) fn new(text: &'static str) -> Self {
        Self(
            text.split(' ')
                .map(|word| match word {
                    "*" => Piece::One,
                    ".." => Piece::Gap,
                    words => Piece::Words(words.split('|').collect()),
                })
                .collect(),
        )
    }

    /// Words of which one must be in a text that has the whole phrase.
    pub(super) fn needs(&self) -> Option<&[&'static str]> {
        self.0.iter().find_map(|piece| match piece {
            Piece::Words(words) if words.iter().all(|word| !word.ends_with('*')) => {
                Some(words.as_slice())
            }
            _ => None,
        })
    }

    /// Whether the phrase stands in these words of the text. With `cut`, the text may end inside
    /// the phrase, but not before a gap: what comes behind `..`, a status most of all, was not said.
    pub(super) fn is_in(&self, text: &Text, tokens: &[Token], cut: bool) -> bool {
        self.find(text, tokens, cut).is_some()
    }

    /// Where the phrase starts, as [`Phrase::is_in`] looks for it.
    pub(super) fn find(&self, text: &Text, tokens: &[Token], cut: bool) -> Option<usize> {
        (0..tokens.len()).find(|&at| matches(&self.0, text, &tokens[at..], cut, 0))
    }
}

fn matches(pieces: &[Piece], text: &Text, tokens: &[Token], cut: bool, seen: usize) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return true };
    let may_end =
        || cut && seen >= MIN_OF_CUT && !pieces.iter().any(|piece| matches!(piece, Piece::Gap));
    let Some((&token, others)) = tokens.split_first() else { return may_end() };
    match piece {
        Piece::One => matches(rest, text, others, cut, seen),
        Piece::Gap => (0..=MAX_GAP.min(tokens.len() - 1))
            .any(|skip| matches(rest, text, &tokens[skip..], false, seen)),
        Piece::Words(words) => {
            if token.opaque {
                return false;
            }
            let word = text.lower(token);
            let whole = words.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(start) => word.starts_with(start),
                None => word == *wanted,
            });
            if whole {
                let counts = usize::from(!COMMON.contains(&word));
                return matches(rest, text, others, cut, seen + counts);
            }
            may_end()
                && others.is_empty()
                && text.ends_with(token)
                && words.iter().any(|wanted| wanted.starts_with(word))
        }
    }
}
