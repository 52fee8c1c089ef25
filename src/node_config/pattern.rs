//! Which references a rule is for, and under which name it asks for them.

use std::sync::Arc;

use regex::Regex;

use super::endpoint::Endpoint;

/// Which references a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// One registry, by its host as references name it.
    Host(Box<str>),
    /// Every registry that no other rule is for.
    Any,
}

impl Pattern {
    /// How well it fits, the longer the better; nothing if it does not.
    pub(super) fn fit(&self, host: &str) -> Option<usize> {
        match self {
            Self::Host(own) => (**own == *host).then_some(usize::MAX),
            Self::Any => Some(0),
        }
    }
}

/// Under which name a host knows a repository.
#[derive(Debug, Clone)]
pub enum Rewrite {
    /// The same.
    Keep,
    /// The first expression that matches replaces (k3s' `rewrite`).
    Expressions(Vec<(Regex, Box<str>)>),
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keep, Self::Keep) => true,
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
    pub(super) fn apply(&self, repository: &str) -> Box<str> {
        match self {
            Self::Keep => repository.into(),
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
