//! Small OCI images, made here: a layer with one program, a configuration that names a platform, a manifest,
//! and where wanted an index over several of them. A real node can run those for amd64.

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
        let layer = Blob::new(layer());
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

/// An archive with `/app`, a program that waits for ever.
fn layer() -> Vec<u8> {
    let program = waiting_program();
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "app", program.as_slice()).expect("an archive in memory");
    archive.into_inner().expect("an archive in memory")
}

/// An ELF program for Linux on amd64 that waits for a signal, again and again.
fn waiting_program() -> Vec<u8> {
    // mov eax, 34 (pause); syscall; jmp back to the start
    const CODE: [u8; 9] = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
    const ADDRESS: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + CODE.len() as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
    // Executable, x86-64, version 1, entry, program headers, no sections, flags.
    put(&2u16.to_le_bytes());
    put(&62u16.to_le_bytes());
    put(&1u32.to_le_bytes());
    put(&(ADDRESS + HEADERS).to_le_bytes());
    put(&64u64.to_le_bytes());
    put(&0u64.to_le_bytes());
    put(&0u32.to_le_bytes());
    // Sizes and numbers of headers.
    for number in [64u16, 56, 1, 64, 0, 0] {
        put(&number.to_le_bytes());
    }
    // One segment to load: readable and executable, the whole file.
    put(&1u32.to_le_bytes());
    put(&5u32.to_le_bytes());
    for number in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        put(&number.to_le_bytes());
    }
    put(&CODE);
    elf
}

fn to_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
