//! JSON as Go's `encoding/json` checks and reads it.
//!
//! The kubelet decodes pull secrets with that library, which is stricter than others about some
//! things (one syntax error anywhere refuses the whole document, with a text of its own) and
//! laxer about others (names match in any case, duplicates are allowed, broken UTF-8 and lone
//! surrogates become U+FFFD). Checking comes first and runs over everything; after it, the
//! readers here may assume a valid document. No recursion: nesting is the sender's choice.

use std::borrow::Cow;

/// How deep arrays and objects may nest.
const MAX_DEPTH: usize = 10_000;

/// What kind of value starts here; the names are those of Go's error texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// The kind of a value in a checked document, by its first byte.
    pub(super) fn of(value: &[u8]) -> Self {
        match value.trim_ascii_start().first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Bool,
            Some(b'n') | None => Self::Null,
            Some(_) => Self::Number,
        }
    }

    /// As Go's texts call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// What the checker expects next within the innermost array or object.
#[derive(Clone, Copy)]
enum Inside {
    Object,
    Array,
}

/// Checks the whole document; the error is Go's text.
pub(super) fn check(data: &[u8]) -> Result<(), String> {
    let mut checker = Checker { data, at: 0, stack: Vec::new() };
    checker.document()
}

struct Checker<'a> {
    data: &'a [u8],
    at: usize,
    stack: Vec<Inside>,
}

impl Checker<'_> {
    fn document(&mut self) -> Result<(), String> {
        loop {
            // Here a value begins; when it is complete, the brackets around it go on or close.
            let opened = self.begin_value()?;
            if opened && !self.first_in_bracket()? {
                continue;
            }
            if self.after_value()? {
                break;
            }
        }
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(byte) => Err(unexpected(byte, "after top-level value")),
        }
    }

    /// Reads a literal, or the opening of an array or object: then it answers `true`.
    fn begin_value(&mut self) -> Result<bool, String> {
        self.space();
        let byte = self.next()?;
        match byte {
            b'{' | b'[' => {
                self.stack.push(if byte == b'{' { Inside::Object } else { Inside::Array });
                if self.stack.len() > MAX_DEPTH {
                    return Err(unexpected(byte, "exceeded max depth"));
                }
                return Ok(true);
            }
            b'"' => self.string()?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            b'-' | b'0'..=b'9' => self.number(byte)?,
            _ => return Err(unexpected(byte, "looking for beginning of value")),
        }
        Ok(false)
    }

    /// Just behind an opening bracket: answers `true` if the bracket closes at once, which
    /// completes a value; otherwise a value is to begin (behind a key, in an object).
    fn first_in_bracket(&mut self) -> Result<bool, String> {
        self.space();
        let closing = match self.stack.last() {
            Some(Inside::Object) => b'}',
            _ => b']',
        };
        if self.peek() == Some(closing) {
            self.at += 1;
            self.stack.pop();
            return Ok(true);
        }
        if closing == b'}' {
            self.key()?;
        }
        Ok(false)
    }

    /// Behind a complete value: answers `true` if the document is complete, `false` if another
    /// value is to begin.
    fn after_value(&mut self) -> Result<bool, String> {
        while let Some(inside) = self.stack.last().copied() {
            self.space();
            let byte = self.next()?;
            match (inside, byte) {
                (Inside::Object, b',') => {
                    self.key()?;
                    return Ok(false);
                }
                (Inside::Array, b',') => return Ok(false),
                (Inside::Object, b'}') | (Inside::Array, b']') => {
                    self.stack.pop();
                }
                (Inside::Object, _) => return Err(unexpected(byte, "after object key:value pair")),
                (Inside::Array, _) => return Err(unexpected(byte, "after array element")),
            }
        }
        Ok(true)
    }

    fn key(&mut self) -> Result<(), String> {
        self.space();
        match self.next()? {
            b'"' => self.string()?,
            byte => return Err(unexpected(byte, "looking for beginning of object key string")),
        }
        self.space();
        match self.next()? {
            b':' => Ok(()),
            byte => Err(unexpected(byte, "after object key")),
        }
    }

    /// The rest of a string, behind its opening quotation mark.
    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next_or_space() {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let byte = self.next_or_space();
                            if !byte.is_ascii_hexdigit() {
                                return Err(unexpected(
                                    byte,
                                    "in \\u hexadecimal character escape",
                                ));
                            }
                        }
                    }
                    byte => return Err(unexpected(byte, "in string escape code")),
                },
                byte if byte < 0x20 => return Err(unexpected(byte, "in string literal")),
                _ => {}
            }
        }
    }

    /// The rest of `true`, `false` or `null`, behind its first letter.
    fn word(&mut self, word: &'static str) -> Result<(), String> {
        for expected in word.bytes().skip(1) {
            let byte = self.next_or_space();
            if byte != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(unexpected(byte, &context));
            }
        }
        Ok(())
    }

    /// The rest of a number, behind its first byte.
    fn number(&mut self, first: u8) -> Result<(), String> {
        let first = match first {
            b'-' => match self.next_or_space() {
                byte @ b'0'..=b'9' => byte,
                byte => return Err(unexpected(byte, "in numeric literal")),
            },
            digit => digit,
        };
        if first != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            match self.next_or_space() {
                b'0'..=b'9' => self.digits(),
                byte => return Err(unexpected(byte, "after decimal point in numeric literal")),
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            match self.next_or_space() {
                b'0'..=b'9' => self.digits(),
                byte => return Err(unexpected(byte, "in exponent of numeric literal")),
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or("unexpected end of JSON input")?;
        self.at += 1;
        Ok(byte)
    }

    /// Go ends the input with a space, and within a word, number or escape it complains of that.
    fn next_or_space(&mut self) -> u8 {
        let byte = self.peek().unwrap_or(b' ');
        self.at += 1;
        byte
    }
}

/// Go's text for a byte that does not belong; it takes the byte for a Latin-1 character.
fn unexpected(byte: u8, context: &str) -> String {
    let quoted = match byte {
        b'\'' => "\\'".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0x07 => "\\a".to_owned(),
        0x08 => "\\b".to_owned(),
        0x0c => "\\f".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        0x0b => "\\v".to_owned(),
        0x00..=0x1f | 0x7f => format!("\\x{byte:02x}"),
        0x80..=0xa0 | 0xad => format!("\\u{byte:04x}"),
        _ => char::from(byte).to_string(),
    };
    format!("invalid character '{quoted}' {context}")
}

/// The members of an object in a checked document, in order, each name unquoted and each value
/// as it stands. Nothing for a value that is no object.
pub(super) struct Members<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Members<'a> {
    /// Over the object that the value is.
    pub(super) fn of(value: &'a [u8]) -> Self {
        let value = value.trim_ascii_start();
        match value.first() {
            Some(b'{') => Self { data: value, at: 1 },
            _ => Self { data: &[], at: 0 },
        }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let skip = |at: usize, also: u8| {
            let rest = self.data.get(at..).unwrap_or_default();
            let skipped = rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == also);
            at + skipped.count()
        };
        let start = skip(self.at, b',');
        if self.data.get(start) != Some(&b'"') {
            self.at = self.data.len();
            return None;
        }
        let key_end = end_of_value(self.data, start);
        let key = unquote(self.data.get(start..key_end)?);
        let value_start = skip(key_end, b':');
        self.at = end_of_value(self.data, value_start);
        Some((key, self.data.get(value_start..self.at)?))
    }
}

/// Where the value ends that starts at this byte of a checked document.
fn end_of_value(data: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = data.get(at) {
        match byte {
            b'"' => at = end_of_string(data, at) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ if depth > 0 => {}
            _ => {
                // A number or a word ends before the next mark or space.
                let literal = data.get(at..).unwrap_or_default();
                let end = literal
                    .iter()
                    .position(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace());
                return at + end.unwrap_or(literal.len());
            }
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(data: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = data.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    data.len()
}

/// The text of a string literal of a checked document, with Go's replacements.
pub(super) fn unquote(literal: &[u8]) -> Cow<'_, str> {
    let inner =
        literal.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(literal);
    if !inner.contains(&b'\\') {
        return lossy(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.iter().position(|b| *b == b'\\') {
        text.push_str(&lossy(&rest[..at]));
        let (escaped, used) = unescape(&rest[at..]);
        text.push(escaped);
        rest = rest.get(at + used..).unwrap_or_default();
    }
    text.push_str(&lossy(rest));
    Cow::Owned(text)
}

/// One escape sequence: the character and how many bytes it took.
fn unescape(sequence: &[u8]) -> (char, usize) {
    let simple = match sequence.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unicode(sequence),
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (simple, 2)
}

fn unescape_unicode(sequence: &[u8]) -> (char, usize) {
    let unit = code_unit(sequence).unwrap_or(0xfffd);
    if let Some(character) = char::from_u32(unit) {
        return (character, 6);
    }
    // A surrogate: with its partner it is one character, alone it is replaced.
    let partner = sequence.get(6..).and_then(code_unit);
    match (unit, partner) {
        (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
            let point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

fn code_unit(sequence: &[u8]) -> Option<u32> {
    let digits = sequence.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// UTF-8 with one U+FFFD for every single byte that does not belong, as Go decodes it.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// Whether a name is a field's name in Go's eyes: equal but for case, where U+017F counts as `s`
/// and U+212A as `k`. The field's name is ASCII.
pub(super) fn names_field(name: &str, field: &str) -> bool {
    let mut field = field.chars();
    name.chars().all(|c| {
        let folded = match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            _ => c.to_ascii_lowercase(),
        };
        field.next().is_some_and(|expected| expected.to_ascii_lowercase() == folded)
    }) && field.next().is_none()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "unexpected end of JSON input")]
    #[case("  ", "unexpected end of JSON input")]
    #[case("{", "unexpected end of JSON input")]
    #[case("x", "invalid character 'x' looking for beginning of value")]
    #[case("{x", "invalid character 'x' looking for beginning of object key string")]
    #[case("{\"a\" 1}", "invalid character '1' after object key")]
    #[case("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair")]
    #[case("{\"a\":1,}", "invalid character '}' looking for beginning of object key string")]
    #[case("[1 2]", "invalid character '2' after array element")]
    #[case("[1,]", "invalid character ']' looking for beginning of value")]
    #[case("{}{", "invalid character '{' after top-level value")]
    #[case("\"\n\"", "invalid character '\\n' in string literal")]
    #[case("\"\\x\"", "invalid character 'x' in string escape code")]
    #[case("\"\\u12G4\"", "invalid character 'G' in \\u hexadecimal character escape")]
    #[case("-x", "invalid character 'x' in numeric literal")]
    #[case("1.x", "invalid character 'x' after decimal point in numeric literal")]
    #[case("1ex", "invalid character 'x' in exponent of numeric literal")]
    #[case("tru", "invalid character ' ' in literal true (expecting 'e')")]
    #[case("-", "invalid character ' ' in numeric literal")]
    #[case("\"\\u12", "invalid character ' ' in \\u hexadecimal character escape")]
    #[case("\"abc", "unexpected end of JSON input")]
    #[case("01", "invalid character '1' after top-level value")]
    #[case("trve", "invalid character 'v' in literal true (expecting 'u')")]
    #[case("'", "invalid character '\\'' looking for beginning of value")]
    #[case("\u{e9}", "invalid character 'Ã' looking for beginning of value")]
    fn refuses_with_gos_words(#[case] text: &str, #[case] error: &str) {
        assert_eq!(check(text.as_bytes()).unwrap_err(), error);
    }

    #[rstest]
    #[case("null")]
    #[case(" [ ] ")]
    #[case("{ }")]
    #[case("[[],{},[1,-0.5e+3,\"\\u00e9\"],{\"a\":{\"b\":null}}]")]
    #[case("{\"a\":true,\"a\":false}")]
    fn accepts(#[case] text: &str) {
        assert_eq!(check(text.as_bytes()), Ok(()));
    }

    #[test]
    fn nesting_is_bounded_without_a_stack() {
        let deep = "[".repeat(1 << 20);
        assert_eq!(check(deep.as_bytes()).unwrap_err(), "invalid character '[' exceeded max depth");
        let legal = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(check(legal.as_bytes()), Ok(()));
    }

    #[test]
    fn reads_members_in_order() {
        let data = br#" { "a" : [1, "}"] , "\u0061":"x\"y" ,"n": -1.5,"o":{"p":{}}, "l" : null } "#;
        let members: Vec<(String, String)> = Members::of(data)
            .map(|(k, v)| (k.into_owned(), String::from_utf8(v.to_vec()).unwrap()))
            .collect();
        let expected = [
            ("a", "[1, \"}\"]"),
            ("a", "\"x\\\"y\""),
            ("n", "-1.5"),
            ("o", "{\"p\":{}}"),
            ("l", "null"),
        ];
        assert_eq!(members, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(Members::of(b"[]").count(), 0);
        assert_eq!(Members::of(b"{}").count(), 0);
    }

    #[rstest]
    #[case(br#""plain""#, "plain")]
    #[case(br#""\ud83d\ude00""#, "\u{1f600}")]
    #[case(br#""\ud83dx""#, "\u{fffd}x")]
    #[case(br#""\ude00\ud83d""#, "\u{fffd}\u{fffd}")]
    #[case(br#""\/\b\t\\\"""#, "/\u{8}\t\\\"")]
    #[case(b"\"\xff\xe2\x82z\"", "\u{fffd}\u{fffd}\u{fffd}z")]
    fn unquotes(#[case] literal: &[u8], #[case] text: &str) {
        assert_eq!(unquote(literal), text);
    }

    #[rstest]
    #[case("auths", true)]
    #[case("AUTHS", true)]
    #[case("auth\u{17f}", true)]
    #[case("auth", false)]
    #[case("authss", false)]
    #[case("áuths", false)]
    fn folds_names(#[case] name: &str, #[case] same: bool) {
        assert_eq!(names_field(name, "auths"), same);
    }
}
