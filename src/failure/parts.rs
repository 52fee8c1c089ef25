//! Which part of a message decides: errors in a row, mirrors before the origin.
//!
//! The kubelet joins the errors of several credentials as `[e1, e2]`; the image library of CRI-O
//! puts `(Mirrors also failed: [..])` in front of the origin's error, CRI-O tells behind
//! `; artifact err:` how it tried the same name as an artifact, and clients of Docker's API put a
//! status of their own in front. Everything else is one part.

use super::rules::Rule;
use super::tokens::{Text, Token};
use crate::pull::Cause;

/// How an error of a list starts: behind the bracket, or the comma that ends the one before.
/// The kubelet leaves `rpc error: code = Unknown desc =` out since 1.29.
const STARTS: &[&str] = &[
    "rpc error:",
    "failed to ",
    "unable to pull",
    "initializing source",
    "copying system image",
    "reading manifest",
    "pinging ",
    "error response from daemon",
    "registryunavailable",
    "signaturevalidationfailed",
];

/// The rule of the decisive part.
pub(super) fn decisive(text: &Text, rule_for: impl Fn(&[Token]) -> Option<Rule>) -> Option<Rule> {
    let rule_for = |tokens: &[Token]| {
        behind_client(text, tokens).and_then(&rule_for).or_else(|| rule_for(tokens))
    };
    let rule_for = |tokens: &[Token]| {
        before_artifact(text, tokens).and_then(&rule_for).or_else(|| rule_for(tokens))
    };
    let tokens = text.tokens();
    if let Some(origin) = behind_mirrors(text, tokens)
        && let Some(rule) = rule_for(origin)
    {
        return Some(rule);
    }
    let parts = list(text, tokens);
    if parts.len() < 2 {
        return rule_for(tokens);
    }
    // What one of the credentials was told for sure beats what another met on the way there, and
    // "missing" (told to somebody who was let in) beats "not let in".
    parts
        .into_iter()
        .filter_map(&rule_for)
        .max_by_key(|rule| weight(rule.cause))
        .or_else(|| rule_for(tokens))
}

/// Which error of several credentials decides; of equals, the last.
const fn weight(cause: Cause) -> u8 {
    match cause {
        Cause::BackOff | Cause::NotAnImageFailure => 0,
        _ if cause.is_transient() => 1,
        Cause::TagNotFound | Cause::RepositoryNotFound => 3,
        _ => 2,
    }
}

/// The errors of `[e1, e2]`, each without the text in front of the list; nothing if it is not one.
fn list<'t>(text: &Text, tokens: &'t [Token]) -> Vec<&'t [Token]> {
    let all = text.all_lower();
    let starts = |after: &'static str, from: usize| {
        all[from..].match_indices(after).map(move |(at, _)| from + at).find(|at| {
            let behind = &all[at + after.len()..];
            STARTS.iter().any(|start| behind.starts_with(start))
        })
    };
    let Some(open) = starts("[", 0) else { return Vec::new() };
    let mut cuts = vec![open];
    let mut from = open;
    while let Some(next) = starts(", ", from) {
        cuts.push(next);
        from = next + 1;
    }
    let first = |at: usize| tokens.partition_point(|token| Text::offset(*token) < at);
    (0..cuts.len())
        .map(|n| &tokens[first(cuts[n])..cuts.get(n + 1).map_or(tokens.len(), |&at| first(at))])
        .collect()
}

/// The words behind `(Mirrors also failed: [...]):`, if there are any.
fn behind_mirrors<'t>(text: &Text, tokens: &'t [Token]) -> Option<&'t [Token]> {
    let all = text.all_lower();
    let from = all.find("mirrors also failed")?;
    let mut depth = 0i32;
    let close = all.bytes().enumerate().skip(from).find_map(|(at, byte)| {
        match byte {
            b'[' | b'(' => depth += 1,
            b']' | b')' => depth -= 1,
            _ => {}
        }
        (depth < 0).then_some(at)
    })?;
    let first = tokens.partition_point(|token| Text::offset(*token) <= close);
    Some(&tokens[first..])
}

/// What clients of Docker's API write in front of its message: its own status, which is 500 for
/// nearly everything that a registry answers. In order: dockerode, go-dockerclient, docker-py, and
/// the body that docker-java shows.
const CLIENTS: &[&str] =
    &["server error - ", "api error (", "internal server error (\"", "{\"message\":\""];

/// The words behind the status of Docker's API, if there are any.
fn behind_client<'t>(text: &Text, tokens: &'t [Token]) -> Option<&'t [Token]> {
    let start = Text::offset(*tokens.first()?);
    let behind = &text.all_lower()[start..];
    let at = CLIENTS.iter().filter_map(|client| Some(behind.find(client)? + client.len())).max()?;
    let first = tokens.partition_point(|token| Text::offset(*token) < start + at);
    (first < tokens.len()).then(|| &tokens[first..])
}

/// The words in front of `; artifact err:`, if they are among these: the error of the image.
fn before_artifact<'t>(text: &Text, tokens: &'t [Token]) -> Option<&'t [Token]> {
    let start = Text::offset(*tokens.first()?);
    let at = start + text.all_lower()[start..].find("; artifact err:")?;
    let end = tokens.partition_point(|token| Text::offset(*token) < at);
    (end < tokens.len()).then(|| &tokens[..end])
}
