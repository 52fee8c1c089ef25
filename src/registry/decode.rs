//! Reads manifests, indexes and image configurations: bytes in, plain values out.
//!
//! Deliberately lenient where runtimes are (a strict type would turn a legal index into a
//! malformed one) and deliberately blind to everything else: only what decides a pull is kept,
//! and platform words that could not be those of a node are dropped. Pure.

use std::collections::HashSet;

use oci_spec::image::MediaType;
use serde::Deserialize;

use crate::image::{Digest, Platform};
use crate::pull::{Content, MediaKind};

/// The most different platforms of one index.
const MAX_PLATFORMS: usize = 1024;

/// Why a body is no manifest; ours, for `Outcome::Malformed`.
pub(crate) type Fault = &'static str;

/// Reads a JSON object; unlike serde alone it takes no list for one.
pub(super) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let start = body.iter().position(|b| !b.is_ascii_whitespace())?;
    if body.get(start) != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// The kind that a `Content-Type` names; nothing for one that no manifest has.
pub(crate) fn media_kind(content_type: &str) -> Option<MediaKind> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match MediaType::from(essence) {
        MediaType::ImageIndex => return Some(MediaKind::Index),
        MediaType::ImageManifest => return Some(MediaKind::Manifest),
        _ => {}
    }
    match essence {
        "application/vnd.docker.distribution.manifest.list.v2+json" => Some(MediaKind::Index),
        "application/vnd.docker.distribution.manifest.v2+json" => Some(MediaKind::Manifest),
        "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Some(MediaKind::Schema1),
        _ if essence.starts_with("application/vnd.") => Some(MediaKind::Other),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Shape {
    #[serde(default, rename = "schemaVersion")]
    schema_version: Option<u64>,
    #[serde(default, rename = "mediaType")]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

/// The kind of a body that came with this content type.
pub fn body_kind(content_type: &str, body: &[u8]) -> Result<MediaKind, Fault> {
    let shape: Shape = object(body).ok_or("the body is not that of a manifest")?;
    let announced = media_kind(content_type);
    // containerd takes `text/plain` for schema 1, which old registries send without a type.
    let plain = content_type.split(';').next().unwrap_or_default().trim() == "text/plain";
    if plain && shape.schema_version == Some(1) {
        return Ok(MediaKind::Schema1);
    }
    let announced = announced.ok_or("the content type is not that of a manifest")?;
    let inside = shape.media_type.as_deref().and_then(media_kind);
    if inside.is_some_and(|inside| inside != announced) {
        return Err("the manifest says another type than its header");
    }
    match announced {
        MediaKind::Index if shape.manifests.is_none() => Err("an index without entries"),
        MediaKind::Manifest if shape.config.is_none() => Err("a manifest without a configuration"),
        kind => Ok(kind),
    }
}

#[derive(Deserialize)]
struct RawIndex {
    manifests: Vec<RawEntry>,
}

#[derive(Deserialize)]
struct RawEntry {
    #[serde(default)]
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, rename = "os.version")]
    os_version: Option<String>,
}

impl RawPlatform {
    /// The platform, if its words are such as a node could have. Windows alone looks at the version:
    /// one of other characters or of any length hides no entry.
    fn read(self) -> Option<Platform> {
        let word = |text: Option<String>| {
            let text = text.unwrap_or_default();
            let fits = text.len() <= 40
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            fits.then_some(text)
        };
        Some(Platform {
            os: word(self.os)?,
            architecture: word(self.architecture)?,
            variant: word(self.variant)?,
            os_version: word(self.os_version).unwrap_or_default(),
        })
    }
}

/// The platforms of an index, each once, in its order; attestations are left out.
pub fn platforms(body: &[u8]) -> Result<Content, Fault> {
    let raw: RawIndex = object(body).ok_or("the index cannot be read")?;
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for entry in raw.manifests {
        let platform = match entry.platform.map(RawPlatform::read) {
            // Words that no node has: nothing could choose this entry.
            Some(None) => continue,
            Some(Some(p)) if p.os == "unknown" && p.architecture == "unknown" => continue,
            Some(platform) => platform,
            None => None,
        };
        if seen.insert(platform.clone()) {
            found.push(platform);
        }
    }
    if found.len() > MAX_PLATFORMS {
        return Err("an index with too many platforms");
    }
    Ok(Content::Platforms(found.into()))
}

#[derive(Deserialize)]
struct RawMembers {
    manifests: Vec<RawMember>,
}

#[derive(Deserialize)]
struct RawMember {
    #[serde(default, rename = "mediaType")]
    media_type: String,
    digest: String,
    #[serde(default)]
    platform: Option<RawPlatform>,
}

/// The manifests of an index, attestations left out; nothing if not all of them can be named, as where
/// an index holds another one.
pub(super) fn members(body: &[u8]) -> Option<Vec<Digest>> {
    let raw: RawMembers = object(body)?;
    let is_attestation = |member: &RawMember| {
        let word = |text: &Option<String>| text.as_deref() == Some("unknown");
        let platform = member.platform.as_ref();
        platform.is_some_and(|one| word(&one.os) && word(&one.architecture))
    };
    let images = raw.manifests.iter().filter(|member| !is_attestation(member));
    images
        .map(|member| match media_kind(&member.media_type) {
            Some(MediaKind::Index) => None,
            _ => Digest::parse(&member.digest).ok(),
        })
        .collect()
}

#[derive(Deserialize)]
struct RawManifest {
    config: RawDescriptor,
}

#[derive(Deserialize)]
struct RawDescriptor {
    #[serde(default, rename = "mediaType")]
    media_type: String,
    digest: String,
}

/// What a lone manifest says of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigLink {
    /// An image's, at this digest. One without a type of its own is that of an old image, which
    /// containerd converts (`core/remotes/docker/converter.go`, `LegacyConfigMediaType`).
    Image(Digest),
    /// Something else's: a chart, a signature.
    Artifact,
}

/// The configuration that a lone manifest names.
pub fn config_link(body: &[u8]) -> Result<ConfigLink, Fault> {
    let raw: RawManifest = object(body).ok_or("the manifest cannot be read")?;
    let image = match MediaType::from(raw.config.media_type.as_str()) {
        MediaType::ImageConfig => true,
        _ => matches!(
            &*raw.config.media_type,
            "application/vnd.docker.container.image.v1+json" | "application/octet-stream"
        ),
    };
    if !image {
        return Ok(ConfigLink::Artifact);
    }
    Digest::parse(&raw.config.digest)
        .map(ConfigLink::Image)
        .map_err(|_| "the manifest names no digest for its configuration")
}

/// What the layers of a lone manifest come to, packed as they are; nothing if one does not say.
pub(crate) fn compressed_bytes(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Layers {
        layers: Vec<Layer>,
    }
    #[derive(Deserialize)]
    struct Layer {
        size: u64,
    }
    let Layers { layers } = object(body)?;
    layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.size))
}

/// The platform that an image configuration names, if it names one.
pub fn config_platform(body: &[u8]) -> Result<Content, Fault> {
    let raw: RawPlatform = object(body).ok_or("the image configuration cannot be read")?;
    let named = raw.read().filter(|p| !p.os.is_empty() && !p.architecture.is_empty());
    Ok(named.map_or(Content::NoPlatform, |platform| Content::Config(platform, None)))
}

/// The start of what a registry said, for the log alone.
pub(super) fn excerpt(said: &[u8]) -> String {
    const MOST: usize = 200;
    let start = said.get(..MOST * 4).unwrap_or(said);
    crate::text::escaped(&String::from_utf8_lossy(start), MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_an_index_are_its_images() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let index = |entries: &str| format!("{{\"manifests\": [{entries}]}}");
        let image =
            format!("{{\"digest\": \"{}\", \"platform\": {{\"os\": \"linux\"}}}}", digest("a"));
        let attested = format!(
            "{image}, {{\"digest\": \"{}\", \"platform\": {{\"os\": \"unknown\", \"architecture\": \"unknown\"}}}}",
            digest("b")
        );
        let found = members(index(&attested).as_bytes()).unwrap();
        assert_eq!(found, [Digest::parse(&digest("a")).unwrap()]);
        let nested = format!(
            "{image}, {{\"mediaType\": \"application/vnd.oci.image.index.v1+json\", \"digest\": \"{}\"}}",
            digest("c")
        );
        for whole_is_not_known in [nested, "{\"digest\": \"x\"}".to_owned()] {
            assert_eq!(members(index(&whole_is_not_known).as_bytes()), None);
        }
    }
}
