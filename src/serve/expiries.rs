//! Looks now and then when the pull secrets in use expire, where their logins say so, and when the
//! client certificates do that registries are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::credential::{Keyring, PullSecret};
use crate::registry::{CertificateEnd, RegistryClient};
use crate::review::{ClusterSource as _, ObjectQuery};
use crate::telemetry::{Metrics, SecretEnd, clock};

/// Between two looks for secrets that were not in use before.
const NEW_SECRETS: Duration = Duration::from_secs(15);
/// Between two looks at all of them.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// Secrets that are read in one look, one after the other.
const MOST: usize = 1000;
/// Those of one namespace among them: whoever names many leaves room for others.
const MOST_OF_NAMESPACE: usize = 20;
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
    let (mut known, mut looked, mut shown) = (Found::new(), None, Vec::new());
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(NEW_SECRETS).await;
        let used = in_use(&cluster);
        let certificates = registry.client_certificates();
        let due = looked.is_none_or(|at: tokio::time::Instant| at.elapsed() >= LOOK_EVERY);
        if due {
            looked = Some(tokio::time::Instant::now());
            known.clear();
        }
        let before = known.len();
        known.retain(|secret, _| used.contains(secret));
        let news = refresh(&cluster, &used, &mut known).await;
        log_expiring(&known, &mut told);
        if news || before != known.len() || certificates != shown {
            let of_secrets = known.values().flatten().cloned();
            metrics.secrets_expire(
                of_secrets.chain(certificates.iter().map(of_certificate)).collect(),
            );
            shown = certificates;
        }
    }
}

/// Namespace and name of a pull secret.
type SecretKey = (Box<str>, Box<str>);
/// The ends of the logins of each secret that was read.
type Found = BTreeMap<SecretKey, Vec<SecretEnd>>;

/// The pull secrets that pods name, of each namespace so many.
fn in_use(cluster: &Cluster) -> BTreeSet<SecretKey> {
    let mut of_namespaces: BTreeMap<Box<str>, BTreeSet<Box<str>>> = BTreeMap::new();
    for used in cluster.in_use() {
        let own = of_namespaces.entry(used.namespace.clone()).or_default();
        own.extend(used.pull_secrets);
    }
    let some = of_namespaces.into_iter().flat_map(|(namespace, names)| {
        names.into_iter().take(MOST_OF_NAMESPACE).map(move |name| (namespace.clone(), name))
    });
    some.take(MOST).collect()
}

/// Reads those of these that were not read yet; whether there were any.
async fn refresh(cluster: &Cluster, used: &BTreeSet<SecretKey>, known: &mut Found) -> bool {
    let mut news = false;
    for secret in used {
        if known.contains_key(secret) {
            continue;
        }
        news = true;
        let (namespace, name) = secret;
        tokio::time::sleep(PACE).await;
        let until = clock().1 + PATIENCE;
        let answer = cluster.pull_secret(ObjectQuery::kept(namespace, name), until).await;
        let ends = answer.found().map(|secret| ends_of(namespace, secret)).unwrap_or_default();
        known.insert(secret.clone(), ends);
    }
    news
}

/// Says once of each login that it ends soon. Metrics cannot say whose it is: anybody may read them.
fn log_expiring(known: &Found, told: &mut BTreeSet<SecretEnd>) {
    let now = clock().0.as_second();
    let soon: BTreeSet<SecretEnd> =
        known.values().flatten().filter(|end| is_soon(end, now)).cloned().collect();
    for SecretEnd { at, namespace, registry, .. } in soon.difference(told) {
        let ends = Timestamp::from_second(*at).unwrap_or_default().to_string();
        tracing::warn!(
            namespace = &**namespace,
            registry = &**registry,
            ends,
            "a pull secret in use ends soon"
        );
    }
    *told = soon;
}

/// As the alert has it.
const fn is_soon(end: &SecretEnd, now: i64) -> bool {
    let warning = if end.short_lived { 3600 } else { 3 * 86_400 };
    end.at - now < warning
}

/// The end of every login of a secret with one.
fn ends_of(namespace: &str, secret: PullSecret) -> Vec<SecretEnd> {
    let Ok(keyring) = Keyring::from_secrets(&[secret]) else { return Vec::new() };
    let expiries = keyring.expiries();
    let ends = expiries.into_iter().map(|(source, end)| SecretEnd {
        at: end.at.as_second(),
        namespace: namespace.into(),
        registry: source.key.split('/').next().unwrap_or_default().into(),
        short_lived: end.short_lived,
    });
    ends.collect()
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
