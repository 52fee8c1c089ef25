//! The slim shapes of Kubernetes objects: what is decoded of each, and nothing more.

mod pod;
mod uid;

use std::borrow::Cow;

use serde::Deserialize;

pub(crate) use pod::{ConditionView, OwnerView, slim_meta};
pub use pod::{
    ContainerStatusView, ContainerView, EventView, InvolvedObject, PodSpecView, PodStatusView,
    PodView, RunningView, SecretName, SeriesView, StateView, TerminatedView, WaitingView,
    controller,
};
pub use uid::{Listed, Uid};

/// Text without a copy where JSON has no escape in it. Go writes `<`, `>` and `&` as `\u003c` and so
/// on, so plain `&str` would not do.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn boxed(&self) -> Box<str> {
        self.0.as_ref().into()
    }
}

// Names that may stand in a path to the API server: a pod names its secrets as it likes, the API server
// does not check these names, and a name such as `../../other/secrets/x` must not become a path.

/// Whether this can be the name of a Secret or ServiceAccount: a DNS subdomain as in RFC 1123
/// (`validation.IsDNS1123Subdomain` of apimachinery).
pub(crate) fn is_object_name(name: &str) -> bool {
    let label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        ends.iter().all(|end| end.is_some_and(|b| b != b'-'))
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Whether this can be the name of a namespace: a DNS label as in RFC 1123.
pub(crate) fn is_namespace_name(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && is_object_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("regcred", true)]
    #[case("a.b-c.0", true)]
    #[case("", false)]
    #[case(".", false)]
    #[case("..", false)]
    #[case("a..b", false)]
    #[case("-a", false)]
    #[case("a-", false)]
    #[case("A", false)]
    #[case("../../other/secrets/x", false)]
    #[case("a/b", false)]
    #[case("a?x", false)]
    #[case("a%2fb", false)]
    #[case("a b", false)]
    #[case("ä", false)]
    fn object_names(#[case] name: &str, #[case] good: bool) {
        assert_eq!(is_object_name(name), good);
    }

    #[test]
    fn lengths() {
        assert!(is_object_name(&"a".repeat(253)) && !is_object_name(&"a".repeat(254)));
        assert!(is_namespace_name(&"a".repeat(63)) && !is_namespace_name(&"a".repeat(64)));
        assert!(!is_namespace_name("a.b") && !is_namespace_name(""));
    }
}
