//! Reads the `Link` header of a page of tags (RFC 8288): where the next page is. Pure.

use url::Url;

/// The longest header that is read, in bytes.
const MAX_HEADER: usize = 8 * 1024;

/// The address behind `rel="next"`, if it is on the same host as the page itself: a page that
/// leads elsewhere is not followed.
pub fn next_page(page: &Url, header: &[u8]) -> Option<Url> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let mut rest = std::str::from_utf8(header).ok()?;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        let (target, behind) = rest.split_once('>')?;
        let end = behind.find('<').unwrap_or(behind.len());
        let is_next = behind[..end].split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            let next = page.join(target).ok()?;
            let same_place = next.origin() == page.origin() && next.username().is_empty();
            return (same_place && next != *page).then_some(next);
        }
        rest = &behind[end..];
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::relative(
        r#"</v2/a/tags/list?last=b&n=2>; rel="next""#,
        Some("https://r.example/v2/a/tags/list?last=b&n=2")
    )]
    #[case::absolute(
        "<https://r.example/v2/a/tags/list?last=c>; rel=next",
        Some("https://r.example/v2/a/tags/list?last=c")
    )]
    #[case::second(
        r#"</p>; rel="prev", </v2/a/tags/list?last=d>; rel="next""#,
        Some("https://r.example/v2/a/tags/list?last=d")
    )]
    #[case::elsewhere(r#"<https://evil.example/v2/a/tags/list>; rel="next""#, None)]
    #[case::downgrade(r#"<http://r.example/v2/a/tags/list?last=c>; rel="next""#, None)]
    #[case::other_port(r#"<https://r.example:8443/v2/a/tags/list>; rel="next""#, None)]
    #[case::itself(r#"</v2/a/tags/list?n=2>; rel="next""#, None)]
    #[case::no_relation("</v2/a/tags/list?last=b>", None)]
    #[case::unclosed(r#"</v2/a/tags/list?last=b; rel="next""#, None)]
    #[case::empty("", None)]
    fn finds_the_next_page(#[case] header: &str, #[case] expected: Option<&str>) {
        let page = Url::parse("https://r.example/v2/a/tags/list?n=2").unwrap();
        let next = next_page(&page, header.as_bytes());
        assert_eq!(next.as_ref().map(Url::as_str), expected);
    }
}
