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
    loop {
        match tokio::time::timeout(LATE, RequestHeaders::read(&client)).await {
            Ok(Ok(read)) => take(&front_proxy, read),
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what the aggregation layer proves itself with could not be read"
            ),
            Err(_late) => tracing::warn!(
                "what the aggregation layer proves itself with could not be read in time"
            ),
        }
        tokio::time::sleep(if front_proxy.is_known() { EVERY } else { RETRY }).await;
    }
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
