//! Who is answered, as the configuration says it, and what proves them as it changes.

use std::sync::Arc;
use std::time::Duration;

use super::CallerProof;
use super::reload::{log_reload, open};
use crate::pki::RequestHeaders;
use crate::server::{Callers, FrontProxy, FrontProxyTrust, WatchedFiles};
use crate::telemetry::Metrics;

/// Who may ask, the file of the path token if that is a proof, and the aggregation layer.
pub(super) fn callers(
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
pub(super) async fn follow_path_token(
    mut file: WatchedFiles,
    every: Duration,
    callers: Callers,
    metrics: Arc<Metrics>,
) {
    loop {
        file.changed(every).await;
        log_reload("path_token", &metrics, callers.replace(file.path(), &file.text()).err());
    }
}

/// Between two looks: authorities are rotated with days of overlap.
const EVERY: Duration = Duration::from_secs(60);
/// Between two looks while nothing is known.
const RETRY: Duration = Duration::from_secs(2);
/// A look that takes longer has failed.
const LATE: Duration = Duration::from_secs(10);

/// Keeps what is trusted of the API server's aggregation layer as the API server has it. Never ends.
pub(super) async fn follow_front_proxy(client: kube::Client, front_proxy: FrontProxy) {
    // The same trouble is told once, however often it is met.
    let mut told = None;
    loop {
        let trouble = match tokio::time::timeout(LATE, RequestHeaders::read(&client)).await {
            Ok(Ok(read)) => {
                take(&front_proxy, read);
                None
            }
            Ok(Err(error)) => Some(chain(&error)),
            Err(_late) => Some(format!("no answer within {} s", LATE.as_secs())),
        };
        if let Some(reason) = trouble.as_deref().filter(|_| trouble != told) {
            tracing::warn!(
                reason,
                refused = !front_proxy.is_known(),
                "failed to read how the API server's aggregation layer proves itself: while that is \
                 not known, its reviews are refused"
            );
        }
        told = trouble;
        tokio::time::sleep(if front_proxy.is_known() { EVERY } else { RETRY }).await;
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn take(front_proxy: &FrontProxy, read: RequestHeaders) {
    let RequestHeaders { authorities, names, user_headers, group_headers } = read;
    match front_proxy.take(FrontProxyTrust { authorities, names, user_headers, group_headers }) {
        Ok(false) => {}
        Ok(true) => tracing::info!("took the aggregation layer's authorities into use"),
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "the aggregation layer's authorities cannot be used, the old ones stay"
        ),
    }
}
