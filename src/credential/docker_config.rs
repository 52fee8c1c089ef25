//! Docker configurations as the kubelet decodes them: the content of pull secrets, of a node's
//! `config.json` and `.dockercfg`, and what credential plugins answer.
//!
//! Read are `auths`, and of each entry `username`, `password` and `auth`; `email` and
//! `HttpHeaders` only have to be of the right type. Texts of errors are the kubelet's own.

use std::sync::Arc;

use super::go_base64;
use super::go_json::{Kind, Members, check, names_field, unquote};
use super::identity::Login;

const CONFIG: &str = "DockerConfigJSON";
const ENTRY: &str = "dockerConfigEntryWithAuth";

/// Why a docker configuration cannot be read. `Display` is the text that the kubelet shows as
/// the pod's waiting reason and message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is no JSON.
    #[error("{0}")]
    Syntax(Box<str>),
    /// It is JSON, but a value has the wrong type.
    #[error("{0}")]
    WrongType(Box<str>),
    /// An `auth` is no base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// An `auth` decodes to something without a colon.
    #[error("unable to parse auth field, must be formatted as base64(username:password)")]
    NoColon,
}

/// The entries of a docker configuration, each key once, in the order of the document.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DockerConfig {
    entries: Vec<(Box<str>, Arc<Login>)>,
}

impl std::fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DockerConfig({} entries)", self.entries.len())
    }
}

impl DockerConfig {
    /// Reads the shape of `config.json` and of `.dockerconfigjson`: an object with `auths`.
    /// `credHelpers` and `credsStore` are not looked at; neither does the kubelet.
    pub fn parse(data: &[u8]) -> Result<Self, ConfigError> {
        check(data).map_err(|text| ConfigError::Syntax(text.into()))?;
        let mut decoder = Decoder::default();
        decoder.config(data)?;
        decoder.finish()
    }

    /// Reads the older shape of `.dockercfg`: the map of entries itself.
    pub(super) fn parse_legacy(data: &[u8]) -> Result<Self, ConfigError> {
        check(data).map_err(|text| ConfigError::Syntax(text.into()))?;
        let mut decoder = Decoder::default();
        decoder.entries(data, None)?;
        decoder.finish()
    }

    /// Entries that somebody else decoded, such as a credential plugin's answer: key, user name,
    /// password.
    pub(super) fn from_logins<'a>(
        logins: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Self {
        let mut entries = Entries::default();
        for (key, username, password) in logins {
            entries.put(key.into(), Login::new(username.as_bytes(), password.as_bytes()));
        }
        entries.into_config()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Arc<Login>)> {
        self.entries.iter().map(|(key, login)| (&**key, login))
    }
}

/// A map that keeps the place of the first and the value of the last of equal keys.
#[derive(Default)]
struct Entries {
    list: Vec<(Box<str>, Arc<Login>)>,
    places: std::collections::HashMap<Box<str>, usize>,
}

impl Entries {
    fn put(&mut self, key: Box<str>, login: Login) {
        let login = Arc::new(login);
        if let Some(place) = self.places.get(&key) {
            self.list[*place].1 = login;
        } else {
            self.places.insert(key.clone(), self.list.len());
            self.list.push((key, login));
        }
    }

    fn into_config(self) -> DockerConfig {
        DockerConfig { entries: self.list }
    }
}

/// What Go calls an `UnmarshalTypeError`.
struct TypeFault {
    value: Kind,
    go_type: &'static str,
    /// The struct and the path of fields that led there.
    place: Option<(&'static str, String)>,
}

impl TypeFault {
    fn into_error(self) -> ConfigError {
        let Self { value, go_type, place } = self;
        let value = value.as_str();
        let text = match place {
            Some((holder, field)) => format!(
                "json: cannot unmarshal {value} into Go struct field {holder}.{field} of type {go_type}"
            ),
            None => format!("json: cannot unmarshal {value} into Go value of type {go_type}"),
        };
        ConfigError::WrongType(text.into())
    }
}

/// Follows the order in which the library meets faults: a fault in an entry ends the decoding at
/// once, any other wrong type is kept and decoding goes on.
#[derive(Default)]
struct Decoder {
    entries: Entries,
    kept: Option<TypeFault>,
}

impl Decoder {
    fn finish(self) -> Result<DockerConfig, ConfigError> {
        match self.kept {
            Some(fault) => Err(fault.into_error()),
            None => Ok(self.entries.into_config()),
        }
    }

    fn keep(&mut self, value: Kind, go_type: &'static str, field: Option<&str>) {
        let place = field.map(|field| (CONFIG, field.to_owned()));
        self.kept.get_or_insert(TypeFault { value, go_type, place });
    }

    fn config(&mut self, data: &[u8]) -> Result<(), ConfigError> {
        match Kind::of(data) {
            Kind::Null => return Ok(()),
            Kind::Object => {}
            other => self.keep(other, "credentialprovider.DockerConfigJSON", None),
        }
        for (name, value) in Members::of(data) {
            if names_field(&name, "auths") {
                self.entries(value, Some("auths"))?;
            } else if names_field(&name, "HttpHeaders") {
                self.headers(value);
            }
        }
        Ok(())
    }

    fn headers(&mut self, data: &[u8]) {
        const FIELD: Option<&str> = Some("HttpHeaders");
        match Kind::of(data) {
            Kind::Null | Kind::Object => {}
            other => self.keep(other, "map[string]string", FIELD),
        }
        for (_, value) in Members::of(data) {
            match Kind::of(value) {
                Kind::Null | Kind::String => {}
                other => self.keep(other, "string", FIELD),
            }
        }
    }

    /// The map of entries; a later one adds to an earlier one, `null` empties it.
    fn entries(&mut self, data: &[u8], field: Option<&str>) -> Result<(), ConfigError> {
        match Kind::of(data) {
            Kind::Null => {
                self.entries = Entries::default();
                return Ok(());
            }
            Kind::Object => {}
            other => self.keep(other, "credentialprovider.DockerConfig", field),
        }
        for (key, value) in Members::of(data) {
            let login = decode_entry(value).map_err(|fault| match fault {
                EntryFault::Type(fault) => within(fault, field).into_error(),
                EntryFault::Auth(error) => error,
            })?;
            self.entries.put(key.into(), login);
        }
        Ok(())
    }
}

/// The outer decoder's place put in front of the inner one's.
fn within(fault: TypeFault, field: Option<&str>) -> TypeFault {
    let Some(outer) = field else { return fault };
    let path = match &fault.place {
        Some((_, inner)) => format!("{outer}.{inner}"),
        None => outer.to_owned(),
    };
    TypeFault { place: Some((CONFIG, path)), ..fault }
}

enum EntryFault {
    Type(TypeFault),
    Auth(ConfigError),
}

fn decode_entry(data: &[u8]) -> Result<Login, EntryFault> {
    let kind = Kind::of(data);
    if !matches!(kind, Kind::Null | Kind::Object) {
        let go_type = "credentialprovider.dockerConfigEntryWithAuth";
        return Err(EntryFault::Type(TypeFault { value: kind, go_type, place: None }));
    }
    let (mut username, mut password, mut auth) = <(String, String, String)>::default();
    let mut email = String::new();
    let mut kept = None;
    for (name, value) in Members::of(data) {
        let (field, target) = if names_field(&name, "username") {
            ("username", &mut username)
        } else if names_field(&name, "password") {
            ("password", &mut password)
        } else if names_field(&name, "email") {
            ("email", &mut email)
        } else if names_field(&name, "auth") {
            ("auth", &mut auth)
        } else {
            continue;
        };
        match Kind::of(value) {
            Kind::Null => {}
            Kind::String => *target = unquote(value).into_owned(),
            value => {
                let place = Some((ENTRY, field.to_owned()));
                kept.get_or_insert(TypeFault { value, go_type: "string", place });
            }
        }
    }
    if let Some(fault) = kept {
        return Err(EntryFault::Type(fault));
    }
    if auth.is_empty() {
        return Ok(Login::new(username.as_bytes(), password.as_bytes()));
    }
    decode_auth(&auth).map_err(EntryFault::Auth)
}

/// `auth`: base64 of user name, colon, password; padded if it ends in `=`, else not.
fn decode_auth(auth: &str) -> Result<Login, ConfigError> {
    let padded = auth.trim().ends_with('=');
    let decoded = go_base64::decode(auth.as_bytes(), padded).map_err(ConfigError::Base64)?;
    let colon = decoded.iter().position(|b| *b == b':').ok_or(ConfigError::NoColon)?;
    Ok(Login::new(&decoded[..colon], &decoded[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn logins(data: &str) -> Vec<(String, String, String)> {
        let config = DockerConfig::parse(data.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        config
            .entries()
            .map(|(key, login)| (key.to_owned(), text(login.username()), text(login.password())))
            .collect()
    }

    #[rstest]
    #[case("{}", "")]
    #[case("null", "")]
    #[case(r#"{"auths":null}"#, "")]
    #[case(r#"{"auths":{}}"#, "")]
    #[case(r#"{"auths":{"r":{"username":"u","password":"p"}}}"#, "r u p")]
    #[case(r#"{"auths":{"r":{"username":"x","password":"y","auth":"dTpw"}}}"#, "r u p")]
    #[case(r#"{"auths":{"r":{"auth":"","username":"u"}}}"#, "r u ")]
    #[case(r#"{"auths":{"r":{"auth":"dTpwOnE="}}}"#, "r u p:q")]
    #[case(r#"{"auths":{"r":{"auth":"Og"}}}"#, "r  ")]
    #[case(r#"{"auths":{"r":null}}"#, "r  ")]
    #[case(r#"{"AUTHS":{"r":{"Username":"u","PA\u017f\u017fWORD":"p"}}}"#, "r u p")]
    #[case(r#"{"auths":{"a":{}},"Auths":{"b":{},"a":{"username":"u"}}}"#, "a u ; b  ")]
    #[case(r#"{"auths":{"a":{}},"Auths":null}"#, "")]
    #[case(r#"{"auths":{"a":{"username":"u","username":null}}}"#, "a u ")]
    #[case(r#"{"auths":{"a":{"identitytoken":{},"x":[1]}},"credsStore":7}"#, "a  ")]
    #[case(r#"{"HttpHeaders":{"a":"b","c":null}}"#, "")]
    fn reads(#[case] data: &str, #[case] expected: &str) {
        let got: Vec<String> =
            logins(data).into_iter().map(|(k, u, p)| format!("{k} {u} {p}")).collect();
        assert_eq!(got.join("; "), expected);
    }

    #[rstest]
    #[case("", "unexpected end of JSON input")]
    #[case("{\"auths\":{}}x", "invalid character 'x' after top-level value")]
    #[case(
        "[]",
        "json: cannot unmarshal array into Go value of type credentialprovider.DockerConfigJSON"
    )]
    #[case(
        r#"{"auths":[]}"#,
        "json: cannot unmarshal array into Go struct field DockerConfigJSON.auths of type credentialprovider.DockerConfig"
    )]
    #[case(
        r#"{"auths":{"r":"x"}}"#,
        "json: cannot unmarshal string into Go struct field DockerConfigJSON.auths of type credentialprovider.dockerConfigEntryWithAuth"
    )]
    #[case(
        r#"{"auths":{"r":{"username":1}}}"#,
        "json: cannot unmarshal number into Go struct field DockerConfigJSON.auths.username of type string"
    )]
    #[case(
        r#"{"auths":{"r":{"auth":true}}}"#,
        "json: cannot unmarshal bool into Go struct field DockerConfigJSON.auths.auth of type string"
    )]
    #[case(
        r#"{"HttpHeaders":{"a":1}}"#,
        "json: cannot unmarshal number into Go struct field DockerConfigJSON.HttpHeaders of type string"
    )]
    #[case(
        r#"{"HttpHeaders":1,"auths":{"r":{"auth":"*"}}}"#,
        "illegal base64 data at input byte 0"
    )]
    #[case(
        r#"{"auths":{"r":{"auth":"dXA"}}}"#,
        "unable to parse auth field, must be formatted as base64(username:password)"
    )]
    fn refuses_with_the_kubelets_words(#[case] data: &str, #[case] error: &str) {
        assert_eq!(DockerConfig::parse(data.as_bytes()).unwrap_err().to_string(), error);
    }

    #[rstest]
    #[case(
        "1",
        "json: cannot unmarshal number into Go value of type credentialprovider.DockerConfig"
    )]
    #[case(
        r#"{"r":{"email":{}}}"#,
        "json: cannot unmarshal object into Go struct field dockerConfigEntryWithAuth.email of type string"
    )]
    #[case(
        r#"{"r":[]}"#,
        "json: cannot unmarshal array into Go value of type credentialprovider.dockerConfigEntryWithAuth"
    )]
    fn refuses_the_legacy_shape(#[case] data: &str, #[case] error: &str) {
        assert_eq!(DockerConfig::parse_legacy(data.as_bytes()).unwrap_err().to_string(), error);
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = DockerConfig::from_logins([("ghcr.io", "hidden-name", "hidden-word")]);
        assert_eq!(format!("{config:?}"), "DockerConfig(1 entries)");
    }
}
