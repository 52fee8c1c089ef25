//! Go's `filepath.Match` on Unix: `*`, `?`, character classes and `\` escapes, over bytes.
//!
//! The kubelet matches each label of a registry host with it. A pattern that does not follow the
//! grammar matches nothing here, which is what the kubelet makes of the library's error. Whether
//! the library notices such a pattern depends on the name; only its answer "matches" counts.

const SEPARATOR: u8 = b'/';

/// Whether the name matches the whole pattern.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    try_match(pattern, name).unwrap_or(false)
}

/// The pattern was found to be malformed.
struct BadPattern;

fn try_match(mut pattern: &[u8], mut name: &[u8]) -> Result<bool, BadPattern> {
    'pattern: while !pattern.is_empty() {
        let (star, chunk, rest) = scan_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains(&SEPARATOR));
        }
        if let Some(left) = match_chunk(chunk, name)?
            && (left.is_empty() || !pattern.is_empty())
        {
            name = left;
            continue;
        }
        if star {
            let reach = name.iter().position(|b| *b == SEPARATOR).unwrap_or(name.len());
            for skipped in 1..=reach {
                if let Some(left) = match_chunk(chunk, &name[skipped..])? {
                    if pattern.is_empty() && !left.is_empty() {
                        continue;
                    }
                    name = left;
                    continue 'pattern;
                }
            }
        }
        return Ok(false);
    }
    Ok(name.is_empty())
}

/// Cuts leading stars and the text up to the next star outside a class.
fn scan_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|b| **b == b'*').count();
    let body = &pattern[stars..];
    let mut in_range = false;
    let mut at = 0;
    while at < body.len() {
        match body[at] {
            b'\\' if at + 1 < body.len() => at += 1,
            b'[' => in_range = true,
            b']' => in_range = false,
            b'*' if !in_range => break,
            _ => {}
        }
        at += 1;
    }
    (stars > 0, &body[..at], &body[at..])
}

/// Matches a chunk without stars at the start of the text; answers what is left of the text.
/// After a mismatch the chunk is still read to its end, to notice a malformed one.
fn match_chunk<'a>(mut chunk: &[u8], text: &'a [u8]) -> Result<Option<&'a [u8]>, BadPattern> {
    let mut left = text;
    let mut failed = false;
    while let Some((&first, rest)) = chunk.split_first() {
        failed = failed || left.is_empty();
        match first {
            b'[' => {
                let mut found = 0;
                if !failed {
                    let (rune, size) = decode_rune(left);
                    found = rune;
                    left = &left[size..];
                }
                let (matched, after) = match_class(rest, found)?;
                failed = failed || !matched;
                chunk = after;
            }
            b'?' => {
                if let (false, Some(&byte)) = (failed, left.first()) {
                    failed = byte == SEPARATOR;
                    left = &left[decode_rune(left).1..];
                }
                chunk = rest;
            }
            _ => {
                let (literal, after) = match first {
                    b'\\' => rest.split_first().ok_or(BadPattern)?,
                    _ => (&first, rest),
                };
                if let (false, Some((byte, tail))) = (failed, left.split_first()) {
                    failed = byte != literal;
                    left = tail;
                }
                chunk = after;
            }
        }
    }
    Ok((!failed).then_some(left))
}

/// A class behind its `[`: whether the rune is in it, and what follows the `]`.
fn match_class(mut class: &[u8], rune: u32) -> Result<(bool, &[u8]), BadPattern> {
    let negated = class.first() == Some(&b'^');
    if negated {
        class = &class[1..];
    }
    let mut matched = false;
    let mut ranges = 0;
    loop {
        if ranges > 0
            && let Some(after) = class.strip_prefix(b"]")
        {
            return Ok((matched != negated, after));
        }
        let (low, after) = class_rune(class)?;
        class = after;
        let mut high = low;
        if let Some(after) = class.strip_prefix(b"-") {
            (high, class) = class_rune(after)?;
        }
        matched = matched || (low <= rune && rune <= high);
        ranges += 1;
    }
}

/// One rune of a class, maybe escaped; something must follow it.
fn class_rune(class: &[u8]) -> Result<(u32, &[u8]), BadPattern> {
    let text = match class.split_first() {
        None | Some((b'-' | b']', _)) => return Err(BadPattern),
        Some((b'\\', rest)) => rest,
        Some(_) => class,
    };
    let (rune, size) = decode_rune(text);
    let rest = text.get(size..).unwrap_or_default();
    if rest.is_empty() || (rune == 0xfffd && size == 1) {
        return Err(BadPattern);
    }
    Ok((rune, rest))
}

/// The first rune and its size; a byte that is not UTF-8 counts as U+FFFD of size one.
fn decode_rune(text: &[u8]) -> (u32, usize) {
    let head = &text[..text.len().min(4)];
    match head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()) {
        Some(rune) => (u32::from(rune), rune.len_utf8()),
        None => (0xfffd, text.len().min(1)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("abc", "abc", true)]
    #[case("*", "abc", true)]
    #[case("*c", "abc", true)]
    #[case("a*", "a", true)]
    #[case("a*/b", "a/c/b", false)]
    #[case("a*b*c*d*e*", "axbxcxdxe", true)]
    #[case("a*b?c*x", "abxbbxdbxebxczzx", true)]
    #[case("ab[b-d]", "abc", true)]
    #[case("ab[^b-d]", "abc", false)]
    #[case("a\\*b", "a*b", true)]
    #[case("a?b", "a☺b", true)]
    #[case("a[^a]b", "a☺b", true)]
    #[case("[a-ζ]*", "α", true)]
    #[case("[\\]a]", "]", true)]
    #[case("[x\\-]", "-", true)]
    #[case("[]a]", "]", false)]
    #[case("[-]", "-", false)]
    #[case("[a", "a", false)]
    #[case("a[", "a", false)]
    #[case("*x", "xxx", true)]
    #[case("**x*", "ax", true)]
    #[case("", "", true)]
    #[case("", "a", false)]
    fn matches_as_go_does(#[case] pattern: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected);
    }
}
