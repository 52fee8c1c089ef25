//! Looks now and then when the pull secrets in use expire, where their logins say so, and when the
//! client certificates do that registries are shown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::credential::Keyring;
use crate::registry::{CertificateEnd, RegistryClient};
use crate::review::{ClusterSource as _, SecretAnswer};
use crate::telemetry::{Metrics, SecretEnd};

/// Between two looks for secrets that were not in use before.
const NEW_SECRETS: Duration = Duration::from_secs(15);
/// Between two looks at all of them.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// Secrets that are read in one look, one after the other.
const MOST: usize = 1000;
/// Between two of them: the API server has other things to do.
const PACE: Duration = Duration::from_millis(20);
/// How long reading one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks, and notes what it found. Never ends.
pub(super) async fn watch(
    cluster: Arc<Cluster>,
    registry: Arc<RegistryClient>,
    metrics: Arc<Metrics>,
) {
    let (mut known, mut looked, mut shown) = (BTreeSet::new(), None, Vec::new());
    loop {
        tokio::time::sleep(NEW_SECRETS).await;
        let now = in_use(&cluster);
        let certificates = registry.client_certificates();
        let due = looked.is_none_or(|at: tokio::time::Instant| at.elapsed() >= LOOK_EVERY);
        if due || !now.is_subset(&known) || certificates != shown {
            looked = Some(tokio::time::Instant::now());
            let mut ends = look(&cluster, &now).await;
            ends.extend(certificates.iter().map(of_certificate));
            metrics.secrets_expire(ends);
            (known, shown) = (now, certificates);
        }
    }
}

/// Namespace and name of the pull secrets that pods name.
fn in_use(cluster: &Cluster) -> BTreeSet<(Box<str>, Box<str>)> {
    let mut secrets = BTreeSet::new();
    for used in cluster.in_use() {
        for name in used.pull_secrets {
            secrets.insert((used.namespace.clone(), name));
        }
    }
    secrets
}

/// The end of every login with one.
async fn look(cluster: &Cluster, secrets: &BTreeSet<(Box<str>, Box<str>)>) -> Vec<SecretEnd> {
    let mut ends = Vec::new();
    for (namespace, name) in secrets.iter().take(MOST) {
        tokio::time::sleep(PACE).await;
        let answer = cluster.pull_secret(namespace, name, deadline()).await;
        let SecretAnswer::Found(secret) = answer else { continue };
        let Ok(keyring) = Keyring::from_secrets(&[secret]) else { continue };
        for (source, end) in keyring.expiries() {
            let registry = source.key.split('/').next().unwrap_or_default();
            ends.push(SecretEnd {
                at: end.at.as_second(),
                namespace: namespace.clone(),
                registry: registry.into(),
                short_lived: end.short_lived,
            });
        }
    }
    ends
}

/// Client certificates are the nodes', and of no namespace.
fn of_certificate(shown: &CertificateEnd) -> SecretEnd {
    SecretEnd {
        at: shown.end.at.as_second(),
        namespace: Box::default(),
        registry: shown.host.clone(),
        short_lived: shown.end.short_lived,
    }
}

#[expect(clippy::disallowed_methods, reason = "the wiring reads the clock")]
fn deadline() -> Instant {
    Instant::now() + PATIENCE
}
