//! Which references a rule is for, and under which name it asks for them.

use std::sync::Arc;

use regex::Regex;

use super::route::Endpoint;

/// Which references a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// One registry, by its host as references name it.
    Host(Box<str>),
    /// A registry, or a part of one: `host[/path]`, whole path components.
    Prefix(Box<str>),
    /// Every host under a domain, itself left out: `*.example.com`.
    Subdomains(Box<str>),
    /// Every registry that no other rule is for.
    Any,
}

impl Pattern {
    /// How well it fits, the longer the better; nothing if it does not.
    pub(super) fn fit(&self, host: &str, repository: &str) -> Option<usize> {
        match self {
            Self::Host(own) => (**own == *host).then_some(usize::MAX),
            Self::Prefix(prefix) => rest_behind(prefix, host, repository).map(|_| prefix.len() + 2),
            Self::Subdomains(domain) => host
                .split(':')
                .next()
                .and_then(|name| name.strip_suffix(&**domain))
                .is_some_and(|label| label.ends_with('.') && label.len() > 1)
                .then_some(1 + domain.len()),
            Self::Any => Some(0),
        }
    }
}

/// What of `host/repository` stands behind a prefix of whole components.
fn rest_behind<'a>(prefix: &str, host: &str, repository: &'a str) -> Option<&'a str> {
    let path = prefix.strip_prefix(host)?;
    if path.is_empty() {
        return Some(repository);
    }
    let rest = repository.strip_prefix(path.strip_prefix('/')?)?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest),
        None if rest.is_empty() => Some(rest),
        None => None,
    }
}

/// Under which name a host knows a repository.
#[derive(Debug, Clone)]
pub enum Rewrite {
    /// The same.
    Keep,
    /// What stands behind `prefix`, behind this path (CRI-O's `location`).
    Behind {
        /// `host[/path]`, as in [`Pattern::Prefix`].
        prefix: Box<str>,
        /// A path without slashes at its ends; may be empty.
        path: Box<str>,
    },
    /// The first expression that matches replaces (k3s' `rewrite`).
    Expressions(Vec<(Regex, Box<str>)>),
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keep, Self::Keep) => true,
            (Self::Behind { prefix: a, path: b }, Self::Behind { prefix: c, path: d }) => {
                a == c && b == d
            }
            (Self::Expressions(a), Self::Expressions(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|(a, b)| a.0.as_str() == b.0.as_str() && a.1 == b.1)
            }
            _ => false,
        }
    }
}

impl Rewrite {
    /// The repository's name there.
    pub(super) fn apply(&self, host: &str, repository: &str) -> Box<str> {
        match self {
            Self::Keep => repository.into(),
            Self::Behind { prefix, path } => {
                let rest = rest_behind(prefix, host, repository).unwrap_or(repository);
                match (path.is_empty(), rest.is_empty()) {
                    (true, _) => rest.into(),
                    (_, true) => path.clone(),
                    _ => format!("{path}/{rest}").into(),
                }
            }
            Self::Expressions(all) => {
                all.iter().find(|(expression, _)| expression.is_match(repository)).map_or_else(
                    || repository.into(),
                    |(expression, with)| expression.replace_all(repository, &**with).into(),
                )
            }
        }
    }
}

/// One host of a rule, and what it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamRule {
    /// The host; the registry itself, as it is dialled by default, if there is none.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Whether it is asked for tags.
    pub by_tag: bool,
    /// Whether it is asked for digests.
    pub by_digest: bool,
    /// The repository's name there.
    pub rename: Rewrite,
}

impl UpstreamRule {
    /// A host that is asked for everything, by the same name.
    pub fn to(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Some(Arc::new(endpoint)),
            by_tag: true,
            by_digest: true,
            rename: Rewrite::Keep,
        }
    }

    /// The registry itself.
    pub fn itself() -> Self {
        Self { endpoint: None, by_tag: true, by_digest: true, rename: Rewrite::Keep }
    }
}
