//! What the API server says of its aggregation layer, in the `ConfigMap` that it writes for all who
//! are called by it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::controller::ApiFault;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// Why it is not known by whom the aggregation layer proves itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrontProxyError {
    /// The `ConfigMap` could not be read.
    #[error("failed to read ConfigMap {NAMESPACE}/{NAME}")]
    Read(#[source] ApiFault),
    /// The API server has no aggregation layer.
    #[error(
        "ConfigMap {NAMESPACE}/{NAME} has no requestheader-client-ca-file: the API server runs \
         without --requestheader-client-ca-file"
    )]
    NoAuthority,
    /// A list of it is none.
    #[error("{key} in ConfigMap {NAMESPACE}/{NAME} is no list of strings")]
    List {
        /// Which.
        key: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// How the aggregation layer proves itself, and in which headers it says who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestHeaders {
    /// The authorities of its certificate, PEM.
    pub authorities: String,
    /// The common names that its certificate may have; any if there are none.
    pub names: Vec<String>,
    /// The headers with the user's name.
    pub user_headers: Vec<String>,
    /// The headers with the user's groups.
    pub group_headers: Vec<String>,
}

impl RequestHeaders {
    /// Reads it.
    pub(crate) async fn read(client: &kube::Client) -> Result<Self, FrontProxyError> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let map = api.get(NAME).await.map_err(|error| FrontProxyError::Read(error.into()))?;
        Self::of(&map)
    }

    fn of(map: &ConfigMap) -> Result<Self, FrontProxyError> {
        let text = |key: &str| map.data.as_ref().and_then(|data| data.get(key));
        let list = |key: &'static str| match text(key) {
            None => Ok(Vec::new()),
            Some(list) => {
                serde_json::from_str(list).map_err(|source| FrontProxyError::List { key, source })
            }
        };
        let authorities = text("requestheader-client-ca-file").cloned();
        Ok(Self {
            authorities: authorities.ok_or(FrontProxyError::NoAuthority)?,
            names: list("requestheader-allowed-names")?,
            user_headers: list("requestheader-username-headers")?,
            group_headers: list("requestheader-group-headers")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(data: &[(&str, &str)]) -> ConfigMap {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ConfigMap { data: Some(data.collect()), ..ConfigMap::default() }
    }

    #[test]
    fn lists_are_json_and_an_api_server_without_the_layer_is_told_apart() {
        let read = RequestHeaders::of(&map(&[
            ("requestheader-client-ca-file", "pem"),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ]))
        .unwrap();
        assert_eq!((read.names[0].as_str(), read.user_headers.len()), ("front-proxy-client", 1));
        assert!(read.group_headers.is_empty());
        let none = RequestHeaders::of(&map(&[("client-ca-file", "pem")]));
        assert!(matches!(none, Err(FrontProxyError::NoAuthority)));
        let wrong = [("requestheader-client-ca-file", "pem"), ("requestheader-allowed-names", "a")];
        assert!(matches!(RequestHeaders::of(&map(&wrong)), Err(FrontProxyError::List { .. })));
    }
}
