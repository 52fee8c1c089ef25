//! The words for causes and escapes, and what stands behind each cause.
//!
//! Short enough that image and cause together are within the first 120 characters of a line.

use crate::pull::{Cause, Escape, Outcome, TlsFault, Verdict, meaning};

/// What a node has where this escape is open, in words.
pub const fn escape_words(escape: Escape) -> &'static str {
    match escape {
        Escape::NodeMirror => "a mirror",
        Escape::NodeCredentials => "their own credentials",
        Escape::ImageOnNode => "the image",
        Escape::NodeNetwork => "another network",
        Escape::NodePlatform => "another platform",
    }
}

/// What nodes have where these escapes are open, in words; nothing where none is.
pub(crate) fn escape_list(escapes: &[Escape]) -> Option<String> {
    let words: Vec<&str> = escapes.iter().map(|escape| escape_words(*escape)).collect();
    let (last, most) = words.split_last()?;
    let most = if most.is_empty() { String::new() } else { format!("{} or ", most.join(", ")) };
    Some(format!("{most}{last}"))
}

/// What a policy would have to vouch for to close these escapes, in words; nothing where none is open.
pub(crate) fn vouch_list(escapes: &[Escape]) -> Option<String> {
    let words: Vec<&str> = escapes
        .iter()
        .map(|escape| match escape {
            Escape::NodeMirror => "mirrors",
            Escape::NodeCredentials => "node credentials",
            Escape::ImageOnNode => "images on nodes",
            Escape::NodeNetwork => "node network",
            Escape::NodePlatform => "node platforms",
        })
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The words for a fault of TLS.
pub const fn tls_words(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::UnknownAuthority => {
            "the registry's certificate is signed by an authority that is not trusted"
        }
        TlsFault::WrongName => "the registry's certificate is for another name",
        TlsFault::Expired => "the registry's certificate has expired or is not valid yet",
        TlsFault::PlainHttp => "the registry speaks plain HTTP where TLS is expected",
        TlsFault::Handshake => "the TLS handshake with the registry fails",
    }
}

/// The words for a cause that needs no more than itself.
pub const fn sentence(cause: Cause, verdict: Verdict) -> &'static str {
    let fails = matches!(verdict, Verdict::Fails);
    match cause {
        Cause::InvalidReference => "invalid name",
        Cause::TagNotFound if matches!(verdict, Verdict::Works) => {
            "tag not found in the registry (its nodes have it)"
        }
        Cause::RepositoryNotFound if matches!(verdict, Verdict::Works) => {
            "repository not found in the registry (its nodes have the image)"
        }
        Cause::TagNotFound if fails => "tag not found in the registry",
        Cause::TagNotFound => "the tag seems to be missing from the registry",
        Cause::RepositoryNotFound if fails => "repository not found in the registry",
        Cause::RepositoryNotFound => "the repository seems to be missing from the registry",
        Cause::AccessDeniedOrMissing => "not found, or not readable with these credentials",
        Cause::Unauthorized => "registry rejects the credentials (401)",
        Cause::Forbidden => "registry denies the credentials access (403)",
        Cause::RateLimited => "registry's pull limit reached (429)",
        Cause::PlatformMismatch if matches!(verdict, Verdict::Works) => {
            "can be pulled but is not built for some of the nodes, where it will not start"
        }
        Cause::PlatformMismatch if fails => {
            "has no build for the platform of any node where its pods may land"
        }
        Cause::PlatformMismatch => "may have no build for the platform of the nodes",
        Cause::DnsFailure => "the registry's name cannot be resolved",
        Cause::ConnectionRefused => "the registry cannot be reached",
        Cause::Timeout => "the registry does not answer in time",
        Cause::TlsFailure => tls_words(TlsFault::Handshake),
        Cause::RegistryError => "the registry answers with a server error",
        Cause::UnsupportedManifest if matches!(verdict, Verdict::Works) => {
            "can be pulled but is no container image, so it will not start"
        }
        Cause::UnsupportedManifest => {
            "the manifest is of a kind that the nodes' runtime does not take"
        }
        Cause::CorruptContent => "content does not match its digest",
        Cause::NodeStorage => "a node's disk is full or broken",
        Cause::ImageNeverPull if fails => {
            "pull policy Never, and no node is known to have the image"
        }
        Cause::ImageNeverPull => {
            "pull policy Never: only the nodes could say whether they have the image"
        }
        Cause::SignatureRejected => "its signature is refused by policy",
        Cause::NodeRuntime => "the container runtime of a node is in trouble",
        Cause::BackOff => "earlier pulls failed, nodes back off",
        Cause::NotAnImageFailure => "fails for a reason other than its image",
        Cause::BrokenPullSecret => "a pull secret is malformed, so the kubelet cannot pull",
        Cause::ForbiddenAddress => "the registry's address is one that Pullgate does not contact",
        Cause::ForeignRealm => {
            "the registry wants credentials on another domain, where Pullgate sends none"
        }
        Cause::NetworkRestricted => {
            "registry refuses the address Pullgate asks from (403); nodes may use another"
        }
        Cause::MalformedAnswer => "the address answers, but not as a registry",
        Cause::TooLate => "the look-up was not ready in time",
        Cause::Overloaded => "Pullgate is overloaded and did not look",
        Cause::UnknownNodes => "no node known that these pods could use",
    }
}

/// What was seen where this cause is given, for the page of messages.
pub const fn evidence(cause: Cause) -> &'static str {
    match cause {
        Cause::InvalidReference => {
            "the name, by the grammar that kubelet, containerd and CRI-O share"
        }
        Cause::TagNotFound => {
            "404 to a GET of the manifest; *fails* only with the code MANIFEST_UNKNOWN or NOT_FOUND in the body; NOT_FOUND alone denies only when seen again after ten minutes, because a proxy cache of Harbor also answers it while its upstream is down"
        }
        Cause::RepositoryNotFound => {
            "404 to a GET of the manifest; *fails* only with the code NAME_UNKNOWN in the body"
        }
        Cause::AccessDeniedOrMissing => {
            "401 or 403 of a registry that answers so for missing and for private alike"
        }
        Cause::Unauthorized => {
            "401 that stayed after the login, from the registry or its own token service"
        }
        Cause::Forbidden => "403 of the registry's own, from it or its token service",
        Cause::RateLimited => "429, or a back-off that is still running",
        Cause::PlatformMismatch => {
            "the index or the configuration was read and compared with the nodes where the pods may land"
        }
        Cause::DnsFailure => "the registry's name did not resolve where Pullgate runs",
        Cause::ConnectionRefused => {
            "the connection was refused or reset where Pullgate runs, or a proxy refused it"
        }
        Cause::Timeout => "a step of the look-up took longer than its limit",
        Cause::TlsFailure => "the handshake, with the authorities that Pullgate was given",
        Cause::RegistryError => "an HTTP status of 500 or above",
        Cause::UnsupportedManifest => {
            "the media type of the manifest or of its configuration, and the nodes' runtimes"
        }
        Cause::CorruptContent => "the content's own digest, computed",
        Cause::ImageNeverPull => "the pull policy, and the images that the nodes report",
        Cause::BrokenPullSecret => "the secret, read as the kubelet reads it",
        Cause::ForbiddenAddress => {
            "the name resolves to a metadata, link-local, loopback or unlisted private address"
        }
        Cause::ForeignRealm => {
            "the token service that the registry names in its challenge, or the host that it redirects to"
        }
        Cause::NetworkRestricted => {
            "401 or 403 whose text speaks of the address or network asked from: a firewall, an allow list, an endpoint policy"
        }
        Cause::MalformedAnswer => {
            "an answer that follows no specification, or a refusal that is not the registry's own"
        }
        Cause::TooLate => "the deadline of the review came first; the look-up goes on",
        Cause::Overloaded => "the budget of this registry, or of look-ups at all, was used up",
        Cause::UnknownNodes => "no node is known that the decision could be made for",
        Cause::NodeStorage
        | Cause::SignatureRejected
        | Cause::NodeRuntime
        | Cause::BackOff
        | Cause::NotAnImageFailure => "what nodes report of failed pulls; never a look-up",
    }
}

/// The word and the sentence for what one credential got.
pub(crate) fn tried_words(outcome: &Outcome) -> (&'static str, String) {
    match meaning(outcome) {
        (_, None) => ("works", "works".to_owned()),
        (verdict, Some(cause)) => (cause.as_str(), sentence(cause, verdict).to_owned()),
    }
}
