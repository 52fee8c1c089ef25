//! What one look-up came to: a closed list, so that one table can say what each means.
//!
//! A look-up is one reference asked for with one credential at all the hosts that serve it (the
//! registry and its listed mirrors). What a registry says is data here, never an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::credential::Credential;
use crate::image::{Digest, ImageReference, Platform};

/// How much of the content a look-up has to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detail {
    /// Whether it is there: one HEAD.
    Presence,
    /// The platforms of an index too: one GET per digest, kept. A lone manifest stays a HEAD.
    Platforms,
    /// The configuration of a lone manifest too: two GETs per digest, kept.
    Config,
}

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To say whether an image can be pulled.
    Verdict,
    /// To suggest something. If it fails, no verdict about any image may suffer.
    Advice,
}

/// One question to the registries.
#[derive(Debug, Clone)]
pub struct LookupRequest {
    /// What is asked for.
    pub reference: ImageReference,
    /// Whose answer is wanted; nothing asks anonymously.
    pub credential: Option<Credential>,
    /// How much of the content is needed.
    pub detail: Detail,
    /// How old a kept answer may be; nothing takes any that has not expired.
    pub max_age: Option<Duration>,
    /// What the answer is for.
    pub purpose: Purpose,
    /// The namespace on whose behalf it is asked, empty for nobody's: namespaces take turns.
    pub namespace: Arc<str>,
}

/// The answer to a [`LookupRequest`].
#[derive(Debug, Clone)]
pub struct Lookup {
    /// What came of it.
    pub outcome: Outcome,
    /// How old the answer was when it was handed over: since it came, or, of a refusal, since the
    /// question to it was sent.
    pub age: Duration,
    /// From when on it is that old.
    pub since: Instant,
    /// The host that gave the decisive answer, where it is a listed mirror.
    pub mirror: Option<Box<str>>,
    /// Whether nobody's credential was given, and the answer came to the login that the nodes'
    /// runtime itself has for the host.
    pub node_login: bool,
    /// For how long independent exchanges have come to a refusal, this one the last; zero after
    /// the first one. A single refusal proves little: the secret may be rotated at this moment, the
    /// upstream of a proxy cache down.
    pub refused_for: Duration,
}

/// Two refusals that count as two are at least so far apart.
pub(crate) const REFUSALS_APART: Duration = Duration::from_secs(1);
/// How long a tag has to be missing where the registry answers [`ErrorCode::NotFound`]: a proxy cache
/// of Harbor answers it, too, for what it cannot ask for while its upstream is in trouble
/// (`src/server/middleware/repoproxy/proxy.go`).
pub(crate) const NOT_FOUND_STANDS: Duration = Duration::from_secs(600);

impl Lookup {
    /// Whether this credential was refused, and no second exchange has confirmed it.
    pub fn is_first_refusal(&self) -> bool {
        self.outcome.is_refusal() && self.is_unconfirmed()
    }

    /// Whether it was not repeated for as long as it takes to prove anything.
    pub fn is_unconfirmed(&self) -> bool {
        self.outcome.proves_after().is_some_and(|long| self.refused_for < long)
    }
}

/// What a look-up came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The manifest is there for this credential.
    Exists(Found),
    /// 404. Confirmed only with an error code in the body of a GET: an ingress answers 404 too.
    TagMissing {
        /// The code that confirms it, if any.
        code: Option<ErrorCode>,
    },
    /// 404 with a code that names the repository.
    RepositoryMissing {
        /// The code that confirms it, if any.
        code: Option<ErrorCode>,
    },
    /// 401 or 403 of a registry that answers so for missing and for private alike.
    MissingOrDenied,
    /// 401 that stayed, from the registry or its own token service.
    Unauthorized,
    /// The registry refused this login so often within a minute that it is not tried again for now:
    /// accounts get locked.
    LoginWithheld,
    /// The registry wants a user name and a password, and the password is empty. Runtimes differ in
    /// what they make of that.
    PasswordMissing,
    /// A mirror refused us that nodes may have a login for, under its own name, and to which the
    /// credentials of the image are not given (CRI-O).
    MirrorRefused,
    /// A host that the registry redirects to answered 401, 403 or 404, and did not get the login,
    /// which belongs to the registry; runtimes give it to that host.
    RedirectRefused,
    /// 403 from the registry or its own token service.
    Forbidden,
    /// 401 or 403 that speaks of the address or network asked from. Nodes ask from other ones.
    AddressRefused,
    /// 401 or 403 that is not the registry's own: no challenge, an HTML page, a proxy.
    RefusedByStranger,
    /// 429, or a back-off that is still running.
    Throttled {
        /// How long until it makes sense to ask again, if the registry said so (capped).
        retry_after: Option<Duration>,
    },
    /// 5xx and other answers of a registry in trouble.
    RegistryError {
        /// The HTTP status.
        status: u16,
    },
    /// The host could not be reached.
    Network(NetworkFault),
    /// A TLS fault.
    Tls(TlsFault),
    /// A step took too long.
    Timeout(Step),
    /// The answer does not follow the specification; the text is ours, never the registry's.
    Malformed(&'static str),
    /// The content does not have the digest that was asked for or announced.
    CorruptContent,
    /// The address is one that is never contacted.
    ForbiddenAddress,
    /// The registry asks for credentials on a host that they do not belong to: that host.
    ForeignRealm(Box<str>),
    /// The mirror configuration lists no host that serves this reference.
    NoHost,
    /// The caller's deadline came first; the look-up goes on in the background.
    TooLate,
    /// Our own bounds: too many look-ups, or the budget of this registry is used up.
    Overloaded,
}

impl Outcome {
    /// Whether the registry's own word is that this credential may not have it.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::MissingOrDenied | Self::Unauthorized | Self::Forbidden)
    }

    /// For how long it has to be repeated before it proves anything; nothing for what is not made any
    /// surer that way.
    pub(crate) const fn proves_after(&self) -> Option<Duration> {
        match self {
            Self::TagMissing { code: Some(ErrorCode::NotFound) } => Some(NOT_FOUND_STANDS),
            Self::MissingOrDenied | Self::Unauthorized | Self::Forbidden => Some(REFUSALS_APART),
            _ => None,
        }
    }

    /// The word in logs and metrics: of a closed list, without anything that a registry sent.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exists(_) => "exists",
            Self::TagMissing { .. } => "tag_missing",
            Self::RepositoryMissing { .. } => "repository_missing",
            Self::MissingOrDenied => "missing_or_denied",
            Self::Unauthorized => "unauthorized",
            Self::LoginWithheld => "login_withheld",
            Self::PasswordMissing => "password_missing",
            Self::MirrorRefused => "mirror_refused",
            Self::RedirectRefused => "redirect_refused",
            Self::Forbidden => "forbidden",
            Self::AddressRefused => "address_refused",
            Self::RefusedByStranger => "refused_by_stranger",
            Self::Throttled { .. } => "throttled",
            Self::RegistryError { .. } => "registry_error",
            Self::Network(_) => "network",
            Self::Tls(_) => "tls",
            Self::Timeout(_) => "timeout",
            Self::Malformed(_) => "malformed",
            Self::CorruptContent => "corrupt_content",
            Self::ForbiddenAddress => "forbidden_address",
            Self::ForeignRealm(_) => "foreign_realm",
            Self::NoHost => "no_host",
            Self::TooLate => "too_late",
            Self::Overloaded => "overloaded",
        }
    }
}

/// A manifest that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its digest, where the registry announced one or the content was read.
    pub digest: Option<Digest>,
    /// What kind of manifest it is.
    pub media: MediaKind,
    /// What of its content is known.
    pub content: Content,
    /// Whether a HEAD is answered 401, 403 or 404 where a GET brings it. containerd asks by HEAD first
    /// and tries GET after a 405 alone (`resolver.go`, `retryRequest`); CRI-O asks by GET. Or whether it is
    /// brought only to who logs in without being asked to, as CRI-O does.
    pub head_refused: bool,
}

/// The kinds of manifest that runtimes tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// An OCI image index or a Docker manifest list.
    Index,
    /// An OCI or Docker schema 2 image manifest.
    Manifest,
    /// Docker schema 1.
    Schema1,
    /// Anything else.
    Other,
}

/// What is known of a manifest's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It was not read.
    Unread,
    /// The platforms of an index, attestations left out. An entry without platform is `None`.
    Platforms(Arc<[Option<Platform>]>),
    /// The platform that the configuration of a lone manifest names, and how many bytes its layers
    /// are, packed, if the manifest says so.
    Config(Platform, Option<u64>),
    /// A lone manifest whose configuration was read and names no platform.
    NoPlatform,
    /// A manifest whose configuration is not that of an image: a chart, a signature.
    Artifact,
}

/// Error codes of the distribution specification that confirm that something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `MANIFEST_UNKNOWN`
    ManifestUnknown,
    /// `NAME_UNKNOWN`
    NameUnknown,
    /// `NOT_FOUND` (Harbor). It may be what a proxy cache has, and not what its upstream has.
    NotFound,
}

/// How a host could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkFault {
    /// The name does not resolve.
    Dns,
    /// The connection was refused, or there is no route.
    Refused,
    /// The connection was reset or closed before an answer.
    Reset,
    /// A proxy refused to connect.
    Proxy,
}

/// What was wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFault {
    /// The certificate is signed by nobody we trust.
    UnknownAuthority,
    /// The certificate is for another name.
    WrongName,
    /// The certificate has expired or is not valid yet.
    Expired,
    /// Plain HTTP was answered on the TLS port.
    PlainHttp,
    /// Anything else in the handshake.
    Handshake,
}

/// The steps that have a limit of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Name resolution.
    Resolve,
    /// Connection and TLS handshake.
    Connect,
    /// Waiting for the first byte of the answer.
    FirstByte,
    /// Reading the body.
    Body,
    /// The whole look-up.
    Whole,
}

/// What a registry said is left of its pull limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullsLeft {
    /// Pulls that are left.
    pub remaining: u32,
    /// For how long at most that counts: the window of the limit.
    pub window: Duration,
}

/// Which names a registry is to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The tags of the repository.
    Tags,
    /// The repositories of the registry, which most registries keep to themselves.
    /// <https://distribution.github.io/distribution/spec/api/#listing-repositories>
    Repositories,
}

/// A question for names: for hints only.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// The repository, or any reference of the registry.
    pub reference: ImageReference,
    /// Which names.
    pub listing: Listing,
    /// Whose answer is wanted; nothing asks anonymously.
    pub credential: Option<Credential>,
    /// The namespace on whose behalf it is asked, empty for nobody's: namespaces take turns.
    pub namespace: Arc<str>,
}

/// The tags of a repository, or the repositories of a registry, as far as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagList {
    /// The tags that parse as tags, in the registry's order.
    pub tags: Vec<Box<str>>,
    /// Whether pages were left out because a bound was reached.
    pub truncated: bool,
}
