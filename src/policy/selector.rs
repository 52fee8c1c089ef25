//! Selection of namespaces by their labels, with the meaning of a Kubernetes label selector.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The label that every namespace carries: its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespaces by label. All that is given must hold; an empty selector selects every namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct NamespaceSelector {
    /// Labels with the value that each must have. `kubernetes.io/metadata.name` is the name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// The values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The comparisons of a label selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LabelOperator {
    /// It is there with one of the values.
    In,
    /// It is not there, or has another value.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// A namespace's name and labels, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub struct NamespaceLabels<'a> {
    /// The namespace.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a [(Box<str>, Box<str>)],
}

impl<'a> NamespaceLabels<'a> {
    /// The value of a label. The name is always known.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        if key == NAME_LABEL {
            return Some(self.name);
        }
        self.labels.iter().find(|(label, _)| **label == *key).map(|(_, value)| &**value)
    }
}

impl NamespaceSelector {
    /// Whether this namespace is selected.
    pub fn matches(&self, namespace: NamespaceLabels<'_>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| namespace.get(key).is_some_and(|is| is == value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(namespace))
    }
}

impl LabelRequirement {
    fn holds(&self, namespace: NamespaceLabels<'_>) -> bool {
        let value = namespace.get(&self.key);
        let listed = || value.is_some_and(|value| self.values.iter().any(|one| one == value));
        match self.operator {
            LabelOperator::In => listed(),
            LabelOperator::NotIn => !listed(),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }

    /// What is wrong with it, if something is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let wants_values = matches!(self.operator, LabelOperator::In | LabelOperator::NotIn);
        match (wants_values, self.values.is_empty()) {
            (true, true) => Some("In and NotIn need values"),
            (false, false) => Some("Exists and DoesNotExist take no values"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(LabelOperator::In, &["a"], true)]
    #[case(LabelOperator::In, &["b"], false)]
    #[case(LabelOperator::NotIn, &["b"], true)]
    #[case(LabelOperator::NotIn, &["a"], false)]
    #[case(LabelOperator::Exists, &[], true)]
    #[case(LabelOperator::DoesNotExist, &[], false)]
    fn a_requirement_holds_on_a_label(
        #[case] operator: LabelOperator,
        #[case] values: &[&str],
        #[case] holds: bool,
    ) {
        let labels = [("team".into(), "a".into())];
        let namespace = NamespaceLabels { name: "shop", labels: &labels };
        let values = values.iter().map(ToString::to_string).collect();
        let requirement = LabelRequirement { key: "team".to_owned(), operator, values };
        assert_eq!(requirement.holds(namespace), holds);
        assert_eq!(requirement.fault(), None);
    }

    #[test]
    fn the_name_is_a_label_that_needs_no_labels() {
        let namespace = NamespaceLabels { name: "shop", labels: &[] };
        let by_name = |name: &str| NamespaceSelector {
            match_labels: BTreeMap::from([(NAME_LABEL.to_owned(), name.to_owned())]),
            ..NamespaceSelector::default()
        };
        assert!(by_name("shop").matches(namespace));
        assert!(!by_name("other").matches(namespace));
        assert!(NamespaceSelector::default().matches(namespace));
    }
}
