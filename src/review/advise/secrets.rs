//! Pull secrets: one of the same namespace that works, and what is wrong with those that do not.

use futures::future::join_all;

use super::AdviceContext;
use super::proof::MAX_TRIES;
use crate::advice::{Advice, SecretFault, fix_secret};
use crate::credential::{Credential, CredentialOrigin, Keyring, SecretProblem};
use crate::pull::{Cause, Outcome};
use crate::review::probe::AskedWith;
use crate::review::{ObjectQuery, ServiceAccountFacts};

/// The ServiceAccount of pods that name none.
const DEFAULT_ACCOUNT: &str = "default";
/// Secrets that are read at most.
const MAX_READ: usize = 8;

impl AdviceContext<'_> {
    /// A secret that pods or ServiceAccounts of the same namespace name already, and that can
    /// pull the image.
    pub(super) async fn secret_that_works(self) -> Option<Advice> {
        let helps = self.is_about_access() || self.cause == Cause::RateLimited;
        let context = self.context;
        if !helps || !self.visibility.includes(context.subject.namespace) {
            return None;
        }
        // Where nobody knows the account, a secret that was proven may be the one it has.
        let own = context.subject.workload.service_account.as_ref()?;
        let account = self.account(own).await;
        let candidates = self.candidates(account.as_ref()).await;
        let logins = self.logins(&candidates).await;
        let tried = join_all(logins.into_iter().take(MAX_TRIES).map(|(name, credential)| async {
            let proof = context.prove_with(self.wanted, AskedWith::Only(credential)).await;
            proof.map(|_| name)
        }))
        .await;
        let name = self.may_be_named(tried.into_iter().flatten().collect()).await?;
        let limits = account.as_ref().is_some_and(|account| {
            account.enforce_mountable_secrets && !account.pull_secrets.contains(&name)
        });
        Some(Advice::secret_works(&name, limits.then_some(own)))
    }

    /// The first of these secrets whose name the user may know: one that a pod names which they
    /// may list, or one that they may read. At most one is asked about.
    async fn may_be_named(self, works: Vec<Box<str>>) -> Option<Box<str>> {
        let subject = self.context.subject;
        let shown = self.context.sources.health.pull_secrets_in_use(subject.namespace);
        if let Some(name) = works.iter().find(|name| shown.contains(name)) {
            return Some(name.clone());
        }
        let name = works.into_iter().next()?;
        let access = self.context.sources.access;
        let may =
            access.may_read_secret(subject.user, subject.namespace, &name, subject.deadline).await;
        may.then_some(name)
    }

    /// Names to try, the likeliest first: what the pod's own account has, what pods here use most,
    /// what the namespace's default account has.
    async fn candidates(self, account: Option<&ServiceAccountFacts>) -> Vec<Box<str>> {
        let context = self.context;
        let mut names = account.map(|account| account.pull_secrets.clone()).unwrap_or_default();
        names.extend(context.sources.health.pull_secrets_in_use(context.subject.namespace));
        if context.subject.workload.service_account.as_deref() != Some(DEFAULT_ACCOUNT) {
            let default = self.account(DEFAULT_ACCOUNT).await;
            names.extend(default.map(|account| account.pull_secrets).unwrap_or_default());
        }
        if self.settings.list_secrets {
            let subject = context.subject;
            let cluster = context.sources.cluster;
            names.extend(cluster.list_pull_secrets(subject.namespace, subject.deadline).await);
        }
        let mut candidates: Vec<Box<str>> = Vec::new();
        for name in names {
            if !context.secrets.names.contains(&name) && !candidates.contains(&name) {
                candidates.push(name);
            }
        }
        candidates.truncate(MAX_READ);
        candidates
    }

    async fn account(self, name: &str) -> Option<ServiceAccountFacts> {
        let subject = self.context.subject;
        let cluster = self.context.sources.cluster;
        let (namespace, deadline) = (subject.namespace, subject.deadline);
        cluster.service_account(ObjectQuery::kept(namespace, name), deadline).await.found()
    }

    /// The first login of each secret that is for this image, read by name, side by side.
    async fn logins(self, names: &[Box<str>]) -> Vec<(Box<str>, Credential)> {
        let subject = self.context.subject;
        let cluster = self.context.sources.cluster;
        let (namespace, deadline) = (subject.namespace, subject.deadline);
        let read = |name| cluster.pull_secret(ObjectQuery::kept(namespace, name), deadline);
        let answers = join_all(names.iter().map(|name| read(name))).await;
        names
            .iter()
            .zip(answers)
            .filter_map(|(name, answer)| {
                let keyring = Keyring::from_secrets(&[answer.found()?]).ok()?;
                let credential = keyring.lookup(self.wanted).into_iter().next()?;
                Some((name.clone(), credential))
            })
            .collect()
    }

    /// What is wrong with the secrets that the pod names, as far as this image is concerned.
    pub(super) fn secrets_to_fix(self) -> Vec<Advice> {
        let missing = matches!(self.cause, Cause::TagNotFound | Cause::RepositoryNotFound);
        if self.cause != Cause::BrokenPullSecret && !self.is_about_access() && !missing {
            return Vec::new();
        }
        let (namespace, host) = (self.context.subject.namespace, self.wanted.host());
        self.faults()
            .into_iter()
            // Registries answer 404, too, to those who may not see: a secret to come matters then.
            .filter(|(_, fault)| !missing || *fault == SecretFault::Missing)
            .map(|(name, fault)| fix_secret(&name, namespace, host, fault))
            .collect()
    }

    fn faults(self) -> Vec<(Box<str>, SecretFault)> {
        let secrets = self.context.secrets;
        let Ok(keyring) = &secrets.keyring else {
            let broken = secrets.broken().map(|(name, _)| (name.into(), SecretFault::Malformed));
            return broken.into_iter().collect();
        };
        let mut faults: Vec<(Box<str>, SecretFault)> =
            secrets.missing.iter().map(|name| (name.clone(), SecretFault::Missing)).collect();
        for ignored in keyring.ignored() {
            let fault = match ignored.problem {
                SecretProblem::WrongType { .. } => SecretFault::WrongType,
                _ => SecretFault::Empty,
            };
            faults.push(((*ignored.name).into(), fault));
        }
        let readable: Vec<&Box<str>> = secrets
            .names
            .iter()
            .filter(|name| !faults.iter().any(|(faulty, _)| faulty == *name))
            .collect();
        if let ([name], false, None) =
            (readable.as_slice(), secrets.unread, keyring.explain(self.wanted).next())
        {
            faults.push(((*name).clone(), SecretFault::OtherHost));
        }
        faults.extend(self.rejected());
        faults
    }

    /// Secrets whose login the registry refuses.
    fn rejected(self) -> Vec<(Box<str>, SecretFault)> {
        let worked_before = self.history.known_tags.iter().any(|known| known.names(self.wanted));
        let mut rejected: Vec<(Box<str>, SecretFault)> = Vec::new();
        for attempt in &self.review.attempts {
            let Some(source) = &attempt.source else { continue };
            if let (CredentialOrigin::Secret(name), Outcome::Unauthorized) =
                (&source.origin, &attempt.lookup.outcome)
                && !rejected.iter().any(|(other, _)| **other == **name)
            {
                rejected.push(((**name).into(), SecretFault::Rejected { worked_before }));
            }
        }
        rejected
    }
}
