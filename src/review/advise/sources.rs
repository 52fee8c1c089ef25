//! Where else to get an image whose registry does not answer as it should.

use super::AdviceContext;
use super::proof::Whose;
use crate::advice::{Advice, already_on_nodes, rank_namesakes};
use crate::history::{Freshness, HistoryQuestion, KnownTag, Visibility};
use crate::pull::{Attempt, Cause};
use crate::workload::ImagePullPolicy;

impl AdviceContext<'_> {
    /// The nodes' own disks, another place that has it, what to do about a used-up limit.
    pub(super) async fn other_sources(self) -> Vec<Advice> {
        let unreachable = matches!(
            self.cause,
            Cause::RateLimited
                | Cause::DnsFailure
                | Cause::ConnectionRefused
                | Cause::Timeout
                | Cause::TlsFailure
                | Cause::RegistryError
        );
        let missing = matches!(self.cause, Cause::TagNotFound | Cause::RepositoryNotFound);
        let mut advice = Vec::new();
        // Where it is on all nodes somebody runs it, whom not everybody may see.
        let may_know = *self.visibility == Visibility::Cluster
            || self.history.known_tags.iter().any(|known| known.names(self.wanted));
        if may_know && (unreachable || missing) {
            let policy =
                self.review.places.first().map_or(ImagePullPolicy::IfNotPresent, |p| p.pull_policy);
            advice.extend(already_on_nodes(self.wanted, policy, self.context.eligible));
        }
        if unreachable {
            advice.extend(self.same_elsewhere().await);
        }
        if self.cause == Cause::RateLimited {
            let anonymous = |attempt: &Attempt| attempt.source.is_none();
            advice.push(Advice::throttled(self.review.attempts.iter().all(anonymous)));
        }
        advice
    }

    /// The same tag, or the digest that it was known to be, under another name that runs here.
    async fn same_elsewhere(self) -> Option<Advice> {
        let known = self.namesakes_of_the_team();
        let ran = self.history.known_tags.iter().find(|known| known.names(self.wanted));
        let digest = ran.and_then(|known| known.digest.as_ref());
        let candidates: Vec<&KnownTag> = rank_namesakes(self.wanted, &known)
            .into_iter()
            .filter(|other| {
                let same_tag =
                    other.reference.manifest_reference() == self.wanted.manifest_reference();
                same_tag || (digest.is_some() && other.digest.as_ref() == digest)
            })
            .collect();
        let (other, proof) = self
            .context
            .first_proven(&candidates, |known: &&KnownTag| &known.reference, Whose::Kubelet)
            .await?;
        let same_digest = digest.is_some() && proof.digest.as_ref() == digest;
        Some(Advice::same_elsewhere(&other.reference, same_digest))
    }

    /// Images of the same name elsewhere that the user may be shown.
    pub(super) fn namesakes(self) -> Vec<KnownTag> {
        let context = self.context;
        let health = context.sources.health;
        if health.freshness() != Freshness::Current {
            return Vec::new();
        }
        let question = HistoryQuestion {
            reference: self.wanted,
            namespace: context.subject.namespace,
            visibility: self.visibility,
        };
        health.namesakes(&question, context.subject.now)
    }
}
