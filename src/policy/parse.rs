//! From text to a policy that can be put in force, or an error that a person can act upon.

use std::fmt;

use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_saphyr::MessageFormatter;

use super::PullgatePolicy;
use super::document::{ExceptionMatch, PullgatePolicySpec};
use super::selector::NamespaceSelector;
use super::value::did_you_mean;
use crate::text::escaped;

/// The version of the document that is understood.
pub(crate) const API_VERSION: &str = "pullgate.dev/v1alpha1";
/// The kind of the document.
pub const KIND: &str = "PullgatePolicy";
/// The size of the longest document that is read; the API server stores none that is longer.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// Why a document cannot be put in force. Its text names the file, line and column as far as they
/// are known, the field, what is wrong and what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct PolicyError {
    /// Where it is.
    pub at: Position,
    /// What is wrong with it, with a hint where there is one.
    pub problem: PolicyProblem,
}

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// The file, or where else the text is from.
    pub origin: Box<str>,
    /// Line and column, from 1.
    line_column: Option<(u64, u64)>,
    /// The field, such as `spec.nodes.mirrors`; empty for the whole document.
    pub field: Box<str>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some((line, column)) = self.line_column {
            write!(f, ":{line}:{column}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        Ok(())
    }
}

/// What can be wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyProblem {
    /// It is longer than any document that the API server stores.
    #[error("the document is longer than 2 MiB")]
    TooLong,
    /// It is not YAML or JSON, or a value does not have the form that its field needs.
    #[error("{0}")]
    Malformed(Box<str>),
    /// A field that does not exist.
    #[error("unknown field \"{field}\"{hint}")]
    UnknownField {
        /// The field.
        field: Box<str>,
        /// `, did you mean ...?`, or nothing.
        hint: Box<str>,
    },
    /// A word that a field does not take.
    #[error("\"{word}\" is not one of {words}{hint}")]
    UnknownWord {
        /// The word.
        word: Box<str>,
        /// Those that it takes.
        words: Box<str>,
        /// `, did you mean ...?`, or nothing.
        hint: Box<str>,
    },
    /// A document of another kind or version.
    #[error("this is {found}, not {wanted}")]
    WrongType {
        /// What was found.
        found: Box<str>,
        /// What was wanted.
        wanted: &'static str,
    },
    /// Fields that do not fit together.
    #[error("{0}")]
    Contradiction(Box<str>),
}

/// The whole document as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PullgatePolicySpec,
    /// What `kubectl get -o yaml` brings along.
    #[serde(default, rename = "status")]
    _status: serde::de::IgnoredAny,
}

/// Reads a document. `origin` is the file's name for messages.
pub(super) fn parse(text: &str, origin: &str) -> Result<PullgatePolicy, PolicyError> {
    let at =
        |field: &str| Position { origin: origin.into(), line_column: None, field: field.into() };
    let fault = |field: &str, problem| PolicyError { at: at(field), problem };
    if text.len() > MAX_BYTES {
        return Err(fault("", PolicyProblem::TooLong));
    }
    let document = read(text, origin)?;
    for (field, found, wanted) in
        [("apiVersion", &document.api_version, API_VERSION), ("kind", &document.kind, KIND)]
    {
        if found != wanted {
            return Err(fault(field, PolicyProblem::WrongType { found: shown(found), wanted }));
        }
    }
    let Some(name) = document.metadata.name.filter(|name| !name.is_empty()) else {
        let problem = PolicyProblem::Contradiction("the document needs a name".into());
        return Err(fault("metadata.name", problem));
    };
    check(&document.spec)
        .map_err(|(field, text)| fault(&field, PolicyProblem::Contradiction(text.into())))?;
    Ok(PullgatePolicy { name: name.into(), spec: document.spec })
}

/// Reads the fields, with the place and the field of what cannot be read.
fn read(text: &str, origin: &str) -> Result<Document, PolicyError> {
    let mut field = String::new();
    let options = serde_saphyr::options! { with_snippet: false };
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |source| {
        serde_path_to_error::deserialize(source).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().filter(|place| place.line() > 0);
        PolicyError {
            at: Position {
                origin: origin.into(),
                line_column: place.map(|place| (place.line(), place.column())),
                field: if field == "." { "".into() } else { field.as_str().into() },
            },
            problem: problem_of(error),
        }
    })
}

fn problem_of(error: &serde_saphyr::Error) -> PolicyProblem {
    match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            PolicyProblem::UnknownField {
                field: shown(field),
                hint: did_you_mean(field, expected.iter().copied()).into(),
            }
        }
        serde_saphyr::Error::SerdeUnknownVariant { variant, expected, .. } => {
            PolicyProblem::UnknownWord {
                word: shown(variant),
                words: expected.join(", ").into(),
                hint: did_you_mean(variant, expected.iter().copied()).into(),
            }
        }
        other => {
            let text = serde_saphyr::UserMessageFormatter.format_message(other);
            // Its own texts put what was written between backticks.
            PolicyProblem::Malformed(escaped(&text.replace('`', "\""), 500).into())
        }
    }
}

fn shown(text: &str) -> Box<str> {
    escaped(text, 80).into()
}

/// What fits no schema: fields that contradict each other. The first fault, with its field.
pub(super) fn check(spec: &PullgatePolicySpec) -> Result<(), (String, String)> {
    let fault = |field: String, text: &str| Err((field, text.to_owned()));
    if spec.enforce_on.is_empty() {
        return fault("spec.enforceOn".into(), "name pods, workloads or both");
    }
    let (each, total) = (spec.lookups.each.get(), spec.lookups.total.get());
    if each.is_zero() || total.is_zero() || total > std::time::Duration::from_secs(29) {
        return fault("spec.lookups".into(), "both must be above 0 and at most 29s");
    }
    if each > total {
        return fault("spec.lookups.each".into(), "one look-up cannot take longer than all");
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        if rule.enforce_on.as_ref().is_some_and(Vec::is_empty) {
            return fault(format!("{field}.enforceOn"), "name pods, workloads or both");
        }
        check_selector(rule.namespace_selector.as_ref(), &field)?;
    }
    for (index, exception) in spec.exceptions.iter().enumerate() {
        let field = format!("spec.exceptions[{index}]");
        for (name, value) in
            [("name", &exception.name), ("owner", &exception.owner), ("reason", &exception.reason)]
        {
            if value.trim().is_empty() {
                return fault(format!("{field}.{name}"), "it must not be empty");
            }
        }
        if spec.exceptions[..index].iter().any(|earlier| earlier.name == exception.name) {
            return fault(format!("{field}.name"), "another exception has the same name");
        }
        let ExceptionMatch { namespace_selector, images, causes: _ } = &exception.matches;
        if images.is_empty()
            && namespace_selector.as_ref().is_none_or(|one| *one == NamespaceSelector::default())
        {
            return fault(format!("{field}.match"), "name namespaces or images: it is for all");
        }
        check_selector(namespace_selector.as_ref(), &format!("{field}.match"))?;
    }
    for (index, extra) in spec.extra_kinds.iter().enumerate() {
        if extra.group.is_empty() || extra.kind.is_empty() {
            let field = format!("spec.extraKinds[{index}]");
            return fault(field, "group and kind must not be empty");
        }
    }
    for (index, budget) in spec.registries.budgets.iter().enumerate() {
        if budget.requests_per_minute == Some(0) || budget.concurrent == Some(0) {
            let field = format!("spec.registries.budgets[{index}]");
            return fault(field, "a budget must be above 0; skip leaves a registry out");
        }
    }
    Ok(())
}

fn check_selector(
    selector: Option<&NamespaceSelector>,
    field: &str,
) -> Result<(), (String, String)> {
    let requirements = selector.map_or(&[][..], |selector| &selector.match_expressions);
    for (index, requirement) in requirements.iter().enumerate() {
        if let Some(text) = requirement.fault() {
            let field = format!("{field}.namespaceSelector.matchExpressions[{index}]");
            return Err((field, text.to_owned()));
        }
    }
    Ok(())
}
