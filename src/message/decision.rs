//! What a review as a whole came to: who denies, and why a namespace that enforces denies nothing.

use super::cause::vouch_list;
use super::fit::{DETAILS, MAX_NAME};
use crate::history::Freshness;
use crate::policy::{ExceptionUse, LabelUse};
use crate::pull::Escape;
use crate::text::shorten;

/// What is said of a namespace's mode label that does not count.
pub const fn ignored_label(label: LabelUse) -> Option<&'static str> {
    match label {
        LabelUse::Absent | LabelUse::Chosen => None,
        LabelUse::NotAllowed => Some(
            "the namespace's label pullgate.dev/mode is ignored: the PullgatePolicy does not let this namespace choose that mode",
        ),
        LabelUse::Unknown => Some(
            "the namespace's label pullgate.dev/mode is ignored: its value is none of off, warn and enforce",
        ),
    }
}

/// Said where a tag is not found by the word of a registry that may be a proxy cache.
pub(super) const NOT_FOUND_YET: &str = "not denied unless seen again after 10m: a proxy cache also answers this while its upstream is down";

/// What an exception does, or did.
pub(super) fn exception_words(exception: &ExceptionUse) -> String {
    let ExceptionUse { name, owner, expires, expired, .. } = exception;
    let (name, owner) = (shorten(name, MAX_NAME), shorten(owner, MAX_NAME));
    // A day lasts until its end, which is the first moment of the next one.
    let last = expires.saturating_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(*expires);
    let day = last.strftime("%Y-%m-%d");
    if *expired {
        format!("exception {name} of {owner} ended on {day}")
    } else {
        format!("let through until {day} by exception {name} of {owner}")
    }
}

/// Said once where a namespace enforces and nothing is denied because these escapes are open.
pub fn held_back_by(policy: &str, namespace: &str, open: &[Escape]) -> Option<String> {
    let vouches = vouch_list(open)?;
    let words = format!("PullgatePolicy {policy} (spec.nodes) does not vouch for: {vouches}");
    Some(enforces_but(namespace, &words))
}

/// Said once where a namespace enforces and nothing is denied because this cluster's nodes have
/// recently contradicted look-ups at that registry.
pub fn reopened(namespace: &str) -> String {
    let words = "nodes here pulled from this registry what it still refused to Pullgate, so for a while nothing is denied for it";
    enforces_but(namespace, words)
}

/// Said once where a namespace enforces and nothing is denied because others use the registry, whom
/// the user may not see.
pub fn history_hidden(namespace: &str) -> String {
    let words = "namespaces that you may not see use this registry, and what they pulled may be on the nodes";
    enforces_but(namespace, words)
}

/// Said once where a namespace enforces and nothing is denied because the cluster's history cannot
/// be believed yet, or any more.
pub fn still_learning(freshness: Freshness, namespace: &str) -> String {
    let words = match freshness {
        Freshness::Stale => {
            "Pullgate has lost contact with the API server, so it does not know what runs here"
        }
        _ => "Pullgate has just started and is still learning what runs here",
    };
    enforces_but(namespace, words)
}

fn enforces_but(namespace: &str, words: &str) -> String {
    format!("namespace {namespace} enforces, but {words}")
}

/// A denial: the lines of what is denied, and where the policy is.
pub fn denial(lines: &[String], policy: &str, namespace: &str) -> String {
    let lines = lines.join(" | ");
    // One dash a line: what is behind it are details.
    let joint = if lines.contains(DETAILS) { "; " } else { DETAILS };
    lines + joint + &denied_by(policy, namespace)
}

/// Said at the end of every denial: where the policy is.
pub fn denied_by(policy: &str, namespace: &str) -> String {
    format!("denied by PullgatePolicy {policy} (namespace {namespace} enforces)")
}
