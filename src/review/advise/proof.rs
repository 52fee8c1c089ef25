//! Proofs: a candidate is looked up with the credentials that count, and assessed like an image.

use futures::future::join_all;

use crate::credential::Credential;
use crate::image::{Digest, ImageReference};
use crate::pull::{Purpose, Verdict, Vouches};
use crate::review::probe::{AskedWith, Probed};
use crate::review::{ResolvedName, ReviewContext};

/// Candidates of one kind that are tried at most.
pub(super) const MAX_TRIES: usize = 3;

/// With whose credentials a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those that the kubelet would use: the pod's, then the nodes'. For names that the user
    /// wrote or may see.
    Kubelet,
    /// The pod's only. For names that its credentials brought to light: what only the nodes may
    /// read is nobody's business.
    Pod,
}

/// A candidate that the nodes can pull and start.
pub(super) struct Proof {
    /// Its digest, where the registry said it.
    pub(super) digest: Option<Digest>,
}

impl ReviewContext<'_> {
    /// Whether the nodes could pull and start this image, by the word of its registry.
    pub(super) async fn prove(self, candidate: &ImageReference, whose: Whose) -> Option<Proof> {
        let asked_with = match whose {
            Whose::Kubelet => AskedWith::Kubelet,
            Whose::Pod => AskedWith::Pod,
        };
        self.prove_with(candidate, asked_with).await
    }

    /// The same with credentials of the caller's choice. Only that the registry has it counts, and
    /// that every node where the pods may land can start it.
    pub(super) async fn prove_with(
        self,
        candidate: &ImageReference,
        asked_with: AskedWith,
    ) -> Option<Proof> {
        let written = Ok(candidate.clone());
        let name = ResolvedName { written: &written, elsewhere: None };
        // Several are under way at once within each kind of advice: kept small.
        let asking = ReviewContext { purpose: Purpose::Advice, ..self };
        let probed = Box::pin(asking.probe(name, asked_with, Vouches::default(), None)).await;
        let Probed { assessment, attempts } = probed;
        let works = assessment.verdict == Verdict::Works && assessment.cause.is_none();
        let has_it = assessment.decisive.and_then(|index| attempts.get(index));
        (works && has_it.is_some() && !self.subject.policy.refuses(candidate))
            .then_some(Proof { digest: assessment.digest })
    }

    /// The pod's own credentials for an image; the anonymous attempt if there are none.
    pub(in crate::review) fn own_credentials(
        self,
        image: &ImageReference,
    ) -> Vec<Option<Credential>> {
        let Ok(keyring) = &self.secrets.keyring else { return Vec::new() };
        let own: Vec<_> = keyring.lookup(image).into_iter().take(MAX_TRIES).map(Some).collect();
        if own.is_empty() { vec![None] } else { own }
    }

    /// The best of these candidates that is proven: the first one alone, since it mostly is, then
    /// the next ones side by side.
    pub(super) async fn first_proven<'c, C>(
        self,
        candidates: &'c [C],
        reference: impl Fn(&'c C) -> &'c ImageReference,
        whose: Whose,
    ) -> Option<(&'c C, Proof)> {
        let (first, rest) = candidates.split_first()?;
        if let Some(proof) = self.prove(reference(first), whose).await {
            return Some((first, proof));
        }
        let rest = rest.get(..MAX_TRIES - 1).unwrap_or(rest);
        let proofs = join_all(rest.iter().map(|other| self.prove(reference(other), whose))).await;
        rest.iter().zip(proofs).find_map(|(other, proof)| Some((other, proof?)))
    }
}
