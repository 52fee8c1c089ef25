//! A message as a row of words, and the little language of the rules that are matched against it.
//!
//! A message splits at blanks and punctuation; image names, URLs and addresses stay in one piece (so
//! that an image called `timeout` is not a time-out), and what a long text can cost is bounded. A phrase
//! is words with blanks between: `word` that word, `a|b` either, `word*` a word that starts so, `*` any
//! one word, `..` up to [`MAX_GAP`] words in between. Case does not matter. Knows nothing of causes.

/// Longest text that is looked at, in bytes; the kubelet's own messages stay far below.
const MAX_TEXT: usize = 16 * 1024;
/// Most words that are looked at.
const MAX_TOKENS: usize = 2048;
/// Words that announce a name: what stands in quotes behind them is never an error word.
const BEFORE_NAMES: &[&str] =
    &["image", "images", "reference", "ref", "repository", "manifest", "pod", "container", "name"];

/// One word of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    start: usize,
    end: usize,
    /// Whether it is a quoted name, which no rule may match by its words.
    pub(super) opaque: bool,
}

/// A normalised message and its words.
#[derive(Debug)]
pub(super) struct Text {
    raw: String,
    lower: String,
    tokens: Vec<Token>,
}

impl Text {
    /// Splits a message into words.
    pub(super) fn new(message: &str) -> Self {
        let raw = normalise(message);
        let lower = raw.to_ascii_lowercase();
        let tokens = split(&lower);
        Self { raw, lower, tokens }
    }

    /// The words, in order.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// A word in lower case.
    pub(super) fn lower(&self, token: Token) -> &str {
        &self.lower[token.start..token.end]
    }

    /// A word as it was written.
    pub(super) fn raw(&self, token: Token) -> &str {
        &self.raw[token.start..token.end]
    }

    /// The whole text in lower case, blanks and quotes normalised.
    pub(super) fn all_lower(&self) -> &str {
        &self.lower
    }

    /// Where a word starts in the whole text.
    pub(super) fn offset(token: Token) -> usize {
        token.start
    }

    /// Whether a placeholder such as `<account>` is written right in front of a word: then what is
    /// left of a name is not one.
    pub(super) fn follows_placeholder(&self, token: Token) -> bool {
        let before = &self.lower.as_bytes()[..token.start];
        matches!(before, [.., b'>' | b'*' | b'}' | b'#'] | [b'.'] | [.., b'>' | b' ' | b'"', b'.'])
    }

    /// Whether this is the last word, and nothing but dots follows: the message may be cut there.
    pub(super) fn ends_with(&self, token: Token) -> bool {
        self.lower[token.end..].bytes().all(|b| matches!(b, b'.' | b' ' | b'"'))
    }
}

/// One blank between words; escapes of quotes, line ends and tabs undone.
fn normalise(message: &str) -> String {
    let message = match message.char_indices().find(|&(at, _)| at >= MAX_TEXT) {
        Some((at, _)) => &message[..at],
        None => message,
    };
    let mut text = String::with_capacity(message.len());
    let mut chars = message.chars().peekable();
    while let Some(char) = chars.next() {
        let char = match (char, chars.peek()) {
            ('\\', Some('n' | 'r' | 't')) if !text.ends_with(['\\', ':']) => {
                chars.next();
                ' '
            }
            ('\\', _) => continue,
            ('\u{2026}', _) => '.',
            ('\u{201c}' | '\u{201d}', _) => '"',
            ('\u{2018}' | '\u{2019}', _) => '\'',
            (other, _) if other.is_whitespace() || other.is_control() => ' ',
            (other, _) => other,
        };
        if char != ' ' || !text.ends_with(' ') {
            text.push(char);
        }
    }
    text
}

const fn separates(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'"'
            | b'\''
            | b'`'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'<'
            | b'>'
            | b','
            | b';'
            | b'='
            | b'|'
            | b'*'
    )
}

fn split(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < bytes.len() && tokens.len() < MAX_TOKENS {
        if separates(bytes[at]) && !opens_address(&bytes[at..]) {
            at += 1;
            continue;
        }
        let rest = &bytes[at..];
        let end = at
            + if is_url(rest) {
                rest.iter()
                    .position(|&b| matches!(b, b' ' | b'"' | b'\'' | b'<' | b'>' | b']' | b')'))
            } else if opens_address(rest) {
                rest.iter().position(|&b| matches!(b, b' ' | b'"' | b','))
            } else {
                (0..rest.len()).find(|&n| separates(rest[n]) && !joins(rest, n))
            }
            .unwrap_or(rest.len());
        let quoted = at > 0
            && matches!(bytes[at - 1], b'"' | b'\'' | b'`')
            && bytes.get(end) == Some(&bytes[at - 1]);
        if let Some(mut token) = trim(bytes, at, end) {
            let announced = tokens
                .last()
                .is_some_and(|last| BEFORE_NAMES.contains(&&text[last.start..last.end]));
            token.opaque = quoted && announced;
            tokens.push(token);
        }
        at = end.max(at + 1);
    }
    tokens
}

/// The apostrophe of "couldn't".
fn joins(bytes: &[u8], at: usize) -> bool {
    bytes[at] == b'\''
        && at > 0
        && bytes[at - 1].is_ascii_alphabetic()
        && bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic)
}

fn is_url(rest: &[u8]) -> bool {
    [&b"http://"[..], b"https://", b"docker://", b"unix://"].iter().any(|s| rest.starts_with(s))
}

/// `[2001:db8::1]:5000/app` is one word, `[e1, e2]` is not.
fn opens_address(rest: &[u8]) -> bool {
    let Some(close) = rest.iter().take(48).position(|&b| b == b']') else { return false };
    rest[0] == b'['
        && rest[1..close].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b':' | b'.'))
        && rest[1..close].contains(&b':')
        && rest.get(close + 1) == Some(&b':')
        && rest.get(close + 2).is_some_and(u8::is_ascii_digit)
}

/// Cuts punctuation off both ends; nothing if nothing is left.
fn trim(bytes: &[u8], mut start: usize, mut end: usize) -> Option<Token> {
    while start < end && matches!(bytes[start], b':' | b'.' | b'!' | b'?' | b'\'' | b'-') {
        start += 1;
    }
    while end > start && matches!(bytes[end - 1], b':' | b'.' | b'!' | b'?' | b'\'') {
        end -= 1;
    }
    (start < end).then_some(Token { start, end, opaque: false })
}

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
