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
    /// What to do, where the next step of the cause would mislead.
    pub(super) advice: Option<&'static str>,
    /// Whether the words count only in a text that is about images for other reasons too.
    pub(super) of_images: bool,
}

impl Rule {
    /// The same rule with a next step of its own.
    const fn advise(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }

    /// The same rule, only for texts that are about images.
    const fn if_of_images(self) -> Self {
        Self { of_images: true, ..self }
    }
}

const fn is(cause: Cause, phrase: &'static str, source: &'static str) -> Rule {
    Rule { phrase, cause, problem: None, source, advice: None, of_images: false }
}

const fn login(cause: Cause, problem: Problem, phrase: &'static str, source: &'static str) -> Rule {
    Rule { problem: Some(problem), ..is(cause, phrase, source) }
}

/// What only a network says that failed (GO net, net/http), or a registry that is in trouble. Behind
/// a proven cause it is the inner error.
pub(super) const NETWORK_FAILED: &[&str] = &[
    "dial tcp|tcp4|tcp6",
    "i/o timeout",
    "tls handshake timeout",
    "no such host",
    "server misbehaving",
    "in name resolution",
    "connection refused|reset",
    "no route to host",
    "network is unreachable",
    "client.timeout exceeded",
    "context deadline exceeded",
    "unexpected http status 500|502|503|504",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway timeout|time-out",
];

/// All rules, in the order in which they are tried.
pub(super) const TABLE: &[&[Rule]] = &[
    kubelet::HELPER,
    kubelet::OTHER,
    kubelet::REFERENCE,
    answers::LIMIT,
    content::UNREAD_SIGNATURE,
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
    kubelet::REFERENCE_WRAPPERS,
    answers::WAITING,
];
