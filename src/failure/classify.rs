//! From the words of a kubelet or a runtime to a [`Cause`]: which, whose registry, and what is
//! worth showing of it.
//!
//! A message is cut into its parts (several credentials give several errors, mirrors come before
//! the origin), each part into words, and the words are looked up in one ordered table of rules.
//! No text of the message comes out again, except host names that parse as such.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::sync::LazyLock;

use super::rules::Rule;
use super::tokens::{Phrase, Text, Token};
use super::{context, hosts, parts, rules};
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
    /// The next step, where the words are so special that that of the cause would mislead.
    pub advice: Option<&'static str>,
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
    /// The next step, where it is not that of the cause.
    pub advice: Option<&'static str>,
}

/// Every rule, in the order in which they are tried: the first that matches wins.
pub fn known_messages() -> impl Iterator<Item = KnownMessage> {
    rules::TABLE.iter().flat_map(|group| group.iter()).map(|rule| KnownMessage {
        phrase: rule.phrase,
        cause: rule.cause,
        source: rule.source,
        advice: rule.advice,
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

/// The words of a network that failed, taken apart.
static NETWORK: LazyLock<Vec<Phrase>> =
    LazyLock::new(|| rules::NETWORK_FAILED.iter().map(|phrase| Phrase::new(phrase)).collect());

/// Classifies a waiting message or an event message; `reason` is the waiting or event reason that
/// came with it, if any.
pub fn classify(reason: Option<&str>, message: &str) -> Classified {
    let text = Text::new(message);
    let of_images = LazyCell::new(|| context::is_of_images(reason, &text));
    let rule = if context::is_other(reason, &text) {
        None
    } else {
        parts::decisive(&text, |tokens| {
            rule_for(&text, tokens, |rule| !rule.of_images || *of_images)
        })
    };
    let (cause, credential_problem, advice) = match rule {
        Some(rule) => (rule.cause, rule.problem, rule.advice),
        None => (context::cause_of_reason(reason, &text), None, None),
    };
    let (registry, address) = hosts::hosts(&text, cause == Cause::NotAnImageFailure);
    Classified { cause, registry, credential_problem, address, advice }
}

/// The first rule that matches these words; if none does, the first that would if the message had
/// not been cut off.
fn rule_for(text: &Text, tokens: &[Token], counts: impl Fn(&Rule) -> bool) -> Option<Rule> {
    let words: HashSet<&str> = tokens.iter().map(|token| text.lower(*token)).collect();
    let may_be_in = |phrase: &Phrase| {
        phrase.needs().is_none_or(|needed| needed.iter().any(|word| words.contains(word)))
    };
    let counting = || RULES.iter().filter(|(_, rule)| counts(rule));
    let whole = counting()
        .filter(|(phrase, _)| may_be_in(phrase))
        .find_map(|(phrase, rule)| Some((phrase.find(text, tokens, false)?, *rule)));
    let Some((at, rule)) = whole else {
        return counting()
            .find(|(phrase, _)| phrase.is_in(text, tokens, true))
            .map(|(_, rule)| *rule);
    };
    // Go puts the inner error behind the outer one: what fails with the network in the end has
    // proven nothing, however sure the words in front of it sound.
    let behind = &tokens[at + 1..];
    let may_wrap = !rule.cause.is_transient() || rule.cause == Cause::RegistryError;
    if may_wrap && NETWORK.iter().any(|phrase| phrase.is_in(text, behind, false)) {
        return counting()
            .filter(|(_, rule)| rule.cause.is_transient())
            .find(|(phrase, _)| phrase.is_in(text, behind, false))
            .map_or(Some(rule), |(_, inner)| Some(*inner));
    }
    Some(rule)
}
