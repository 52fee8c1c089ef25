//! The small values of a policy document: modes, actions, lengths of time, names.
//!
//! Each parses itself, so that a document that is in force holds nothing malformed, and each says
//! in its error what it would have taken, and what a person may have meant.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::image::Platform;
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::text::quoted;

/// What Pullgate does in a namespace.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Mode {
    /// Nothing is looked at.
    Off,
    /// Problems are told, nothing is denied.
    #[default]
    Warn,
    /// What certainly fails is denied.
    Enforce,
}

impl Mode {
    /// Every mode.
    pub const ALL: &'static [Self] = &[Self::Off, Self::Warn, Self::Enforce];

    /// The word in documents, labels and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }

    /// The mode with this word, or nothing.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mode| mode.as_str() == word)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is done about a cause.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Action {
    /// Let through without a word.
    Allow,
    /// Let through with a warning.
    Warn,
    /// Deny, where everything else that a denial needs is given.
    Deny,
}

impl Action {
    /// Every action.
    pub const ALL: &'static [Self] = &[Self::Allow, Self::Warn, Self::Deny];

    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

/// What is done about an image of which nothing, or not enough, is known. There is no `deny`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum CannotTell {
    /// Let through without a word, unless the cluster's own pods show trouble with the registry.
    #[default]
    Allow,
    /// Let through with a warning.
    Warn,
}

/// On which objects a failing image is denied.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum EnforceOn {
    /// On pods, where the truth is.
    Pods,
    /// On Deployments, Jobs and the like.
    Workloads,
}

/// A patch that a namespace or pod may ask for with the annotation `pullgate.dev/mutate`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Mutation {
    /// Append a pull secret that was tried and works.
    PullSecret,
    /// Pin the tag to the digest that it has now.
    Digest,
}

/// A length of time, written as in `90s`, `10m`, `1h30m` or `1500ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period(Duration);

/// The units of a [`Period`] with their milliseconds; those of Kubernetes durations.
const UNITS: &[(&str, u64)] = &[("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl Period {
    /// A period of milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A period of seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// A period of hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3600))
    }

    /// Its length.
    pub const fn get(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut millis: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().ok()?;
            let (unit, factor) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
            millis = number.checked_mul(*factor).and_then(|part| millis.checked_add(part))?;
            rest = &tail[unit.len()..];
        }
        (!text.is_empty()).then(|| Self::from_millis(millis))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left % 1_000 != 0 {
            return write!(f, "{left}ms");
        }
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if left >= factor {
                write!(f, "{}{unit}", left / factor)?;
                left %= factor;
            }
        }
        Ok(())
    }
}

/// Gives a newtype over text its serde and schema: parsed by `$parse`, shown by `Display`.
macro_rules! text_value {
    ($type:ident, $parse:path, $wants:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $parse(&text).ok_or_else(|| {
                    serde::de::Error::custom(format_args!(
                        "{} is not {}", $crate::policy::value::shown(&text), $wants
                    ))
                })
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "maxLength": 512, "pattern": $pattern })
            }
        }
    };
}
pub(super) use text_value;

text_value!(
    Period,
    Period::parse,
    "a length of time such as 90s, 10m or 1h30m",
    "^([0-9]{1,9}(h|m|s|ms))+$"
);

/// A text from a document as an error may show it: short, one line, in quotation marks.
pub(super) fn shown(text: &str) -> String {
    quoted(text, '"', 80)
}

/// A ServiceAccount, written as `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountName {
    namespace: Box<str>,
    name: Box<str>,
}

impl AccountName {
    fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        (is_namespace_name(namespace) && is_object_name(name))
            .then(|| Self { namespace: namespace.into(), name: name.into() })
    }

    /// Whether it is the user with this name, which the API server gives to ServiceAccounts.
    pub(super) fn is_user(&self, username: &str) -> bool {
        username
            .strip_prefix("system:serviceaccount:")
            .and_then(|account| account.split_once(':'))
            .is_some_and(|(namespace, name)| *namespace == *self.namespace && *name == *self.name)
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

text_value!(
    AccountName,
    AccountName::parse,
    "a ServiceAccount written as namespace/name",
    "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
);

/// A platform of nodes, written as in `linux/amd64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodePlatform(Platform);

impl NodePlatform {
    fn parse(text: &str) -> Option<Self> {
        Platform::parse(text).ok().filter(|platform| platform.os_version.is_empty()).map(Self)
    }

    /// The platform, in containerd's words.
    pub const fn get(&self) -> &Platform {
        &self.0
    }
}

impl fmt::Display for NodePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(
    NodePlatform,
    NodePlatform::parse,
    "a platform such as linux/amd64 or linux/arm/v7",
    "^[A-Za-z0-9_-]+/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$"
);

/// The keys that lead to the pod template of a kind, written as in `spec.template`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TemplatePath(Vec<Box<str>>);

impl TemplatePath {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let key = |key: &str| {
            !key.is_empty()
                && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        let keys: Vec<Box<str>> = text.split('.').map(Box::from).collect();
        keys.iter().all(|part| key(part)).then_some(Self(keys))
    }

    /// The keys, outermost first.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl fmt::Display for TemplatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

text_value!(
    TemplatePath,
    TemplatePath::parse,
    "a path of keys such as spec.template",
    "^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$"
);

/// A moment, written as in `2027-01-31T00:00:00Z`, or a day, which lasts until its end in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(jiff::Timestamp);

impl Moment {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Some(Self(moment));
        }
        if text.len() != "2027-01-31".len() {
            return None;
        }
        let next_day = text.parse::<jiff::civil::Date>().ok()?.tomorrow().ok()?;
        let moment = next_day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some(Self(moment))
    }

    /// The moment.
    pub const fn get(self) -> jiff::Timestamp {
        self.0
    }
}

impl From<jiff::Timestamp> for Moment {
    fn from(moment: jiff::Timestamp) -> Self {
        Self(moment)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

text_value!(
    Moment,
    Moment::parse,
    "a moment such as 2027-01-31T00:00:00Z or a day such as 2027-01-31",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))?$"
);

/// How alike two words must be for one to be offered for the other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// The word of `words` that `wrong` was most likely meant to be, if any is near.
pub(super) fn nearest<'w>(
    wrong: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    let wrong = wrong.to_lowercase();
    words
        .into_iter()
        .map(|word| (strsim::normalized_damerau_levenshtein(&wrong, &word.to_lowercase()), word))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}

/// `, did you mean ...?`, or nothing.
pub(super) fn did_you_mean<'w>(wrong: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    nearest(wrong, words).map(|word| format!(", did you mean \"{word}\"?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("90s", Some(90_000))]
    #[case("1500ms", Some(1_500))]
    #[case("1h30m", Some(5_400_000))]
    #[case("0s", Some(0))]
    #[case("", None)]
    #[case("10", None)]
    #[case("m", None)]
    #[case("-1m", None)]
    #[case("1.5h", None)]
    #[case("1d", None)]
    #[case("99999999999999999999h", None)]
    #[case("18446744073709551615h", None)]
    fn a_period_parses(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(Period::parse(text), millis.map(Period::from_millis));
    }

    #[rstest]
    #[case("1h30m")]
    #[case("1500ms")]
    #[case("0ms")]
    fn a_shown_period_parses_to_itself(#[case] text: &str) {
        let period = Period::parse(text).unwrap();
        assert_eq!(Period::parse(&period.to_string()), Some(period));
    }

    #[rstest]
    #[case("2027-01-31", Some("2027-02-01T00:00:00Z"))]
    #[case("2027-01-31T12:00:00+02:00", Some("2027-01-31T10:00:00Z"))]
    #[case("soon", None)]
    #[case("2027-02-30", None)]
    #[case("2027-1-3", None)]
    fn a_moment_parses_and_a_day_lasts_until_its_end(#[case] text: &str, #[case] is: Option<&str>) {
        assert_eq!(Moment::parse(text).map(|moment| moment.to_string()).as_deref(), is);
    }

    #[rstest]
    #[case("argocd/controller", "system:serviceaccount:argocd:controller", true)]
    #[case("argocd/controller", "system:serviceaccount:argocd:other", false)]
    #[case("argocd/controller", "argocd/controller", false)]
    #[case("argocd/controller", "system:serviceaccount:argocd:controller:x", false)]
    fn an_account_is_the_user_of_that_name(
        #[case] text: &str,
        #[case] user: &str,
        #[case] is: bool,
    ) {
        assert_eq!(AccountName::parse(text).unwrap().is_user(user), is);
    }

    #[rstest]
    #[case("nothing")]
    #[case("a/b/c")]
    #[case("/b")]
    #[case("A/b")]
    fn a_malformed_account_is_refused(#[case] text: &str) {
        assert_eq!(AccountName::parse(text), None);
    }

    #[rstest]
    #[case("linux/amd64", Some("linux/amd64"))]
    #[case("Linux/x86_64", Some("linux/amd64"))]
    #[case("linux/arm64/v8", Some("linux/arm64"))]
    #[case("windows(10.0.20348)/amd64", None)]
    #[case("amd64", None)]
    #[case("", None)]
    fn a_platform_of_nodes_parses(#[case] text: &str, #[case] is: Option<&str>) {
        let parsed = NodePlatform::parse(text).map(|platform| platform.to_string());
        assert_eq!(parsed.as_deref(), is);
    }
}
