//! `PullSecret`: a Secret as far as the kubelet looks at it when it pulls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::docker_config::{ConfigError, DockerConfig};

/// The API server's limit for the data of a Secret.
const MAX_DATA: usize = 1 << 20;

const CONFIG_JSON_TYPE: &str = "kubernetes.io/dockerconfigjson";
const CONFIG_JSON_KEY: &str = ".dockerconfigjson";
const LEGACY_TYPE: &str = "kubernetes.io/dockercfg";
const LEGACY_KEY: &str = ".dockercfg";

/// A Secret that a pod or its service account lists under `imagePullSecrets`. Holds of its data
/// only what its type makes the kubelet read. Cheap to clone; `Debug` shows no data.
#[derive(Clone, PartialEq, Eq)]
pub struct PullSecret {
    name: Arc<str>,
    kind: Arc<str>,
    data: Option<Arc<[u8]>>,
    created: Option<Timestamp>,
}

impl PullSecret {
    /// The same, with when it was made or last written.
    #[must_use]
    pub(crate) fn created_at(self, created: Option<Timestamp>) -> Self {
        Self { created, ..self }
    }

    /// When it was made or last written, where that is known.
    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// A secret of this name, type and data.
    pub fn new(name: &str, kind: &str, data: &BTreeMap<String, ByteString>) -> Self {
        let value = key_of(kind).and_then(|key| data.get(key));
        Self {
            name: name.into(),
            kind: kind.into(),
            data: value.map(|value| value.0.as_slice().into()),
            created: None,
        }
    }

    /// A secret of type `kubernetes.io/dockerconfigjson` with this content.
    pub fn docker_config_json(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.into(),
            kind: CONFIG_JSON_TYPE.into(),
            data: Some(content.into()),
            created: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type, such as `kubernetes.io/dockerconfigjson`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// What the kubelet reads of it: entries, nothing for a reason, or a fault that is the end of
    /// every pull of the pod.
    pub fn read(&self) -> Result<DockerConfig, SecretProblem> {
        let Some(key) = key_of(&self.kind) else {
            return Err(SecretProblem::WrongType { kind: self.kind.clone() });
        };
        let data = match self.data.as_deref() {
            None | Some([]) => return Err(SecretProblem::MissingKey { key }),
            Some(data) if data.len() > MAX_DATA => return Err(SecretProblem::TooLarge),
            Some(data) => data,
        };
        let config = match key {
            LEGACY_KEY => DockerConfig::parse_legacy(data),
            _ => DockerConfig::parse(data),
        };
        config.map_err(SecretProblem::Broken)
    }
}

impl From<&Secret> for PullSecret {
    fn from(secret: &Secret) -> Self {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let kind = secret.type_.as_deref().unwrap_or_default();
        match &secret.data {
            Some(data) => Self::new(name, kind, data),
            None => Self::new(name, kind, &BTreeMap::new()),
        }
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullSecret")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("bytes", &self.data.as_ref().map(|data| data.len()))
            .field("created", &self.created)
            .finish()
    }
}

/// The data key that the kubelet reads for a type; the two must fit.
fn key_of(kind: &str) -> Option<&'static str> {
    match kind {
        CONFIG_JSON_TYPE => Some(CONFIG_JSON_KEY),
        LEGACY_TYPE => Some(LEGACY_KEY),
        _ => None,
    }
}

/// Why a secret contributes no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretProblem {
    /// The kubelet ignores secrets of other types silently.
    #[error("type {kind:?} is not one of pull secrets")]
    WrongType {
        /// The type it has.
        kind: Arc<str>,
    },
    /// The kubelet ignores a secret without the data key of its type, or with an empty one.
    #[error("has no data under {key}")]
    MissingKey {
        /// The key that its type asks for.
        key: &'static str,
    },
    /// The kubelet gives up every pull of the pod, with this text.
    #[error(transparent)]
    Broken(#[from] ConfigError),
    /// Larger than the API server allows: it was not read, so nothing can be said.
    #[error("is larger than 1 MiB and was not read")]
    TooLarge,
}
