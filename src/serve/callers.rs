//! Who is answered, as the configuration says it.

use std::sync::Arc;
use std::time::Duration;

use super::CallerProof;
use super::changed::{open, told};
use crate::server::{Callers, FrontProxy, WatchedFiles};
use crate::telemetry::Metrics;

/// Who may ask, the file of the path token if that is a proof, and the aggregation layer.
pub(super) fn of(
    proof: CallerProof,
) -> anyhow::Result<(Option<WatchedFiles>, Callers, Option<FrontProxy>)> {
    let CallerProof { token_file, client_authorities, aggregated, trusts_path } = proof;
    let certificates = client_authorities.is_some();
    let token_file = token_file.map(|path| open("path token", path)).transpose()?;
    let callers = match &token_file {
        Some(file) => Callers::parse(file.path(), &file.text(), certificates)?,
        None => Callers::new(Vec::new(), certificates),
    };
    let callers = if trusts_path { callers.trusting_path() } else { callers };
    let front_proxy = aggregated.then(FrontProxy::default);
    let callers = match &front_proxy {
        Some(front_proxy) => callers.and_front_proxy(front_proxy.clone()),
        None => callers,
    };
    Ok((token_file, callers, front_proxy))
}

/// Takes new path tokens into use.
pub(super) async fn follow(
    mut file: WatchedFiles,
    every: Duration,
    callers: Callers,
    metrics: Arc<Metrics>,
) {
    loop {
        file.changed(every).await;
        told("path_token", &metrics, callers.replace(file.path(), &file.text()).err());
    }
}
