//! The registry's answer now, to the very credentials of a pod: the shared review, asked with the
//! person's own rights to read secrets.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::credential::{CredentialOrigin, Mismatch};
use crate::history::{RunningDigest, Visibility};
use crate::image::{Digest, ImageReference};
use crate::message::{DETAILS, drift_sentences, tried_words};
use crate::node::NodeFiles;
use crate::policy::PullgatePolicy;
use crate::pull::{Cause, Runtime, Verdict};
use crate::registry::{RegistryClient, RegistryOptions};
use crate::review::{
    AuditResult, Compared, FixedAccess, ImageReview, ImageUse, ManifestSource, PodSecrets, Review,
    ReviewRequest, Sources, compare_use, drifted, recheck, review,
};
use crate::serve::{NodeSettings, RegistrySettings, registries};
use crate::telemetry::{instant, now};
use crate::text::clean;
use crate::user::UserInfo;
use crate::workload::{Node, Workload};

/// How long the look-ups for one object may take together.
const LOOK: Duration = Duration::from_secs(25);
/// Keys of pull secrets that do not match and are named one by one.
const MAX_KEYS: usize = 8;
/// Everything is said, whatever the policy of the cluster keeps silent about.
const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\n\
    metadata: {name: explain}\n\
    spec: {defaultMode: warn, cannotTell: warn, advice: {mutableTags: true, listSecrets: true, digestDrift: false}}\n";

/// The nodes that would pull, and their runtime, as far as they are known.
#[derive(Clone, Copy, Default)]
pub(in crate::cli) struct NodesAround<'a> {
    pub(in crate::cli) nodes: Option<&'a [Node]>,
    pub(in crate::cli) runtime: Option<Runtime>,
}

/// What registries are asked with.
pub(in crate::cli) struct RegistryReviewer {
    registry: std::sync::Arc<dyn ManifestSource>,
    nodes: NodeFiles,
    policy: PullgatePolicy,
}

/// What the registry answers now.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RegistryAnswer {
    /// As which object was asked, with whose pull secrets.
    pub(super) asked_as: String,
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    /// The cause and what was found, in words that continue a line.
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    /// Where the pull secrets come from, and which they are.
    pub(super) secrets: String,
    /// What each credential got, in the kubelet's order.
    pub(super) tried: Vec<TriedLogin>,
    /// Keys and secrets that do not count, and why.
    pub(super) not_tried: Vec<String>,
}

/// What one credential got.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TriedLogin {
    /// Where it is from; no secret.
    pub(super) from: String,
    /// The key that matches the image, as written.
    pub(super) key: String,
    /// `works`, or the word of a cause.
    pub(super) outcome: &'static str,
    /// The same in words.
    pub(super) words: String,
}

/// Who runs `explain` may be told of what they could list, and of secrets: only one that was read
/// with the person's own rights can be tried.
fn own(visibility: &Visibility) -> FixedAccess {
    FixedAccess { pods: visibility.clone(), secrets: true }
}

impl RegistryReviewer {
    /// Sets up what the flags say of registries and nodes.
    pub(in crate::cli) fn new(
        settings: RegistrySettings,
        nodes: NodeSettings,
    ) -> anyhow::Result<Self> {
        Self::supposing(settings, nodes, Vec::new())
    }

    /// The same as if these hosts were down.
    pub(in crate::cli) fn supposing(
        settings: RegistrySettings,
        nodes: NodeSettings,
        down: Vec<Box<str>>,
    ) -> anyhow::Result<Self> {
        let policy =
            PullgatePolicy::parse(POLICY, "explain").context("failed to read the own policy")?;
        let hosts = settings.hosts()?.unwrap_or_default();
        let options = RegistryOptions {
            contact_loopback: true,
            down,
            hosts,
            ..registries::options(settings, &policy)
        };
        let NodeSettings { credential_providers, docker_config, runtime: _ } = nodes;
        let providers = credential_providers.as_ref();
        let providers = providers.map(|(config, plugins)| (config.as_path(), plugins.as_path()));
        let nodes = NodeFiles::read(docker_config.as_deref(), providers)?;
        Ok(Self { registry: RegistryClient::new(options)?, nodes, policy })
    }

    /// Reviews an object as it stands: every image with the pod's own pull secrets, and what could
    /// be used instead.
    pub(super) async fn review(
        &self,
        cluster: &Cluster,
        visibility: &Visibility,
        workload: &Workload,
        (namespace, now): (&str, Timestamp),
    ) -> Review {
        let access = own(visibility);
        let sources = self.sources(cluster, &access);
        let user = UserInfo::default();
        let request = ReviewRequest {
            workload,
            namespace,
            user: &user,
            policy: &self.policy,
            runtime: None,
            account_applied: workload.is_pod && !workload.uid.is_empty(),
            patient: true,
            rollout: None,
            now,
            deadline: instant() + LOOK,
        };
        review(sources, request).await
    }

    /// Which pods run another image than what was found.
    pub(super) fn compare(
        &self,
        cluster: &Cluster,
        visibility: &Visibility,
        used: &ImageUse,
        found: &AuditResult,
    ) -> Compared {
        let access = own(visibility);
        compare_use(self.sources(cluster, &access), used, found)
    }

    /// What of the digests that pods run under a tag is another image than the registry's now, in words.
    pub(super) fn drift(
        &self,
        image: &ImageReference,
        running: &[RunningDigest],
        now: &Digest,
    ) -> Option<String> {
        let others = drifted(&*self.registry, image, running.to_vec(), now);
        let others: Vec<&RunningDigest> = others.iter().collect();
        (!others.is_empty()).then(|| drift_sentences(&others, now))
    }

    fn sources<'a>(&'a self, cluster: &'a Cluster, access: &'a FixedAccess) -> Sources<'a> {
        let registry = &*self.registry;
        Sources { registry, cluster, nodes: &self.nodes, health: cluster, access }
    }

    /// Whether one of these nodes that needs an image now could still pull it: the registry's word of
    /// today, to the pull secrets of who needs it. And whether it could not run there.
    pub(in crate::cli) async fn check_in_use(
        &self,
        cluster: &Cluster,
        visibility: &Visibility,
        used: &ImageUse,
        around: NodesAround<'_>,
    ) -> Option<AuditResult> {
        let access = own(visibility);
        let sources = self.sources(cluster, &access);
        let now = now();
        let NodesAround { nodes, runtime } = around;
        let look = recheck(sources, &self.policy, runtime, used, nodes, now, instant() + LOOK);
        tokio::time::timeout(LOOK, look).await.ok().flatten()
    }
}

impl RegistryAnswer {
    /// What a review came to for one image.
    pub(super) fn of(review: &Review, image: &ImageReview, asked_as: &str) -> Self {
        let works = image.assessment.verdict == Verdict::Works && image.assessment.cause.is_none();
        let message = if works {
            "the registry has it, and these credentials can pull it".to_owned()
        } else {
            let finding = review.finding(image);
            let realm = finding.realm_to_list().map(|pair| format!("; {pair}"));
            finding.message() + &realm.unwrap_or_default()
        };
        let reference = image.reference.as_ref().ok();
        Self {
            asked_as: asked_as.to_owned(),
            verdict: image.assessment.verdict,
            cause: image.assessment.cause,
            message,
            digest: image.assessment.digest.as_ref().map(|digest| digest.as_str().to_owned()),
            secrets: secrets(&review.secrets),
            tried: image.attempts.iter().map(tried).collect(),
            not_tried: reference.map(|image| not_tried(&review.secrets, image)).unwrap_or_default(),
        }
    }

    /// Whether the image can be had with these credentials.
    pub(super) fn works(&self) -> bool {
        self.verdict == Verdict::Works && self.cause.is_none()
    }

    /// The cause alone, in words.
    pub(super) fn cause_words(&self) -> &str {
        let cause = self.message.split("; ").next().unwrap_or_default();
        cause.split(DETAILS).next().unwrap_or_default()
    }
}

fn secrets(secrets: &PodSecrets) -> String {
    let described = secrets.describe("could not be read");
    described.unwrap_or_else(|| "this object does not say which its pods get".to_owned())
}

fn tried(attempt: &crate::pull::Attempt) -> TriedLogin {
    let (outcome, words) = tried_words(&attempt.lookup.outcome);
    let Some(source) = &attempt.source else {
        let from = "without credentials".to_owned();
        return TriedLogin { from, key: String::new(), outcome, words };
    };
    let key = match source.origin {
        CredentialOrigin::Secret(_) => clean(&source.written),
        _ => String::new(),
    };
    TriedLogin { from: clean(&source.origin.to_string()), key, outcome, words }
}

/// Secrets and keys that are not tried for this image, each with the reason.
fn not_tried(secrets: &PodSecrets, image: &ImageReference) -> Vec<String> {
    let mut notes = Vec::new();
    for name in &secrets.missing {
        notes.push(format!("secret {} does not exist", clean(name)));
    }
    let keyring = match &secrets.keyring {
        Ok(keyring) => keyring,
        Err(error) => {
            let (name, why) = (clean(error.secret()), clean(&error.to_string()));
            notes.push(format!("secret {name}: {why}: the kubelet then pulls nothing at all"));
            return notes;
        }
    };
    for ignored in keyring.ignored() {
        let (name, why) = (clean(&ignored.name), clean(&ignored.problem.to_string()));
        notes.push(format!("secret {name} is passed over: {why}"));
    }
    for source in keyring.dropped().take(MAX_KEYS) {
        let (from, key) = (clean(&source.origin.to_string()), clean(&source.written));
        notes.push(format!("{from}, key {key}: it is no address, so the kubelet drops it"));
    }
    let mismatches = keyring.mismatches(image);
    for (source, why) in mismatches.iter().take(MAX_KEYS) {
        let (from, key) = (clean(&source.origin.to_string()), clean(&source.written));
        let why = match why {
            Mismatch::Host => "it is for another host",
            Mismatch::Port => "it is for another port",
            Mismatch::Path => "it is for another path of this registry",
        };
        notes.push(format!("{from}, key {key}: {why} than {}", image.host()));
    }
    if mismatches.len() > MAX_KEYS {
        notes.push(format!("{} more keys do not match", mismatches.len() - MAX_KEYS));
    }
    notes
}
