//! The task that keeps it all: looks at the Secret, leads if it may, tells what to serve with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Names;
use super::configurations::Configurations;
use super::lease::Leadership;
use super::make::{self, Lifetimes, MakeError, Wanted};
use super::material::{PkiSecret, ServingMaterial};
use crate::telemetry::{self, Metrics};

/// Why a look came to nothing; the next one is due soon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallationError {
    /// The Secret could not be read or written.
    #[error("failed to keep the Secret of this installation")]
    Secret(#[source] ApiFault),
    /// The Lease could not be read or written.
    #[error("failed to keep the Lease of this installation")]
    Lease(#[source] ApiFault),
    /// A webhook configuration could not be read or written.
    #[error("failed to write the webhook configurations")]
    Configuration(#[source] ApiFault),
    /// Something could not be made.
    #[error("failed to renew the certificates")]
    Make(#[from] MakeError),
    /// The API server did not answer.
    #[error("the API server did not answer in time")]
    Late,
}

/// Why a call to the API server failed. Its own words are left out where it refused what was
/// written: they repeat it, and it is secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiFault {
    /// It answered, and refused.
    #[error("the API server answered {code} {reason}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The reason, as one of the words that Kubernetes has for it.
        reason: String,
    },
    /// It could not be asked, or its answer was not understood.
    #[error("the API server could not be asked")]
    NotAsked(#[source] Box<kube::Error>),
}

impl From<kube::Error> for ApiFault {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                Self::Refused { code: status.code, reason: status.reason.clone() }
            }
            other => Self::NotAsked(Box::new(other)),
        }
    }
}

/// How often is looked, and how long a leader leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks.
    pub every: Duration,
    /// Between two looks of a replica that does not lead: so soon it follows one that steps down.
    pub follow: Duration,
    /// Between two looks while nothing can be served with yet, or the last one failed.
    pub retry: Duration,
    /// How long a Lease is good for without being renewed.
    pub lease: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            follow: Duration::from_secs(3),
            retry: Duration::from_secs(1),
            lease: Duration::from_secs(30),
        }
    }
}

/// A look that takes longer than this has failed.
const LATE: Duration = Duration::from_secs(20);
/// Stepping down may take as long.
const STEP_DOWN: Duration = Duration::from_secs(3);

/// Keeps the Secret and the webhook configurations of this installation.
pub struct CertificateController {
    names: Names,
    /// The names of the certificate; none where others make it.
    hosts: Vec<String>,
    lifetimes: Lifetimes,
    pace: Pace,
    secrets: Api<Secret>,
    leadership: Leadership,
    configurations: Configurations,
    /// Since when the webhook configurations have this bundle.
    published: Option<(String, Instant)>,
    /// Whether this replica leads, and when it last made sure of it.
    leads: watch::Sender<bool>,
    assured: Option<Instant>,
    told: watch::Sender<Option<ServingMaterial>>,
    metrics: Arc<Metrics>,
}

impl CertificateController {
    /// A keeper that has not looked yet. Where `certificate` is false, others make the certificate
    /// and write the CA bundle, and only the token is kept here.
    pub fn new(
        client: &kube::Client,
        names: Names,
        certificate: bool,
        lifetimes: Lifetimes,
        pace: Pace,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.leads(false);
        Self {
            hosts: if certificate { names.hosts() } else { Vec::new() },
            secrets: Api::namespaced(client.clone(), &names.namespace),
            leadership: Leadership::new(client.clone(), &names, pace.lease),
            configurations: Configurations::new(client, &names),
            names,
            lifetimes,
            pace,
            published: None,
            leads: watch::Sender::new(false),
            assured: None,
            told: watch::Sender::new(None),
            metrics,
        }
    }

    /// What to serve with: nothing at first, then whatever is current.
    pub fn material(&self) -> watch::Receiver<Option<ServingMaterial>> {
        self.told.subscribe()
    }

    /// Whether this replica leads: what only one may do, it does.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Looks again and again until `stop`, then steps down, so that another can lead at once.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(pause) = stop.run_until_cancelled(self.turn()).await {
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        if *self.leads.borrow() {
            self.lead(false);
            let stepped_down = tokio::time::timeout(STEP_DOWN, self.leadership.release()).await;
            tracing::info!(released = matches!(stepped_down, Ok(Ok(()))), "stepped down");
        }
    }

    /// One look, and how long to wait for the next.
    async fn turn(&mut self) -> Duration {
        let look = tokio::time::timeout(LATE, self.reconcile()).await;
        let failed = match look.unwrap_or(Err(InstallationError::Late)) {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "failed to maintain certificates, retrying"
                );
                self.metrics.installation_failed();
                // Whoever cannot renew the Lease must assume that another has it.
                if self.assured.is_none_or(|since| since.elapsed() * 3 > self.pace.lease * 2) {
                    self.lead(false);
                }
                true
            }
        };
        if failed || self.told.borrow().is_none() {
            self.pace.retry
        } else if *self.leads.borrow() {
            self.pace.every
        } else {
            self.pace.follow
        }
    }

    fn lead(&mut self, leads: bool) {
        let changed = self.leads.send_if_modified(|led| std::mem::replace(led, leads) != leads);
        if changed {
            tracing::info!(leads, "leadership changed");
            self.metrics.leads(leads);
        }
    }

    /// One look.
    async fn reconcile(&mut self) -> Result<(), InstallationError> {
        let now = telemetry::now();
        let secret = self.secrets.get_opt(&self.names.secret).await.map_err(in_secret)?;
        let data = secret.as_ref().and_then(|secret| secret.data.as_ref());
        let mut kept = data.map(PkiSecret::read).unwrap_or_default();
        self.send_material(&kept);
        let leads = self
            .leadership
            .holds(now)
            .await
            .map_err(|error| InstallationError::Lease(error.into()))?;
        self.assured = Some(telemetry::instant());
        self.lead(leads);
        if !leads {
            self.published = None;
            return Ok(());
        }
        let wanted = Wanted {
            hosts: &self.hosts,
            lifetimes: self.lifetimes,
            published: self.published_for(&kept),
            now,
        };
        if let Some(new) = make::renew(&kept, &wanted)? {
            if !self.write(secret, &new).await? {
                return Ok(());
            }
            tracing::info!("made or renewed the certificates");
            self.metrics.renewed();
            kept = new;
        }
        // The bundle first, then what it lets trust.
        let written = self
            .configurations
            .write(&kept, !self.hosts.is_empty())
            .await
            .map_err(|error| InstallationError::Configuration(error.into()))?;
        self.publish(&kept, written);
        self.send_material(&kept);
        Ok(())
    }

    /// Writes the Secret; `false` if another was faster.
    async fn write(&self, old: Option<Secret>, new: &PkiSecret) -> Result<bool, InstallationError> {
        let creates = old.is_none();
        let mut secret = old.unwrap_or_else(|| Secret {
            metadata: ObjectMeta { name: Some(self.names.secret.clone()), ..ObjectMeta::default() },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        });
        secret.data = Some(new.write());
        let parameters = PostParams::default();
        let written = if creates {
            self.secrets.create(&parameters, &secret).await
        } else {
            self.secrets.replace(&self.names.secret, &parameters, &secret).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(in_secret(error)),
        }
    }

    /// For how long the configurations have had this bundle, as far as this leader knows.
    fn published_for(&self, kept: &PkiSecret) -> Duration {
        match &self.published {
            Some((bundle, since)) if *bundle == kept.bundle() => since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    fn publish(&mut self, kept: &PkiSecret, written: bool) {
        let bundle = kept.bundle();
        if !written && self.published.as_ref().is_some_and(|(has, _)| *has == bundle) {
            return;
        }
        self.published = Some((bundle, telemetry::instant()));
    }

    /// Gives those who serve what is new.
    fn send_material(&self, kept: &PkiSecret) {
        let Some(material) = kept.material(!self.hosts.is_empty()) else { return };
        self.told.send_if_modified(|told| {
            let news = told.as_ref() != Some(&material);
            if news {
                *told = Some(material);
            }
            news
        });
    }
}

fn in_secret(error: kube::Error) -> InstallationError {
    InstallationError::Secret(error.into())
}
