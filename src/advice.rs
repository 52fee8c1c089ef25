//! What to do about a pull that will fail: kinds of advice, candidates, and their ranking.
//!
//! Pure: it proposes candidates, best first; proving them is the review's work, and only what was
//! proven is ever said. Names that a registry supplied are candidates only if they are like what
//! the user wrote.

mod command;
mod correct;
mod nearest;
mod related;
mod platform;
mod repository;
mod secret;
mod tag;
mod version;
mod text;

pub use command::delete_pods;
pub(crate) use command::{CommandTarget, add_to_service_account};
pub(crate) use correct::corrections;
pub(crate) use nearest::nearest_tags;
pub use nearest::{Nearness, spellings};
pub use platform::{already_on_nodes, built_for, fitting_nodes};
pub(crate) use repository::of_same_name;
pub use repository::{TeamPaths, misspelt};
pub use secret::{SecretFault, certificate_expires, fix_secret, secret_expires};
pub(crate) use secret::{login_command, login_name};
pub(crate) use tag::{rank_known_tags, rank_namesakes};

use serde::Serialize;

/// One thing to do, proven before it is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What kind of thing.
    pub kind: AdviceKind,
    /// The tag, secret, reference or selector itself, to be used as it is.
    pub value: Box<str>,
    /// The words for a person, continuing a line: no capital, no full stop.
    pub message: String,
    /// A command that does it, for reports with room for one. No secret in it: what only the
    /// person knows is a word in angle brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Advice {
    /// Advice without a command.
    pub fn new(kind: AdviceKind, value: impl Into<Box<str>>, message: impl Into<String>) -> Self {
        Self { kind, value: value.into(), message: message.into(), command: None }
    }
}

/// Declares [`AdviceKind`] with its words, in one table.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal;)*) => {
        /// The kinds of advice: a closed list, whose words are an interface.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum AdviceKind { $($(#[$doc])* $variant,)* }

        impl AdviceKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in reports and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

kinds! {
    /// The name as it was most likely meant, where the one written is none.
    CorrectName = "correct_name";
    /// A tag of the same repository that runs in this cluster and can be pulled.
    KnownGoodTag = "known_good_tag";
    /// The digest that ran here under this tag and can still be pulled.
    LastGoodDigest = "last_good_digest";
    /// A tag of the same repository that is like the one written and can be pulled.
    NearestTag = "nearest_tag";
    /// An image of the same name elsewhere that runs in this cluster and can be pulled.
    NearestRepository = "nearest_repository";
    /// A pull secret of the same namespace that can pull the image.
    PullSecret = "pull_secret";
    /// A pull secret that the pod names and that is of no use, and how to mend it.
    FixSecret = "fix_secret";
    /// A pull secret whose login works now and expires soon.
    SecretExpires = "secret_expires";
    /// A client certificate that nodes show to the registry, good now, that expires soon.
    CertificateExpires = "certificate_expires";
    /// Another place that has the image and answers.
    OtherSource = "other_source";
    /// A pull policy under which the nodes would pull it.
    PullPolicy = "pull_policy";
    /// The nodes have the image already: not asking the registry would do.
    ImageOnNodes = "image_on_nodes";
    /// What the image is built for, and the node selector that would do.
    Platform = "platform";
    /// What to do about a registry that lets nobody pull more for now.
    Throttled = "throttled";
    /// The Service of an in-cluster registry behind which nobody answers.
    RegistryService = "registry_service";
    /// A network policy in front of an in-cluster registry's pods.
    NetworkPolicy = "network_policy";
    /// The job that was to push the image, and how far it is.
    BuildJob = "build_job";
    /// How many pods of the previous revision go on running.
    KeepsRunning = "keeps_running";
    /// A tag that means different images, or may: the digest to pin.
    MutableTag = "mutable_tag";
    /// The digest that pods to come run, where others run another one under the same tag.
    DigestDrift = "digest_drift";
    /// How far it can be said that a registry's pull limit will not do.
    PullQuota = "pull_quota";
}

impl AdviceKind {
    /// Whether it says that what works now soon does not.
    pub(crate) const fn is_an_end(self) -> bool {
        matches!(self, Self::SecretExpires | Self::CertificateExpires)
    }
}

impl Serialize for AdviceKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
