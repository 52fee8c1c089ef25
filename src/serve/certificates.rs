//! What Pullgate keeps of its own in the cluster, brought to those who serve with it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::Connection;
use crate::pki::{CertificateController, Lifetimes, Names, Pace, ServingMaterial, placeholder};
use crate::serve::OwnSettings;
use crate::server::{Callers, CertificateTaker, TlsFiles};
use crate::telemetry::{Metrics, clock};

/// What is kept, and where news of it comes.
pub(super) struct ManagedCertificates {
    keeper: CertificateController,
    material: watch::Receiver<Option<ServingMaterial>>,
    /// The Secret, for messages.
    place: String,
    /// Whether no path proves anything.
    aggregated: bool,
}

impl ManagedCertificates {
    /// Nothing is asked yet. `certificate`: whether it is made here too; `aggregated`: whether the
    /// token is of no use.
    pub(super) fn new(
        connection: &Connection,
        own: OwnSettings,
        (certificate, aggregated): (bool, bool),
        metrics: &Arc<Metrics>,
    ) -> Self {
        let OwnSettings { secret, namespace, service, replica, configurations } = own;
        let place = format!("Secret {namespace}/{secret}");
        let names = Names { namespace, secret, service, configurations, replica, aggregated };
        let keeper = CertificateController::new(
            connection.client(),
            names,
            certificate,
            Lifetimes::default(),
            Pace::default(),
            Arc::clone(metrics),
        );
        Self { material: keeper.material(), keeper, place, aggregated }
    }

    /// News of it, to see whether there is anything yet.
    pub(super) fn material(&self) -> watch::Receiver<Option<ServingMaterial>> {
        self.material.clone()
    }

    /// Whether this replica leads.
    pub(super) fn leads(&self) -> watch::Receiver<bool> {
        self.keeper.leads()
    }

    /// Where it is kept: the task, which ends when it has stepped down after `stop`, and the task that brings news to those who serve.
    pub(super) fn tasks(
        self,
        callers: Callers,
        certificate: Option<(CertificateTaker, Option<Vec<u8>>)>,
        stop: CancellationToken,
    ) -> (impl Future<Output = ()> + Send + 'static, impl Future<Output = ()> + Send + 'static)
    {
        let callers = (!self.aggregated).then_some(callers);
        (self.keeper.run(stop), follow(self.material, callers, certificate, self.place))
    }
}

/// What to listen with until there is a real certificate, and where its successors come from.
/// Third in the contents: who may sign client certificates, if anybody.
pub(super) fn first_certificate(
    own: &OwnSettings,
    client_authorities: Option<&Path>,
    now: Timestamp,
) -> anyhow::Result<(TlsFiles, Vec<Vec<u8>>)> {
    let (certificate, key) = placeholder(now)?;
    let mut contents = vec![certificate.into_bytes(), key.into_bytes()];
    if let Some(path) = client_authorities {
        contents.push(std::fs::read(path).with_context(|| {
            format!("failed to read the client authorities {}", path.display())
        })?);
    }
    let place = format!("Secret {}/{}", own.namespace, own.secret);
    let files = TlsFiles {
        certificate: format!("{place}: tls.crt").into(),
        key: format!("{place}: tls.key").into(),
        client_authorities: client_authorities.map(Path::to_owned),
    };
    Ok((files, contents))
}

/// Takes whatever is new into use. The token before the current one stays good: an API server may
/// be a moment behind.
async fn follow(
    mut material: watch::Receiver<Option<ServingMaterial>>,
    callers: Option<Callers>,
    mut certificate: Option<(CertificateTaker, Option<Vec<u8>>)>,
    place: String,
) {
    let mut tokens: Vec<String> = Vec::new();
    loop {
        let news = material.borrow_and_update().clone();
        if let Some(ServingMaterial { certificate: pair, token }) = news {
            if tokens.first() != Some(&token) {
                tokens.insert(0, token);
                tokens.truncate(2);
                let replaced = callers
                    .as_ref()
                    .map_or(Ok(()), |all| all.replace(Path::new(&place), &tokens.join("\n")));
                if let Err(error) = replaced {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the path token cannot be used, the old one stays"
                    );
                }
            }
            if let (Some((taker, authorities)), Some((chain, key))) = (&mut certificate, pair) {
                let mut contents = vec![chain.into_bytes(), key.into_bytes()];
                contents.extend(authorities.clone());
                let (now, _) = clock();
                taker.take(&contents, now);
            }
        }
        if material.changed().await.is_err() {
            // The keeper has ended, and with it the process.
            std::future::pending::<()>().await;
        }
    }
}
