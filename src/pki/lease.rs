//! Who leads: one Lease. Clocks of others are never compared with ours; a holder is gone when its
//! Lease has not changed for as long as it said, measured here.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::Names;
use crate::telemetry::instant;

/// The Lease, as far as this replica has seen it.
pub(super) struct Leadership {
    leases: Api<Lease>,
    secrets: Api<Secret>,
    name: String,
    replica: String,
    length: Duration,
    /// The last version seen, and when it was first seen.
    seen: Option<(String, Instant)>,
}

impl Leadership {
    pub(super) fn new(client: kube::Client, names: &Names, length: Duration) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), &names.namespace),
            secrets: Api::namespaced(client, &names.namespace),
            name: names.secret.clone(),
            replica: names.replica.clone(),
            length,
            seen: None,
        }
    }

    /// Whether this replica leads now; takes the Lease, or renews it, where it may.
    pub(super) async fn holds(&mut self, now: Timestamp) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let mut lease = self.lease(None, now);
            lease.metadata = self.made().await?;
            return Self::won(self.leases.create(&PostParams::default(), &lease).await);
        };
        if !self.is_free(&lease) {
            return Ok(false);
        }
        let lease = self.lease(Some(&lease), now);
        Self::won(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// A Lease that nobody declared: GitOps tools leave Leases out, and say so of each that is declared.
    /// It goes with the Secret, which is declared and has its name.
    async fn made(&self) -> Result<ObjectMeta, kube::Error> {
        let secret = self.secrets.get_metadata_opt(&self.name).await?;
        let owner = secret.map(|secret| secret.metadata);
        Ok(ObjectMeta {
            name: Some(self.name.clone()),
            labels: Some([("app.kubernetes.io/name".to_owned(), "pullgate".to_owned())].into()),
            owner_references: owner.and_then(|owner| owner.uid).map(|uid| {
                vec![OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Secret".to_owned(),
                    name: self.name.clone(),
                    uid,
                    ..OwnerReference::default()
                }]
            }),
            ..ObjectMeta::default()
        })
    }

    /// Gives the Lease up, if it is ours: another may take it at once.
    pub(super) async fn release(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        match &mut lease.spec {
            Some(spec) if spec.holder_identity.as_deref() == Some(&self.replica) => {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
            }
            _ => return Ok(()),
        }
        // The version makes the API server refuse it if another was faster.
        Self::won(self.leases.replace(&self.name, &PostParams::default(), &lease).await).map(drop)
    }

    /// Whether the Lease is ours, nobody's, or of somebody who has not renewed it.
    fn is_free(&mut self, lease: &Lease) -> bool {
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if holder.is_empty() || holder == self.replica {
            return true;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let now = instant();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, now));
                now
            }
        };
        let length = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.length, Duration::from_secs);
        now.duration_since(since) > length
    }

    /// The Lease as we hold it; the version makes the API server refuse it if another was faster.
    fn lease(&self, old: Option<&Lease>, now: Timestamp) -> Lease {
        let spec = old.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let ours = spec.holder_identity.as_deref() == Some(&self.replica);
        let changes = spec.lease_transitions.unwrap_or(0);
        Lease {
            // Labels and all else are those of whoever declared it.
            metadata: old.map(|lease| lease.metadata.clone()).unwrap_or_default(),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.replica.clone()),
                lease_duration_seconds: i32::try_from(self.length.as_secs().max(1)).ok(),
                acquire_time: if ours { spec.acquire_time } else { Some(MicroTime(now)) },
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(if ours || old.is_none() { changes } else { changes + 1 }),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Whether a write won. Another that was faster (409) is no error.
    fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}
