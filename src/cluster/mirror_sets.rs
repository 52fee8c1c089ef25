//! Whether OpenShift's objects give the nodes mirrors.

use std::time::Duration;

use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What makes mirrors of the nodes' runtime, newest first.
/// <https://docs.redhat.com/en/documentation/openshift_container_platform/4.18/html/images/image-configuration>
const KINDS: [(&str, &str); 3] = [
    ("ImageDigestMirrorSet", "/apis/config.openshift.io/v1/imagedigestmirrorsets"),
    ("ImageTagMirrorSet", "/apis/config.openshift.io/v1/imagetagmirrorsets"),
    ("ImageContentSourcePolicy", "/apis/operator.openshift.io/v1alpha1/imagecontentsourcepolicies"),
];
/// How long asking for one kind may take.
const CALL_TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<IgnoredAny>,
}

/// The kinds of which there are objects. Where the API server does not know a kind, or does not
/// let Pullgate list it, there is none as far as anybody can tell.
pub(super) async fn found(client: &kube::Client) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (kind, path) in KINDS {
        let Ok(request) = Request::new(path).list(&ListParams::default().limit(1)) else {
            continue;
        };
        let list = tokio::time::timeout(CALL_TIME, client.request::<List>(request)).await;
        if matches!(list, Ok(Ok(list)) if !list.items.is_empty()) {
            found.push(kind);
        }
    }
    found
}
