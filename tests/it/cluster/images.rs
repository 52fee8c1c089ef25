//! Small OCI images, made here: an empty layer, a configuration that names a platform, a manifest,
//! and where wanted an index over several of them. Nobody runs them; what matters is what a
//! registry says of them.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Bytes with their digest.
#[derive(Clone, Debug)]
pub struct Blob {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// What is stored.
    pub bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        let mut digest = "sha256:".to_owned();
        for byte in Sha256::digest(&bytes) {
            let _ = write!(digest, "{byte:02x}");
        }
        Self { digest, bytes }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// An image that can be pushed ([`super::registry::Registry::push`]).
#[derive(Clone, Debug)]
pub struct Image {
    /// Configurations and layers.
    pub blobs: Vec<Blob>,
    /// Manifests with their media types; the last one is what a tag names.
    pub manifests: Vec<(&'static str, Blob)>,
}

impl Image {
    /// A lone manifest for Linux on `arch` (`amd64`, `arm64`). Images with different `content`
    /// have different digests.
    pub fn single(arch: &str, content: &str) -> Self {
        // The end of an empty tar archive.
        let layer = Blob::new(vec![0; 1024]);
        let config = Blob::new(to_bytes(&json!({
            "architecture": arch, "os": "linux",
            "config": {"Cmd": ["/app"], "Labels": {"content": content}},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        })));
        let manifest = Blob::new(to_bytes(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG), "layers": [layer.descriptor(LAYER)],
        })));
        Self { blobs: vec![layer, config], manifests: vec![(MANIFEST, manifest)] }
    }

    /// An index with one manifest for each of `archs`.
    pub fn index(archs: &[&str], content: &str) -> Self {
        let mut all = Self { blobs: Vec::new(), manifests: Vec::new() };
        let mut entries = Vec::new();
        for arch in archs {
            let image = Self::single(arch, content);
            let mut entry = image.manifests[0].1.descriptor(MANIFEST);
            entry["platform"] = json!({"os": "linux", "architecture": arch});
            if *arch == "arm64" {
                entry["platform"]["variant"] = json!("v8");
            }
            entries.push(entry);
            all.blobs.extend(image.blobs);
            all.manifests.extend(image.manifests);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        all.manifests.push((INDEX, Blob::new(to_bytes(&index))));
        all
    }

    /// The digest that its tags name.
    pub fn digest(&self) -> &str {
        &self.manifests[self.manifests.len() - 1].1.digest
    }
}

fn to_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
