//! What a registry said, for the log alone: escaped and cut.

/// The most characters of it that are logged.
const LIMIT: usize = 200;

/// The start of a text that came from outside, on one line and without control characters.
pub(super) fn cut(said: &[u8]) -> String {
    // Escapes are at most ten characters long, so this many bytes are always enough.
    let start = said.get(..LIMIT * 4).unwrap_or(said);
    let text = String::from_utf8_lossy(start);
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let escaped: String = if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() {
            c.to_string()
        } else {
            c.escape_unicode().to_string()
        };
        length += escaped.chars().count();
        if length > LIMIT {
            break;
        }
        out.push_str(&escaped);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_cuts() {
        assert_eq!(cut(b"denied\nlevel=error \x1b[31m"), "denied\\u{a}level=error \\u{1b}[31m");
        assert_eq!(cut("\u{202e}x".as_bytes()), "\\u{202e}x");
        assert_eq!(cut(&[b'x'; 5000]).len(), LIMIT);
        assert!(cut(&[0xff; 5000]).chars().count() <= LIMIT);
    }
}
