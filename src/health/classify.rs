//! From the words of a kubelet or a runtime to a [`Cause`]: which, whose registry, and what is
//! worth showing of it.
//!
//! A message is cut into its parts (several credentials give several errors, mirrors come before
//! the origin), each part into words, and the words are looked up in one ordered table of rules.
//! No text of the message comes out again, except host names that parse as such.

mod context;
mod next_step;
mod parts;
mod phrase;
mod registry;
mod rules;
mod tokens;

use std::collections::HashSet;
use std::sync::LazyLock;

pub use next_step::next_step;
use phrase::Phrase;
pub(super) use registry::canonical_host;
use rules::Rule;
use tokens::{Text, Token};

use crate::pull::Cause;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// The decisive cause.
    pub cause: Cause,
    /// The registry that the message speaks of, with its port, if it shows one. Docker Hub's
    /// addresses are all `docker.io`.
    pub registry: Option<String>,
    /// What it says about credentials.
    pub credential_problem: Option<CredentialProblem>,
    /// The host that could not be reached or trusted, or that refused, where it is not the
    /// registry itself: a token service, a mirror, a storage host.
    pub address: Option<String>,
}

impl Classified {
    /// Whether a later attempt may succeed although nobody changed anything.
    pub fn is_transient(&self) -> bool {
        self.cause.is_transient()
    }
}

/// What is wrong with the credentials, as far as a message says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialProblem {
    /// None were sent.
    Missing,
    /// They were sent and not accepted.
    Rejected,
    /// They were good once.
    Expired,
    /// They are good but do not allow this.
    Insufficient,
}

/// A line of the table of rules, for the page that lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownMessage {
    /// The words: `|` separates alternatives, `*` is any word, `..` a few words in between.
    pub phrase: &'static str,
    /// What they mean.
    pub cause: Cause,
    /// Where the text comes from.
    pub source: &'static str,
}

/// Every rule, in the order in which they are tried: the first that matches wins.
pub fn known_messages() -> impl Iterator<Item = KnownMessage> {
    rules::TABLE.iter().flat_map(|group| group.iter()).map(|rule| KnownMessage {
        phrase: rule.phrase,
        cause: rule.cause,
        source: rule.source,
    })
}

/// The rules with their phrases taken apart, in order.
static RULES: LazyLock<Vec<(Phrase, Rule)>> = LazyLock::new(|| {
    rules::TABLE
        .iter()
        .flat_map(|group| group.iter())
        .map(|rule| (Phrase::new(rule.phrase), *rule))
        .collect()
});

/// Classifies a waiting message or an event message; `reason` is the waiting or event reason that
/// came with it, if any.
pub fn classify(reason: Option<&str>, message: &str) -> Classified {
    let text = Text::new(message);
    let rule = if context::is_other(reason, &text) {
        None
    } else {
        parts::decisive(&text, |tokens| rule_for(&text, tokens))
    };
    let (cause, credential_problem) = match rule {
        Some(rule) => (rule.cause, rule.problem),
        None => (context::cause_of_reason(reason, &text), None),
    };
    let (registry, address) = registry::hosts(&text, cause == Cause::NotAnImageFailure);
    Classified { cause, registry, credential_problem, address }
}

/// The first rule that matches these words; if none does, the first that would if the message had
/// not been cut off.
fn rule_for(text: &Text, tokens: &[Token]) -> Option<Rule> {
    let words: HashSet<&str> = tokens.iter().map(|token| text.lower(*token)).collect();
    let may_be_in = |phrase: &Phrase| {
        phrase.needs().is_none_or(|needed| needed.iter().any(|word| words.contains(word)))
    };
    let whole =
        RULES.iter().find(|(phrase, _)| may_be_in(phrase) && phrase.is_in(text, tokens, false));
    whole
        .or_else(|| RULES.iter().find(|(phrase, _)| phrase.is_in(text, tokens, true)))
        .map(|(_, rule)| *rule)
}

#[cfg(test)]
mod tests;
