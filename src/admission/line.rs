//! The one line about an image: image, cause, next step, the point within the first 120
//! characters.
//!
//! Only names that the asker wrote, and what was proven, are repeated; never a word of a
//! registry's. `docs/messages.md` shows every line.

use super::wording::{clean, shorten};
use crate::advice::Advice;
use crate::image::ReferenceError;
use crate::pull::{Assessment, Attempt, Cause, Escape, Outcome, Softened, TlsFault, Verdict};

/// An image name is cut to this before it stands in a line, keeping its end, where the tag is.
const MAX_IMAGE: usize = 60;

/// What is said about one image.
#[derive(Debug, Clone, Copy)]
pub struct Finding<'a> {
    /// The image as written.
    pub image: &'a str,
    /// Why it does not parse, if it does not.
    pub reference_error: Option<&'a ReferenceError>,
    /// What will become of it.
    pub assessment: &'a Assessment,
    /// What each credential got.
    pub attempts: &'a [Attempt],
    /// What to do, proven.
    pub advice: &'a [Advice],
    /// Pull secrets that are named and do not exist.
    pub missing_secrets: &'a [Box<str>],
    /// The secret that makes the kubelet give up, with the reason.
    pub broken_secret: Option<(&'a str, &'a str)>,
    /// Whether the policy refuses the image, whatever the registry says.
    pub refused: bool,
}

impl Finding<'_> {
    /// The line.
    pub fn line(&self) -> String {
        format!("image {}: {}", image_name(self.image), self.words())
    }

    /// The line without the image, for where that stands beside it.
    pub fn words(&self) -> String {
        if self.refused {
            return "the pull policy of this cluster refuses it".to_owned();
        }
        let mut words = self.cause();
        let mut tails: Vec<String> =
            self.advice.iter().map(|advice| advice.message.clone()).collect();
        tails.extend(self.secret_tail());
        tails.extend(self.looker());
        tails.extend(self.escape_tail());
        for tail in tails {
            words.push_str("; ");
            words.push_str(&tail);
        }
        clean(&words)
    }

    /// The cause in words, with how sure it is.
    fn cause(&self) -> String {
        let Some(cause) = self.assessment.cause else {
            return "nothing is known against it".to_owned();
        };
        let said = match cause {
            Cause::InvalidReference => {
                let offending = self.reference_error.map_or("", ReferenceError::offending);
                format!("not a valid image name ({offending}), so no node can pull it")
            }
            Cause::BrokenPullSecret => {
                let (name, why) = self.broken_secret.unwrap_or(("", "it cannot be read"));
                format!("pull secret `{name}` is broken ({why}), so the kubelet pulls nothing")
            }
            Cause::TlsFailure => self.tls(),
            Cause::PlatformMismatch if !self.assessment.unfit_nodes.is_empty() => self.unfit(),
            Cause::Unauthorized if self.is_anonymous() => {
                "the registry wants a login (401), and no pull secret matches".to_owned()
            }
            Cause::AccessDeniedOrMissing if self.is_anonymous() => {
                "missing, or private and no pull secret matches".to_owned()
            }
            _ => sentence(cause, self.assessment.verdict).to_owned(),
        };
        match self.assessment.softened {
            Some(Softened::RegistryTrouble) => {
                format!("registry trouble: many pods here fail to pull from it; just now {said}")
            }
            Some(Softened::RecentSuccess) => format!("{said}, though it was pulled here lately"),
            None => said,
        }
    }

    /// Whether nobody logged in.
    fn is_anonymous(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.source.is_none())
    }

    /// It is pulled, and does not run on these nodes.
    fn unfit(&self) -> String {
        match self.assessment.unfit_nodes.as_slice() {
            [] => String::new(),
            [one] => format!("is not built for node `{one}`, where its pods may land"),
            [first, rest @ ..] => format!(
                "is not built for {} nodes where its pods may land, such as `{first}`",
                rest.len() + 1
            ),
        }
    }

    fn tls(&self) -> String {
        let fault = self.attempts.iter().find_map(|attempt| match attempt.lookup.outcome {
            Outcome::Tls(fault) => Some(fault),
            _ => None,
        });
        match fault {
            Some(TlsFault::UnknownAuthority) => {
                "the registry's certificate is signed by an authority that is not trusted"
            }
            Some(TlsFault::WrongName) => "the registry's certificate is for another name",
            Some(TlsFault::Expired) => "the registry's certificate has expired or is not valid yet",
            Some(TlsFault::PlainHttp) => "the registry speaks plain HTTP where TLS is expected",
            Some(TlsFault::Handshake) | None => "the TLS handshake with the registry fails",
        }
        .to_owned()
    }

    fn secret_tail(&self) -> Option<String> {
        let about_access = matches!(
            self.assessment.cause,
            Some(Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing)
        );
        match self.missing_secrets {
            [] => None,
            _ if !about_access => None,
            [one] => Some(format!("pull secret `{one}` does not exist in this namespace")),
            [first, rest @ ..] => Some(format!(
                "pull secrets `{first}` and {} more do not exist in this namespace",
                rest.len()
            )),
        }
    }

    /// Who asked, where that matters.
    fn looker(&self) -> Option<String> {
        let index = self.assessment.decisive?;
        let asked = matches!(
            self.assessment.cause?,
            Cause::TagNotFound
                | Cause::RepositoryNotFound
                | Cause::Unauthorized
                | Cause::Forbidden
                | Cause::AccessDeniedOrMissing
        );
        let attempt = self.attempts.get(index).filter(|_| asked)?;
        Some(match &attempt.source {
            None => "Pullgate asked anonymously".to_owned(),
            Some(source) => format!("Pullgate asked with {}", source.origin),
        })
    }

    /// Which escapes are open: why it may work all the same.
    fn escape_tail(&self) -> Option<String> {
        let words: Vec<&str> =
            self.assessment.escapes.iter().map(|escape| escape_words(*escape)).collect();
        match words.as_slice() {
            [] => None,
            [one] => Some(format!("unless a node has {one}")),
            [most @ .., last] => Some(format!("unless a node has {} or {last}", most.join(", "))),
        }
    }
}

/// What a node has where this escape is open, in words.
pub const fn escape_words(escape: Escape) -> &'static str {
    match escape {
        Escape::NodeMirror => "a mirror",
        Escape::NodeCredentials => "credentials of its own",
        Escape::ImageOnNode => "the image already",
    }
}

/// The words for a cause that needs no more than itself.
pub const fn sentence(cause: Cause, verdict: Verdict) -> &'static str {
    let fails = matches!(verdict, Verdict::Fails);
    match cause {
        Cause::InvalidReference => "not a valid image name",
        Cause::TagNotFound if fails => "the registry has no such tag or digest",
        Cause::TagNotFound => "the registry seems to have no such tag or digest",
        Cause::RepositoryNotFound if fails => "the registry has no such repository",
        Cause::RepositoryNotFound => "the registry seems to have no such repository",
        Cause::AccessDeniedOrMissing => "missing, or not readable with these credentials",
        Cause::Unauthorized => "the registry refuses these credentials (401)",
        Cause::Forbidden => "the registry forbids these credentials to pull it (403)",
        Cause::RateLimited => "the registry's pull limit is used up (429)",
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
        Cause::TlsFailure => "the TLS handshake with the registry fails",
        Cause::RegistryError => "the registry answers with a server error",
        Cause::UnsupportedManifest if matches!(verdict, Verdict::Works) => {
            "can be pulled but is no container image, so it will not start"
        }
        Cause::UnsupportedManifest => {
            "the manifest is of a kind that the nodes' runtime does not take"
        }
        Cause::CorruptContent => "the registry's content does not have the digest it should",
        Cause::NodeStorage => "a node's disk is full or broken",
        Cause::ImageNeverPull => "pull policy Never, and no node is known to have the image",
        Cause::SignatureRejected => "its signature is refused by policy",
        Cause::NodeRuntime => "the container runtime of a node is in trouble",
        Cause::BackOff => "nodes wait after failing to pull it",
        Cause::NotAnImageFailure => "fails for a reason other than its image",
        Cause::BrokenPullSecret => "a pull secret is broken, so the kubelet pulls nothing",
        Cause::ForbiddenAddress => "the registry's address is one that Pullgate does not contact",
        Cause::ForeignRealm => {
            "the registry asks for credentials on a foreign host, where Pullgate sends none"
        }
        Cause::MalformedAnswer => "the registry's answer is not one of a registry",
        Cause::TooLate => "the look-up was not ready in time",
        Cause::Overloaded => "Pullgate had too much to do to look",
        Cause::UnknownNodes => "it depends on nodes that are not known",
    }
}

/// The image in a line: cut in front, since the end tells images apart.
fn image_name(image: &str) -> String {
    let image = clean(image);
    let count = image.chars().count();
    if count <= MAX_IMAGE {
        return image;
    }
    let head = shorten(&image, MAX_IMAGE / 3);
    let tail: String = image.chars().skip(count - MAX_IMAGE * 2 / 3).collect();
    format!("{head}{tail}")
}
