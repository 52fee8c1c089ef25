//! The memory on disk: what survives a restart of Pullgate.
//!
//! One header line (`pullgate-health <version> <cluster> <digest>`) and JSON. Only what is
//! remembered of images, registries and the score, and the names of workloads whose pods are gone:
//! never pods, nodes or owners of now, which the first lists bring anew. A snapshot that is damaged, of another version or of another
//! cluster is refused whole.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::HealthIndex;
use super::interner::NONE;
use super::node_logins::KeptPull;
use super::record::{Seconds, seconds};
use super::retention::GoneLine;
use crate::history::accuracy::RegistryScore;
use crate::image::{Digest, ImageReference};
use crate::pull::Cause;

/// First word of the header.
const MAGIC: &str = "pullgate-health";
/// Changes whenever the content does.
const VERSION: &str = "1";

/// Why a snapshot is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is larger than any that is written.
    #[error("the snapshot is too large")]
    TooLarge,
    /// The header is not one of a snapshot.
    #[error("not a snapshot of the health index")]
    Foreign,
    /// It was written by another version.
    #[error("the snapshot has another version")]
    Version,
    /// It was written in another cluster.
    #[error("the snapshot is of another cluster")]
    Cluster,
    /// Its content does not have the digest of its header.
    #[error("the snapshot is damaged")]
    Damaged,
    /// Its content could not be read or written.
    #[error("failed to read or write the snapshot")]
    Content(#[source] serde_json::Error),
}

/// The memory, taken out of an index: to be written to a file, or read from one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    images: Vec<ImageLine>,
    registries: Vec<RegistryLine>,
    score: BTreeMap<Box<str>, RegistryScore>,
}

impl Snapshot {
    /// Largest snapshot that is written or read, in bytes.
    pub(crate) const MAX_BYTES: usize = 64 * 1024 * 1024;

    /// The bytes for a file. `cluster` tells this cluster from others (the uid of `kube-system`).
    pub fn encode(&self, cluster: &str) -> Result<Vec<u8>, SnapshotError> {
        let content = serde_json::to_vec(self).map_err(SnapshotError::Content)?;
        let digest = Digest::of_sha256(&content);
        let mut bytes =
            format!("{MAGIC} {VERSION} {} {digest}\n", header_name(cluster)).into_bytes();
        bytes.extend_from_slice(&content);
        if bytes.len() > Self::MAX_BYTES { Err(SnapshotError::TooLarge) } else { Ok(bytes) }
    }

    /// Checks the bytes of a file and takes them apart.
    pub fn decode(bytes: &[u8], cluster: &str) -> Result<Self, SnapshotError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(SnapshotError::TooLarge);
        }
        let end = bytes.iter().take(512).position(|b| *b == b'\n').ok_or(SnapshotError::Foreign)?;
        let header = std::str::from_utf8(&bytes[..end]).map_err(|_| SnapshotError::Foreign)?;
        let content = &bytes[end + 1..];
        let words: Vec<&str> = header.split(' ').collect();
        let [MAGIC, version, of, digest] = words[..] else { return Err(SnapshotError::Foreign) };
        if version != VERSION {
            return Err(SnapshotError::Version);
        }
        if of != header_name(cluster) {
            return Err(SnapshotError::Cluster);
        }
        if Digest::of_sha256(content).as_str() != digest {
            return Err(SnapshotError::Damaged);
        }
        serde_json::from_slice(content).map_err(SnapshotError::Content)
    }

    /// How many images it remembers.
    pub fn images(&self) -> usize {
        self.images.len()
    }
}

/// One image; short names, as there may be tens of thousands.
#[derive(Debug, Serialize, Deserialize)]
struct ImageLine {
    /// The canonical reference.
    i: String,
    /// When anything was last heard of it.
    h: Seconds,
    /// Last start.
    #[serde(default, skip_serializing_if = "is_zero")]
    s: Seconds,
    /// Last fresh pull.
    #[serde(default, skip_serializing_if = "is_zero")]
    p: Seconds,
    /// The digest at the last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<String>,
    /// Other digests that it was, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    o: Vec<(String, Seconds)>,
    /// Last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f: Option<(Seconds, Cause)>,
    /// Whose pods had it and are gone. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    g: Vec<GoneLine>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RegistryLine {
    host: String,
    pulled: Seconds,
    /// When a pod without pull secrets last pulled from it. Earlier versions knew no more.
    #[serde(default, skip_serializing)]
    without_secret: Seconds,
    /// Earlier versions knew repositories, and not for whose pods: it is asked again for them.
    #[serde(default, skip_serializing)]
    secretless: Vec<(String, Seconds, Option<bool>)>,
    /// Repositories from which pods pulled without a secret of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    logins: Vec<(String, KeptPull)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(seconds: &Seconds) -> bool {
    *seconds == 0
}

impl HealthIndex {
    /// The memory as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            images: self.images.iter().filter_map(|(_, image)| self.image_line(image)).collect(),
            registries: self
                .images
                .registries()
                .filter(|(_, registry)| registry.pulled > 0)
                .map(|(_, registry)| self.registry_line(registry))
                .collect(),
            score: self.score.registries().clone(),
        }
    }

    fn registry_line(&self, registry: &super::registries::Registry) -> RegistryLine {
        let mut logins: Vec<_> = registry
            .secretless
            .iter()
            .filter_map(|(repository, kept)| {
                Some((self.images.repository(repository)?.name.to_string(), kept))
            })
            .collect();
        logins.sort_unstable();
        RegistryLine {
            host: registry.host.to_string(),
            pulled: registry.pulled,
            without_secret: 0,
            secretless: Vec::new(),
            logins,
        }
    }

    fn image_line(&self, image: &super::images::Image) -> Option<ImageLine> {
        if image.last_success() == 0 && image.failed.is_none() {
            return None;
        }
        let text = |id| self.digests.get(id).map(|digest| digest.as_str().to_owned());
        Some(ImageLine {
            i: image.reference.canonical(),
            h: image.heard,
            s: image.started,
            p: image.pulled,
            d: text(image.started_digest),
            o: image
                .digests
                .iter()
                .filter(|used| used.digest != image.started_digest)
                .filter_map(|used| Some((text(used.digest)?, used.last)))
                .collect(),
            f: image.failed,
            g: self.gone_lines(&image.gone),
        })
    }

    fn restore_secretless(&mut self, repository: &str, kept: KeptPull, now: Seconds) {
        if let Some((registry, repository)) = self.images.find_repository(repository) {
            registry.secretless.restore(repository, kept, now);
        }
    }

    /// Adds the memory of a snapshot to this index. Times after `now` are taken for now: clocks
    /// differ.
    pub fn restore(&mut self, snapshot: Snapshot, now: Timestamp) {
        let now = seconds(now);
        for line in snapshot.images.into_iter().take(self.limits.images) {
            let Ok(reference) = ImageReference::parse(&line.i) else { continue };
            let id = self.images.intern_reference(&reference, line.h.min(now));
            let digest = line.d.as_deref().map_or(NONE, |text| self.digests.intern(text));
            let others: Vec<_> = line
                .o
                .iter()
                .map(|(text, at)| (self.digests.intern(text), (*at).min(now)))
                .filter(|(digest, _)| *digest != NONE)
                .collect();
            let Some(image) = self.images.get_mut(id) else { continue };
            image.heard = image.heard.max(line.h.min(now));
            if line.s.min(now) > image.started {
                image.started = line.s.min(now);
                image.started_digest = digest;
            }
            image.pulled = image.pulled.max(line.p.min(now));
            image.failed = image.failed.max(line.f.map(|(at, cause)| (at.min(now), cause)));
            if digest != NONE {
                image.use_digest(digest, line.s.min(now), false);
            }
            for (digest, at) in others {
                image.use_digest(digest, at, false);
            }
            self.restore_gone(id, line.g, now);
        }
        for line in snapshot.registries {
            if let Some(id) = self.images.find_registry(&line.host)
                && let Some(registry) = self.images.registry_mut(id)
            {
                registry.pulled = registry.pulled.max(line.pulled.min(now));
                if line.without_secret > 0 {
                    for repository in self.images.repositories_of(id) {
                        let kept = KeptPull { last: line.without_secret, ..KeptPull::default() };
                        self.restore_secretless(&repository, kept, now);
                    }
                }
            }
            for (repository, last, _) in line.secretless {
                let kept = KeptPull { last, ..KeptPull::default() };
                self.restore_secretless(&repository, kept, now);
            }
            for (repository, kept) in line.logins {
                self.restore_secretless(&repository, kept, now);
            }
        }
        self.score.restore(&snapshot.score);
        self.forget_old(now);
    }
}

/// A name that fits into the header.
fn header_name(cluster: &str) -> String {
    let word: String =
        cluster.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}
