//! Which tag, digest or repository to use instead of the one that is missing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::join;

use super::AdviceContext;
use super::proof::{MAX_TRIES, Whose};
use crate::advice::{
    Advice, Nearness, TeamPaths, misspelt, nearest_tags, of_same_name, rank_known_tags,
    rank_namesakes, spellings,
};
use crate::credential::Credential;
use crate::history::{HistoryQuestion, KnownTag, Visibility};
use crate::image::ImageReference;
use crate::pull::{Cause, ListRequest, Listing, Outcome, TagList};

/// Near tags that are tried; as many as are said, and one to spare.
const MAX_NEAR: usize = 4;
/// What is left of the time for proving when the list of tags is late.
const FOR_PROVING: Duration = Duration::from_millis(300);

/// A tag that may be meant.
struct Near {
    reference: ImageReference,
    nearness: Nearness,
    whose: Whose,
}

impl AdviceContext<'_> {
    /// Tags and digests of the same repository, best first; the same name elsewhere.
    pub(super) async fn tags(self) -> Vec<Advice> {
        match self.cause {
            Cause::TagNotFound => {
                let (known, digest, near) =
                    join!(self.known_tag(), self.last_digest(), self.near_tags());
                let found = in_order(known, digest, near);
                // Some registries say of a repository that they do not have that the tag is missing.
                if !found.is_empty() || !self.history.known_tags.is_empty() {
                    return found;
                }
                self.meant_repository().await.into_iter().collect()
            }
            Cause::PlatformMismatch => {
                let (known, digest) = join!(self.known_tag(), self.last_digest());
                in_order(known, digest, Vec::new())
            }
            Cause::RepositoryNotFound | Cause::AccessDeniedOrMissing => {
                let (meant, namesake) = join!(self.meant_repository(), self.namesake());
                meant.into_iter().chain(namesake).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A tag of the same repository that runs here. It may run under a mirror's name; what is
    /// proven is the name that the user would write.
    async fn known_tag(self) -> Option<Advice> {
        let named = |known: &KnownTag| self.wanted.with_tag(known.reference.tag()?).ok();
        let ranked: Vec<(ImageReference, &KnownTag)> =
            rank_known_tags(self.wanted, &self.history.known_tags)
                .into_iter()
                .filter_map(|known| Some((named(known)?, known)))
                .collect();
        let proven = self.context.first_proven(&ranked, |(image, _)| image, Whose::Kubelet).await;
        Advice::known_tag(proven?.0.1)
    }

    /// The digest that ran here under the very same tag.
    async fn last_digest(self) -> Option<Advice> {
        let known = self.history.known_tags.iter().find(|known| known.names(self.wanted))?;
        let digest = known.digest.clone()?;
        if self.review.assessment.digest.as_ref() == Some(&digest) {
            return None;
        }
        let candidate = self.wanted.with_digest(digest.clone());
        self.context.prove(&candidate, Whose::Kubelet).await?;
        Some(Advice::last_digest(&digest))
    }

    /// "Did you mean": at most three.
    async fn near_tags(self) -> Vec<(Nearness, Advice)> {
        let Some(wanted) = self.wanted.tag().filter(|_| self.wanted.digest().is_none()) else {
            return Vec::new();
        };
        let near = self.near_candidates(wanted).await;
        let proofs =
            join_all(near.iter().map(|near| self.context.prove(&near.reference, near.whose))).await;
        near.iter()
            .zip(proofs)
            .filter(|(_, proof)| proof.is_some())
            .take(MAX_TRIES)
            .filter_map(|(near, _)| {
                let tag = near.reference.tag()?;
                Some((near.nearness, Advice::near_tag(tag, near.nearness)))
            })
            .collect()
    }

    /// What to try: other spellings of what was written, and what the pod's own credentials see.
    async fn near_candidates(self, wanted: &str) -> Vec<Near> {
        let list = match self.lister() {
            Some(credential) => {
                let deadline = self.context.subject.deadline;
                let until = deadline.checked_sub(FOR_PROVING).unwrap_or(deadline);
                self.names(Listing::Tags, credential, until).await.ok()
            }
            None => None,
        };
        let whole = list.as_ref().filter(|list| !list.truncated);
        let mut near: Vec<Near> = spellings(wanted)
            .into_iter()
            // A whole list knows better.
            .filter(|(tag, _)| whole.is_none_or(|list| list.tags.iter().any(|one| **one == **tag)))
            .filter_map(|(tag, nearness)| self.near(&tag, nearness, Whose::Kubelet))
            .collect();
        if let Some(list) = &list {
            let listed = nearest_tags(self.wanted, wanted, list.tags.iter().map(|tag| &**tag));
            for one in listed {
                if !near.iter().any(|other| other.reference.tag() == Some(one.tag)) {
                    near.extend(self.near(one.tag, one.nearness, Whose::Pod));
                }
            }
        }
        near.sort_by_key(|near| near.nearness);
        near.truncate(MAX_NEAR);
        near
    }

    fn near(self, tag: &str, nearness: Nearness, whose: Whose) -> Option<Near> {
        Some(Near { reference: self.wanted.with_tag(tag).ok()?, nearness, whose })
    }

    /// Whether the registry has nothing at all of this repository. Some say only that the tag is
    /// missing, and of the list of tags that there is no repository.
    pub(super) async fn repository_is_missing(self) -> bool {
        if self.cause != Cause::TagNotFound {
            return self.cause == Cause::RepositoryNotFound;
        }
        let Some(credential) = self.lister() else { return false };
        match self.names(Listing::Tags, credential, self.context.subject.deadline).await {
            Ok(list) => list.tags.is_empty() && !list.truncated,
            Err(outcome) => matches!(outcome, Outcome::RepositoryMissing { code: Some(_) }),
        }
    }

    /// The tags beside the image, or the repositories of its registry.
    async fn names(
        self,
        listing: Listing,
        credential: Option<Credential>,
        deadline: Instant,
    ) -> Result<Arc<TagList>, Outcome> {
        let reference = self.context.resolved(self.wanted).into_owned();
        let namespace = self.context.subject.namespace.into();
        let request = ListRequest { reference, listing, credential, namespace };
        self.context.sources.registry.list(request, deadline).await
    }

    /// The credential to ask for tags with: one of the pod's own that the registry let in.
    #[expect(clippy::option_option, reason = "none to ask with, or the anonymous one")]
    fn lister(self) -> Option<Option<Credential>> {
        let let_in = |credential: &Option<Credential>| match credential {
            None => true,
            Some(credential) => self.review.attempts.iter().any(|attempt| {
                attempt.source.as_ref() == Some(credential.source())
                    && matches!(attempt.lookup.outcome, Outcome::TagMissing { .. })
            }),
        };
        self.context.own_credentials(self.wanted).into_iter().find(let_in)
    }

    /// A repository of the same registry whose name is nearly the one that was written: of those
    /// that run here, then of those that the registry lists to the pod's own credentials.
    async fn meant_repository(self) -> Option<Advice> {
        let context = self.context;
        let question = HistoryQuestion {
            reference: self.wanted,
            namespace: context.subject.namespace,
            visibility: self.visibility,
        };
        let here = context.sources.health.repositories_beside(&question);
        let own = self.own_repositories();
        let team = TeamPaths::new(self.wanted, own.iter().map(|name| &**name));
        let mut near = misspelt(&team, here.iter().map(|name| &**name));
        near.extend(of_same_name(&team, here.iter().map(|name| &**name)));
        if let Some((meant, _)) = context.first_proven(&near, |image| image, Whose::Kubelet).await {
            return Some(Advice::meant_repository(meant));
        }
        let credential = context.own_credentials(self.wanted).into_iter().next()?;
        let deadline = context.subject.deadline;
        let until = deadline.checked_sub(FOR_PROVING).unwrap_or(deadline);
        let listed = self.names(Listing::Repositories, credential, until).await.ok()?;
        let near = misspelt(&team, listed.tags.iter().map(|name| &**name));
        let (meant, _) = context.first_proven(&near, |image| image, Whose::Pod).await?;
        Some(Advice::meant_repository(meant))
    }

    /// The repositories of this registry of which something runs in the object's own namespace, if
    /// the user may see that.
    fn own_repositories(self) -> Vec<Box<str>> {
        let namespace = self.context.subject.namespace;
        if !self.visibility.includes(namespace) {
            return Vec::new();
        }
        let visibility = Visibility::Namespaces(vec![namespace.into()]);
        let question =
            HistoryQuestion { reference: self.wanted, namespace, visibility: &visibility };
        self.context.sources.health.repositories_beside(&question)
    }

    /// Images of the same name elsewhere that the user may see: those of the object's own
    /// namespace, and those that share the team's path.
    pub(super) fn namesakes_of_the_team(self) -> Vec<KnownTag> {
        let mut known = self.namesakes();
        if known.is_empty() {
            return known;
        }
        let own = self.own_repositories();
        let team = TeamPaths::new(self.wanted, own.iter().map(|name| &**name));
        known.retain(|one| one.in_namespace || team.includes(one.reference.repository()));
        known
    }

    /// An image of the same name that runs here from another repository.
    async fn namesake(self) -> Option<Advice> {
        let known = self.namesakes_of_the_team();
        let ranked = rank_namesakes(self.wanted, &known);
        let (known, _) = self
            .context
            .first_proven(&ranked, |known: &&KnownTag| &known.reference, Whose::Kubelet)
            .await?;
        Some(Advice::namesake(known))
    }
}

/// What was meant, then what is known to run, then the content that ran under this very tag, then
/// what else there is; each tag once.
fn in_order(
    known: Option<Advice>,
    digest: Option<Advice>,
    near: Vec<(Nearness, Advice)>,
) -> Vec<Advice> {
    let (meant, others): (Vec<_>, Vec<_>) =
        near.into_iter().partition(|(nearness, _)| nearness.is_meant());
    let meant: Vec<Advice> = meant.into_iter().map(|(_, advice)| advice).collect();
    let known: Vec<Advice> = known.into_iter().collect();
    let others = others
        .into_iter()
        .map(|(_, advice)| advice)
        .filter(|advice| !known.iter().any(|known| known.value == advice.value))
        .collect();
    let meant = meant
        .into_iter()
        .filter(|advice| !known.iter().any(|known| known.value == advice.value))
        .collect();
    [meant, known, digest.into_iter().collect(), others].concat()
}
