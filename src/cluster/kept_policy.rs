//! The policy that was last accepted, kept in a `ConfigMap` beside Pullgate's own Secret: what a
//! replica begins with while the policy that it is to work by is gone or cannot be used.

use std::collections::BTreeMap;

use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::json;

use super::CALL_TIME;
use super::client::Connection;
use super::error::{ApiError, ClusterError};

/// The key of the document in the `ConfigMap`.
const KEY: &str = "policy.yaml";

/// Where the policy that was last accepted is kept.
#[derive(Debug, Clone)]
pub struct KeptPolicy {
    connection: Connection,
    namespace: Box<str>,
    name: Box<str>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

impl KeptPolicy {
    /// That of the installation whose own Secret has this name. Nothing is asked yet.
    pub fn beside(connection: &Connection, namespace: &str, secret: &str) -> Self {
        Self {
            connection: connection.clone(),
            namespace: namespace.into(),
            name: format!("{secret}-policy-in-force").into(),
        }
    }

    /// The object, for messages.
    pub fn place(&self) -> String {
        format!("ConfigMap {}/{}", self.namespace, self.name)
    }

    /// The document, if one is kept.
    pub async fn read(&self) -> Result<Option<String>, ClusterError> {
        let request = self.at().get(&self.name, &kube::api::GetParams::default());
        match self.call(request).await {
            Ok(Some(object)) => {
                let read: Wire = serde_json::from_str(&object)
                    .map_err(|error| fault(kube::Error::SerdeError(error)))?;
                let mut data = read.data;
                Ok(data.remove(KEY).filter(|text| !text.trim().is_empty()))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a document in the place of the one before; whether it is another one.
    pub async fn write(&self, document: &str) -> Result<bool, ClusterError> {
        if self.read().await?.as_deref() == Some(document) {
            return Ok(false);
        }
        let data = json!({ KEY: document });
        let patch = Patch::Merge(json!({ "data": data }));
        let patched = self.at().patch(&self.name, &PatchParams::default(), &patch);
        if self.call(patched).await?.is_none() {
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, "data": data,
            });
            let created = self.at().create(&PostParams::default(), object.to_string().into_bytes());
            self.call(created).await?;
        }
        Ok(true)
    }

    fn at(&self) -> Request {
        Request::new(format!("/api/v1/namespaces/{}/configmaps", self.namespace))
    }

    /// The object; nothing, if there is none.
    async fn call(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Option<String>, ClusterError> {
        let request = request.map_err(|error| fault(kube::Error::BuildRequest(error)))?;
        let asked = self.connection.client().request_text(request);
        match tokio::time::timeout(CALL_TIME, asked).await {
            Ok(Ok(object)) => Ok(Some(object)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Ok(Err(error)) => Err(fault(error)),
            Err(_late) => Err(ClusterError::Late),
        }
    }
}

fn fault(error: kube::Error) -> ClusterError {
    ClusterError::KeptPolicy(ApiError::of(error))
}
