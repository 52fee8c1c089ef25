//! The content came and is not taken: signatures, platforms, formats, checksums. Part of the table
//! in `rules.rs`, which explains it and orders the groups.

use super::{Rule, is};
use crate::pull::Cause::{
    CorruptContent, NodeRuntime, PlatformMismatch, RegistryError, SignatureRejected,
    UnsupportedManifest,
};

/// Signatures that could not be fetched: the image library wraps that in the same words as a
/// refusal, and it proves nothing.
pub(super) const UNREAD_SIGNATURE: &[Rule] =
    &[is(RegistryError, "source image rejected reading|downloading|getting", "CI signature")];

/// A signature or trust policy said no.
pub(super) const SIGNATURE: &[Rule] = &[
    is(SignatureRejected, "signaturevalidationfailed", "K, CR: error name"),
    is(SignatureRejected, "signature validation|verification failed|error", "K, CI, notation"),
    is(SignatureRejected, "source image rejected", "CI signature/policy_eval.go"),
    is(SignatureRejected, "signature was required", "CI signature/policy_eval_signedby.go"),
    is(SignatureRejected, "rejected by policy", "CI signature/policy_eval.go"),
    is(SignatureRejected, "signature for identity .. is not accepted", "CI signature"),
    is(SignatureRejected, "invalid gpg signature", "CI signature"),
    is(SignatureRejected, "none of the signatures were accepted", "CI signature"),
    is(SignatureRejected, "no matching|valid signature|signatures", "cosign"),
    is(SignatureRejected, "no signature|signatures found|exists|exist", "cosign, CI"),
    is(SignatureRejected, "image verifier .. blocked|rejected", "CD transfer/local/pull.go"),
    is(SignatureRejected, "blocked pull of", "CD transfer/local/pull.go"),
    is(SignatureRejected, "trust data", "MO content trust"),
    is(SignatureRejected, "image is not signed", "Harbor: middleware of content trust"),
    is(SignatureRejected, "required email .. not found", "CI signature/fulcio_cert.go"),
];

/// Nothing in it for this node.
pub(super) const PLATFORM: &[Rule] = &[
    is(PlatformMismatch, "no match for platform", "CD images/handlers.go"),
    is(PlatformMismatch, "no matching manifest for", "MO"),
    is(PlatformMismatch, "no image found in image|manifest index|list", "CI internal/manifest"),
    is(PlatformMismatch, "no image found .. for architecture", "CI internal/manifest"),
    is(PlatformMismatch, "no supported platform found", "MO"),
    is(PlatformMismatch, "no manifest|child|descriptor .. platform|architecture", "CD, MO"),
    is(PlatformMismatch, "not contain descriptor matching platform", "ECS"),
    is(PlatformMismatch, "does not match the specified|requested|detected|expected platform", "MO"),
    is(PlatformMismatch, "not match the detected host platform", "MO"),
    is(PlatformMismatch, "architecture|system mismatch", "CI copy, CR"),
    is(PlatformMismatch, "image uses .. expecting", "CI copy"),
    is(PlatformMismatch, "operating system * when requesting", "MO distribution/pull"),
    is(PlatformMismatch, "no suitable|compatible manifest|image .. platform", "several"),
    is(PlatformMismatch, "not find a platform match", "CD client"),
    is(PlatformMismatch, "cannot be used on this platform", "MO distribution/pull"),
    is(PlatformMismatch, "operating system is not supported", "MO"),
    is(PlatformMismatch, "operating system does not match the host", "Windows"),
    is(PlatformMismatch, "unsupported os|architecture|platform", "MO"),
    is(PlatformMismatch, "image is incompatible with", "MO on Windows"),
    is(PlatformMismatch, "platform .. not supported|found|available", "MO, CD"),
    is(PlatformMismatch, "not support|available .. platform|architecture", "several"),
];

/// Content that the runtime does not take.
pub(super) const FORMAT: &[Rule] = &[
    is(UnsupportedManifest, "schema 1", "CD transfer/local/pull.go, images/image.go"),
    is(UnsupportedManifest, "schema1|schemav1", "CI, MO"),
    is(UnsupportedManifest, "manifest schema v1", "several"),
    is(UnsupportedManifest, "application/*|text/* not supported", "MO: a type of manifest"),
    is(UnsupportedManifest, "application/*|text/* is not supported", "several"),
    is(UnsupportedManifest, "accept header does not support", "DD, Quay: an OCI image or index"),
    is(UnsupportedManifest, "unsupported content type|content-type", "several"),
    is(UnsupportedManifest, "406 not acceptable", "HTTP 406"),
    is(UnsupportedManifest, "status|statuscode|code 406", "HTTP 406"),
    is(UnsupportedManifest, "unknown blob|layer media type", "CI"),
    is(UnsupportedManifest, "unrecognized image format", "CI"),
    is(UnsupportedManifest, "is no longer supported since containerd", "CD client/pull.go"),
    is(UnsupportedManifest, "manifest.v1+prettyjws|docker.distribution.manifest.v1", "CD"),
    is(UnsupportedManifest, "docker image format v1", "MO distribution/pull_v2.go"),
    is(UnsupportedManifest, "missing signature key", "MO, libtrust: schema 1"),
    is(UnsupportedManifest, "unsupported|unexpected|unrecognized|invalid .. media type", "CD, CI"),
    is(
        UnsupportedManifest,
        "unsupported|unexpected|unrecognized|invalid .. mediatype|media-type",
        "CD, MO",
    ),
    is(UnsupportedManifest, "media type .. not|no supported|longer|recognized|allowed", "CD, CI"),
    is(UnsupportedManifest, "mediatype|media-type .. should be|not", "CI, CD"),
    is(UnsupportedManifest, "media-type expected manifest|index", "CD images/image.go"),
    is(UnsupportedManifest, "no processor|decoder|handler for media-type|media", "CD diff"),
    is(UnsupportedManifest, "failed to get stream processor", "CD diff"),
    is(UnsupportedManifest, "unknown media|mediatype|media-type", "CD, MO"),
    is(UnsupportedManifest, "unsupported image-specific operation", "CI: an artifact, no image"),
    is(UnsupportedManifest, "unsupported schema version", "CI manifest"),
    is(UnsupportedManifest, "unsupported|unimplemented|unrecognized manifest", "CI, MO"),
    is(UnsupportedManifest, "manifest too big|large", "CI, DD"),
    is(UnsupportedManifest, "unsupported|unimplemented|unknown .. mime type", "CI manifest"),
    is(UnsupportedManifest, "expected manifest but found index", "CD images/image.go"),
    is(UnsupportedManifest, "expected index but found manifest", "CD images/image.go"),
    is(UnsupportedManifest, "encountered remote", "MO: artifact instead of image"),
    is(UnsupportedManifest, "mismatched image rootfs and manifest layers", "CD image.go"),
    is(UnsupportedManifest, "layers and diffids don't match", "CD rootfs/apply.go"),
    is(UnsupportedManifest, "invalid tar header", "GO archive/tar"),
    is(UnsupportedManifest, "gzip invalid header", "GO compress/gzip"),
    is(UnsupportedManifest, "zstd|gzip|lz4|bzip2|xz .. not supported|magic", "CI, MO"),
    is(UnsupportedManifest, "invalid compression|magic", "several"),
    is(UnsupportedManifest, "magic number mismatch", "zstd"),
    // Whiteouts are part of the format: if one is refused, and why is said, the node's file system
    // is why. Only what is cut off in front of that leaves the layer under suspicion.
    is(NodeRuntime, "convert whiteout file * *", "CD archive: the node refuses"),
    is(UnsupportedManifest, "convert whiteout file", "CD archive"),
    is(UnsupportedManifest, "needed for decryption", "ocicrypt: encrypted layers"),
    is(UnsupportedManifest, "unwrapping .. key|keys", "ocicrypt: encrypted layers"),
];

/// Content that does not fit its own name.
pub(super) const INTEGRITY: &[Rule] = &[
    is(CorruptContent, "unexpected commit digest|size", "CD content/local/writer.go"),
    is(CorruptContent, "failed size validation|verification", "CD content"),
    is(CorruptContent, "verification failed for digest", "MO: layer verification"),
    is(CorruptContent, "manifest verification failed", "MO"),
    is(CorruptContent, "size validation failed", "several"),
    is(CorruptContent, "digest|digests|checksum .. not match", "CI copy/digesting_reader.go"),
    is(CorruptContent, "not match .. digest|diffid|checksum", "CI, MO"),
    is(CorruptContent, "digest|checksum|size|crc32|hash|content mismatch|mismatched", "several"),
    is(CorruptContent, "mismatched|wrong|bad digest|checksum|size|diff", "CD rootfs/apply.go"),
    is(CorruptContent, "checksum error|failed", "several"),
    is(CorruptContent, "invalid checksum|digest|crc", "GO compress/gzip"),
    is(CorruptContent, "corrupt input|content|layer", "GO compress/flate"),
    is(CorruptContent, "corrupted", "unpigz, several"),
    is(CorruptContent, "layers from manifest don't match", "MO"),
    is(CorruptContent, "extract|register layer .. unexpected eof", "CD, MO: the layer is cut off"),
    is(CorruptContent, "processing tar file .. unexpected eof", "MO: the layer is cut off"),
    is(CorruptContent, "unpacking failed .. unexpected eof", "CI storage: the layer is cut off"),
    is(CorruptContent, "unexpected size|length", "CD, CI"),
    is(CorruptContent, "digest_invalid|size_invalid", "OD"),
    is(CorruptContent, "code failedprecondition", "gRPC code of CD"),
];
