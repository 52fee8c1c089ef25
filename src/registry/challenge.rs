//! Reads `WWW-Authenticate`: which schemes a registry offers, with their parameters.
//!
//! The grammar is RFC 9110 section 11: several challenges in one header or in several, quoted
//! strings that contain commas and escapes. Bounded; what cannot be read is left out, never
//! guessed. Pure.

/// The longest header value that is read, in bytes.
const MAX_HEADER: usize = 8 * 1024;
/// The most challenges that are kept.
const MAX_CHALLENGES: usize = 16;
/// The most parameters of one challenge that are kept.
const MAX_PARAMETERS: usize = 32;

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme.
    pub scheme: Scheme,
    /// `realm`: for Bearer the address of the token service.
    pub realm: Option<String>,
    /// `service`.
    pub service: Option<String>,
    /// `scope`, as it stands there.
    pub scope: Option<String>,
    /// `error`, such as `insufficient_scope`.
    pub error: Option<String>,
}

/// The schemes that registries use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// User name and password with each request.
    Basic,
    /// A token of a token service.
    Bearer,
    /// Anything else: Negotiate, Digest, NTLM.
    Other,
}

impl Challenge {
    fn new(scheme: &str) -> Self {
        let scheme = if scheme.eq_ignore_ascii_case("basic") {
            Scheme::Basic
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Scheme::Bearer
        } else {
            Scheme::Other
        };
        Self { scheme, realm: None, service: None, scope: None, error: None }
    }

    /// Keeps the first value of a parameter: a second one of the same name is a trick.
    fn keep(&mut self, name: &str, value: String) {
        let slot = match name.to_ascii_lowercase().as_str() {
            "realm" => &mut self.realm,
            "service" => &mut self.service,
            "scope" => &mut self.scope,
            "error" => &mut self.error,
            _ => return,
        };
        if slot.is_none() {
            *slot = Some(value);
        }
    }
}

/// The challenges in these header values, in order.
pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<Challenge> {
    let mut found = Vec::new();
    for value in values {
        if value.len() <= MAX_HEADER {
            parse_one(value, &mut found);
        }
        if found.len() >= MAX_CHALLENGES {
            break;
        }
    }
    found.truncate(MAX_CHALLENGES);
    found
}

fn parse_one(value: &[u8], found: &mut Vec<Challenge>) {
    let mut rest = Cursor { bytes: value, at: 0 };
    let mut current: Option<Challenge> = None;
    let mut parameters = 0;
    loop {
        rest.skip(|b| matches!(b, b' ' | b'\t' | b','));
        let Some(word) = rest.token() else { break };
        let before = rest.at;
        rest.skip(|b| matches!(b, b' ' | b'\t'));
        if rest.peek() == Some(b'=') && current.is_some() && !rest.is_padding() {
            rest.at += 1;
            rest.skip(|b| matches!(b, b' ' | b'\t'));
            let Some(text) = rest.value() else { break };
            parameters += 1;
            if parameters <= MAX_PARAMETERS
                && let Some(challenge) = current.as_mut()
            {
                challenge.keep(word, text);
            }
            continue;
        }
        rest.at = before;
        if rest.skip_token68_end() {
            continue;
        }
        found.extend(current.take());
        if found.len() >= MAX_CHALLENGES {
            return;
        }
        current = Some(Challenge::new(word));
        parameters = 0;
    }
    found.extend(current);
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, mut pred: impl FnMut(u8) -> bool) {
        while self.peek().is_some_and(&mut pred) {
            self.at += 1;
        }
    }

    /// A token of RFC 9110, or nothing where none starts.
    fn token(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.skip(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b));
        let text = self.bytes.get(start..self.at)?;
        if text.is_empty() { None } else { std::str::from_utf8(text).ok() }
    }

    /// Whether the equals signs here end a token68 instead of introducing a value.
    fn is_padding(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let equals = rest.iter().take_while(|b| **b == b'=').count();
        equals > 0 && matches!(rest.get(equals), None | Some(b','))
    }

    /// Skips the padding of a token68, if it stands here.
    fn skip_token68_end(&mut self) -> bool {
        let padded = self.is_padding();
        if padded {
            self.skip(|b| b == b'=');
        }
        padded
    }

    /// A quoted string or a bare value; nothing if it is broken.
    fn value(&mut self) -> Option<String> {
        if self.peek() != Some(b'"') {
            let start = self.at;
            self.skip(|b| !matches!(b, b',' | b' ' | b'\t' | b'"'));
            return String::from_utf8(self.bytes.get(start..self.at)?.to_vec()).ok();
        }
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(text).ok(),
                b'\\' => {
                    text.push(self.peek()?);
                    self.at += 1;
                }
                _ => text.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn one(value: &str) -> Vec<Challenge> {
        parse([value.as_bytes()])
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge {
            scheme: Scheme::Bearer,
            realm: Some(realm.into()),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
            error: None,
        }
    }

    #[rstest]
    #[case::hub(
        r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#,
        bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:library/nginx:pull"))
    )]
    #[case::quoted_comma(
        r#"Bearer realm="https://a/t",scope="repository:a/b:pull,push",service="s""#,
        bearer("https://a/t", Some("s"), Some("repository:a/b:pull,push"))
    )]
    #[case::spaces_and_case(
        r#"bearer REALM = "https://a/t" , Service = s"#,
        bearer("https://a/t", Some("s"), None)
    )]
    #[case::escapes(r#"Bearer realm="https://a/\"t\"""#, bearer("https://a/\"t\"", None, None))]
    #[case::bare_value(
        "Bearer realm=https://a/t?x=y,service=s",
        bearer("https://a/t?x=y", Some("s"), None)
    )]
    #[case::first_realm_wins(
        r#"Bearer realm="https://a/t",realm="https://evil/t""#,
        bearer("https://a/t", None, None)
    )]
    fn reads_bearer(#[case] header: &str, #[case] expected: Challenge) {
        assert_eq!(one(header), vec![expected]);
    }

    #[test]
    fn reads_several_in_one_header_and_in_several() {
        let joined =
            one(r#"Negotiate, Basic realm="x, y", Bearer realm="https://a/t",service="s""#);
        let schemes: Vec<_> = joined.iter().map(|c| c.scheme).collect();
        assert_eq!(schemes, [Scheme::Other, Scheme::Basic, Scheme::Bearer]);
        assert_eq!(joined[1].realm.as_deref(), Some("x, y"));
        assert_eq!(joined[2].service.as_deref(), Some("s"));
        let split = parse([br#"Basic realm="x""#.as_slice(), br#"Bearer realm="https://a/t""#]);
        assert_eq!(split.len(), 2);
    }

    #[test]
    fn a_token68_is_not_a_parameter() {
        let found = one(r#"Negotiate YII=, Bearer realm="https://a/t""#);
        assert_eq!(found.last().map(|c| c.scheme), Some(Scheme::Bearer));
        assert_eq!(found.last().and_then(|c| c.realm.as_deref()), Some("https://a/t"));
    }

    #[rstest]
    #[case::empty("")]
    #[case::commas(",,, ,")]
    #[case::value_without_scheme("=\"x\"")]
    fn finds_nothing_in(#[case] header: &str) {
        assert_eq!(one(header), vec![]);
    }

    #[test]
    fn an_unterminated_string_leaves_the_parameter_out() {
        assert_eq!(one(r#"Bearer realm="https://a/t"#)[0].realm, None);
        assert_eq!(parse([b"Bearer realm=\"\xff\xfe\"".as_slice()])[0].realm, None);
    }

    #[test]
    fn is_bounded() {
        let long = format!("Bearer realm=\"{}\"", "x".repeat(MAX_HEADER));
        assert_eq!(one(&long), vec![]);
        let many = "Basic, ".repeat(500);
        assert!(one(&many).len() <= MAX_CHALLENGES);
    }
}
