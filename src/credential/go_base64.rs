//! Base64 as Go's `encoding/base64` decodes it, for the `auth` field of pull secrets.
//!
//! It skips line feeds and carriage returns anywhere, does not look at the unused bits of the
//! last character, and names the byte at which it gives up.

/// Decodes the standard alphabet; `padded` says whether `=` is required and legal at the end.
/// The error is the offset in Go's text `illegal base64 data at input byte N`.
pub(super) fn decode(text: &[u8], padded: bool) -> Result<Vec<u8>, usize> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut at = 0;
    while at < text.len() {
        at = decode_quantum(text, at, padded, &mut decoded)?;
    }
    Ok(decoded)
}

/// Decodes four characters from `at` on, or the fewer ones at the end; answers where it stopped.
fn decode_quantum(
    text: &[u8],
    start: usize,
    padded: bool,
    decoded: &mut Vec<u8>,
) -> Result<usize, usize> {
    let mut at = start;
    let mut sextets = [0_u8; 4];
    let mut count = 0;
    while count < 4 {
        let Some(&byte) = text.get(at) else {
            match count {
                0 => return Ok(at),
                1 => return Err(at - count),
                _ if padded => return Err(at - count),
                _ => break,
            }
        };
        at += 1;
        if let Some(sextet) = sextet(byte) {
            sextets[count] = sextet;
            count += 1;
        } else if byte == b'=' && padded {
            at = padding(text, at, count)?;
            break;
        } else if !matches!(byte, b'\n' | b'\r') {
            return Err(at - 1);
        }
    }
    let value = sextets.iter().fold(0_u32, |value, sextet| value << 6 | u32::from(*sextet));
    decoded.extend(value.to_be_bytes().into_iter().skip(1).take(count.saturating_sub(1)));
    Ok(at)
}

/// Behind the first `=`: checks that the padding is complete and that nothing follows.
fn padding(text: &[u8], mut at: usize, count: usize) -> Result<usize, usize> {
    let skip_lines = |mut at: usize| {
        while matches!(text.get(at), Some(b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    match count {
        0 | 1 => return Err(at - 1),
        2 => {
            at = skip_lines(at);
            match text.get(at) {
                None => return Err(text.len()),
                Some(b'=') => at += 1,
                Some(_) => return Err(at - 1),
            }
        }
        _ => {}
    }
    at = skip_lines(at);
    if at < text.len() { Err(at) } else { Ok(at) }
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("dTpw", true, Ok("u:p"))]
    #[case("dTpwdw==", true, Ok("u:pw"))]
    #[case("dTpwd2Q=", true, Ok("u:pwd"))]
    #[case("dTpwdw", false, Ok("u:pw"))]
    #[case("dTpwdw", true, Err(4))]
    #[case("dT\npwd\r\nw==\n", true, Ok("u:pw"))]
    #[case("dTpwdw=", true, Err(7))]
    #[case("dTpwdw=x", true, Err(6))]
    #[case("dTpwdw==x", true, Err(8))]
    #[case("dTpwdw==", false, Err(6))]
    #[case("d", false, Err(0))]
    #[case("=", true, Err(0))]
    #[case("dTpw dw", false, Err(4))]
    #[case("dTpwdx==", true, Ok("u:pw"))]
    #[case("a-b_", true, Err(1))]
    #[case("", true, Ok(""))]
    fn decodes(#[case] text: &str, #[case] padded: bool, #[case] result: Result<&str, usize>) {
        let decoded = decode(text.as_bytes(), padded);
        assert_eq!(decoded, result.map(|text| text.as_bytes().to_vec()));
    }
}
