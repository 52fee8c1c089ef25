//! The closed list of failure causes: what stands between an image and a node.
//!
//! The words are the labels that failed pulls are classified with, plus those that only a look-up
//! can have. A new cause is added here, with its word, whether it passes by itself, and a line in
//! the page of messages; the words themselves are an interface and are never renamed.

use std::fmt;

/// Declares [`Cause`] with its words and whether each passes by itself, in one table.
macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $transient:literal;)*) => {
        /// Why an image cannot be pulled, or why that cannot be told.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Cause { $($(#[$doc])* $variant,)* }

        impl Cause {
            /// Every cause, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for this cause in reports, policies and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Whether a later attempt may succeed although nobody changed anything: trouble of
            /// a network, a registry or a node, not a fault of the image or its credentials.
            pub const fn is_transient(self) -> bool {
                match self { $(Self::$variant => $transient,)* }
            }
        }
    };
}

causes! {
    /// The image name cannot be parsed, or a short name cannot be resolved.
    InvalidReference = "invalid_reference", false;
    /// The registry does not have this tag or digest.
    TagNotFound = "tag_not_found", false;
    /// The repository or project does not exist, with no doubt about access.
    RepositoryNotFound = "repository_not_found", false;
    /// Missing or private: the registry leaves it open.
    AccessDeniedOrMissing = "access_denied_or_missing", false;
    /// 401: credentials are missing, wrong or expired.
    Unauthorized = "unauthorized", false;
    /// 403: these credentials may not pull this.
    Forbidden = "forbidden", false;
    /// 429: a pull limit is used up.
    RateLimited = "rate_limited", true;
    /// There is no image for the architecture or operating system of the nodes.
    PlatformMismatch = "platform_mismatch", false;
    /// The registry's name could not be looked up.
    DnsFailure = "dns_failure", true;
    /// Refused, reset, no route, closed too early, or a proxy that refuses.
    ConnectionRefused = "connection_refused", true;
    /// The dial, the TLS handshake, the answer or the whole attempt took too long.
    Timeout = "timeout", true;
    /// A certificate or handshake fault, or plain HTTP where TLS is spoken.
    TlsFailure = "tls_failure", true;
    /// The registry answered with a server error.
    RegistryError = "registry_error", true;
    /// A manifest that the runtime does not take: schema 1, an unknown type, an artifact.
    UnsupportedManifest = "unsupported_manifest", false;
    /// A digest, size or checksum does not fit the content.
    CorruptContent = "corrupt_content", true;
    /// The node's disk is full, read-only or broken.
    NodeStorage = "node_storage", true;
    /// Pull policy `Never`, and the image is not on the node.
    ImageNeverPull = "image_never_pull", false;
    /// A signature or trust policy refuses the image.
    SignatureRejected = "signature_rejected", false;
    /// The runtime, the snapshotter, a lease or a lock; the kubelet's own pull rate.
    NodeRuntime = "node_runtime", true;
    /// Waiting after a failure whose cause the message does not name.
    BackOff = "back_off", true;
    /// Not a failure to pull an image.
    NotAnImageFailure = "not_an_image_failure", true;
    /// A pull secret is so broken that the kubelet gives up before it asks any registry.
    BrokenPullSecret = "broken_pull_secret", false;
    /// The registry's address is one that Pullgate does not contact.
    ForbiddenAddress = "forbidden_address", true;
    /// The registry wants credentials sent to a host that they do not belong to.
    ForeignRealm = "foreign_realm", true;
    /// The registry admits certain addresses or networks only, and Pullgate's is none of them.
    NetworkRestricted = "network_restricted", true;
    /// The registry's answer is not one that the distribution specification knows.
    MalformedAnswer = "malformed_answer", true;
    /// Pullgate's look-up was not ready in time.
    TooLate = "too_late", true;
    /// Pullgate was overloaded and left the look-up out.
    Overloaded = "overloaded", true;
    /// What the nodes would do depends on something that Pullgate was not told.
    UnknownNodes = "unknown_nodes", true;
}

impl Cause {
    /// The cause with this word, or nothing.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|cause| cause.as_str() == word)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Cause {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_word(&word)
            .ok_or_else(|| serde::de::Error::custom(format_args!("unknown cause \"{word}\"")))
    }
}
