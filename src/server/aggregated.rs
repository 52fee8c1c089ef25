//! What the API server's aggregation layer asks of a group that it passes on: which versions and
//! resources there are. There are none to list or watch; reviews go to two names below.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer;

/// The group of the paths that reviews are passed on to.
pub(super) const GROUP: &str = "admission.pullgate.dev";
const VERSION: &str = "admission.pullgate.dev/v1";

/// The pages of discovery. The API server asks for them every few seconds, and takes a group whose
/// pages do not come for one that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Groups,
    Group,
    Resources,
    OpenApi2,
    OpenApi3,
}

impl Page {
    pub(super) const ALL: [Self; 5] =
        [Self::Groups, Self::Group, Self::Resources, Self::OpenApi2, Self::OpenApi3];

    pub(super) fn path(self) -> String {
        match self {
            Self::Groups => "/apis".to_owned(),
            Self::Group => format!("/apis/{GROUP}"),
            Self::Resources => format!("/apis/{VERSION}"),
            Self::OpenApi2 => "/openapi/v2".to_owned(),
            Self::OpenApi3 => "/openapi/v3".to_owned(),
        }
    }

    fn content(self) -> Value {
        let version = json!({"groupVersion": VERSION, "version": "v1"});
        let group = json!({"name": GROUP, "versions": [version], "preferredVersion": version});
        match self {
            Self::Groups => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}),
            Self::Group => {
                json!({"kind": "APIGroup", "apiVersion": "v1", "name": GROUP,
                    "versions": [version], "preferredVersion": version})
            }
            Self::Resources => json!({"kind": "APIResourceList", "apiVersion": "v1",
                "groupVersion": VERSION, "resources": []}),
            Self::OpenApi2 => json!({"swagger": "2.0", "paths": {}, "definitions": {},
                "info": {"title": "Pullgate", "version": "v1"}}),
            Self::OpenApi3 => json!({"paths": {}}),
        }
    }

    /// The page. Who wants all groups in the newer form, with their resources, gets it so.
    pub(super) fn response(self, headers: &HeaderMap) -> Response {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let newer = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        if self == Self::Groups && accepted.is_some_and(|accepted| accepted.contains(newer)) {
            let list = json!({
                "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": [{"metadata": {"name": GROUP}, "versions":
                    [{"version": "v1", "freshness": "Current", "resources": []}]}],
            });
            return ([(header::CONTENT_TYPE, newer)], list.to_string()).into_response();
        }
        answer::json(StatusCode::OK, self.content().to_string().into_bytes())
    }
}
