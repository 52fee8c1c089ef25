//! The table: which words mean which cause. To teach Pullgate a new message, add a line to the group
//! below that its cause belongs to; `TABLE` says in which order the groups are tried.
//!
//! **The first rule that matches wins.** So what is certain or specific stands above what is
//! general, an inner cause above the wrappers that may carry it, and "whose fault" above "what
//! kind of connection". The language of the phrases is in `phrase.rs`. Each group names where its
//! texts come from: K kubernetes, CD containerd, CR cri-o, CI its image library, MO moby/docker,
//! GO the standard library of Go, OD the distribution specification, DD its reference registry,
//! or the registry that sends them.

mod answers;
mod content;
mod kubelet;
mod network;
mod node;

use super::CredentialProblem as Problem;
use crate::pull::Cause;

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// The words, in the language of `phrase.rs`.
    pub(super) phrase: &'static str,
    /// What they mean.
    pub(super) cause: Cause,
    /// What they say about credentials.
    pub(super) problem: Option<Problem>,
    /// Where the text comes from.
    pub(super) source: &'static str,
}

const fn is(cause: Cause, phrase: &'static str, source: &'static str) -> Rule {
    Rule { phrase, cause, problem: None, source }
}

const fn login(cause: Cause, problem: Problem, phrase: &'static str, source: &'static str) -> Rule {
    Rule { phrase, cause, problem: Some(problem), source }
}

/// All rules, in the order in which they are tried.
pub(super) const TABLE: &[&[Rule]] = &[
    kubelet::HELPER,
    kubelet::OTHER,
    kubelet::REFERENCE,
    answers::LIMIT,
    content::SIGNATURE,
    content::PLATFORM,
    content::FORMAT,
    content::INTEGRITY,
    node::STORAGE,
    node::RUNTIME,
    network::NAMES,
    network::TLS,
    answers::WORDS,
    network::NETWORK,
    answers::SERVER,
    answers::BROKEN_SECRET,
    answers::ACCESS,
    node::UNPACK,
    answers::MISSING,
    answers::REST,
];
