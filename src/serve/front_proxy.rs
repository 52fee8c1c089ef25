//! Keeps what is trusted of the API server's aggregation layer as the API server has it.

use std::time::Duration;

use crate::pki::RequestHeaders;
use crate::server::{FrontProxy, FrontProxyTrust};

/// Between two looks: authorities are rotated with days of overlap.
const EVERY: Duration = Duration::from_secs(60);
/// Between two looks while nothing is known.
const RETRY: Duration = Duration::from_secs(2);
/// A look that takes longer has failed.
const LATE: Duration = Duration::from_secs(10);

/// Looks again and again. Never ends.
pub(super) async fn follow(client: kube::Client, front_proxy: FrontProxy) {
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
