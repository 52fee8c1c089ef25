//! What the API server adds to an answer for people: its own warnings, and those of webhooks.

use http::header::{HeaderMap, WARNING};

/// The texts of `Warning` headers (RFC 7234, 5.5), as the API server writes them: `299 - "text"`, in
/// UTF-8.
pub(super) fn texts(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(WARNING).iter();
    all.filter_map(|value| text_of(&String::from_utf8_lossy(value.as_bytes()))).collect()
}

/// The text of one, with backslashes before quotation marks and backslashes.
fn text_of(header: &str) -> Option<String> {
    let (_, rest) = header.split_once('"')?;
    let mut text = String::with_capacity(rest.len());
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Some(text),
            '\\' => text.push(letters.next()?),
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn warnings_are_read_as_the_api_server_writes_them() {
        let mut headers = HeaderMap::new();
        for value in
            [r#"299 - "a \"b\" \\c""#, "299 - none", r#"299 - "cut"#, r#"299 - "cut off…""#]
        {
            headers.append(WARNING, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        assert_eq!(texts(&headers), [r#"a "b" \c"#, "cut off…"]);
    }
}
