//! Why Pullgate cannot look into a registry at all, which nodes may well reach.

use super::{NetworkFault, Outcome, Step, TlsFault};

/// Declares [`BlindReason`] with its words, in one table.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $words:literal, $fix:literal;)*) => {
        /// Why nothing of a registry can be seen: a closed list, whose words are an interface.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum BlindReason { $($(#[$doc])* $variant,)* }

        impl BlindReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The reason in words that continue a line.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }

            /// What changes it: a value of the chart, a field of the policy, or who is to act.
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)* }
            }
        }
    };
}

reasons! {
    /// Its certificate is signed by an authority that Pullgate was not given.
    Authority = "authority",
        "its certificate is signed by an authority that Pullgate was not given",
        "chart value registries.authoritiesConfigMapName";
    /// TLS fails in another way.
    Tls = "tls",
        "TLS with it fails",
        "the registry's certificate, or the chart value registries.authoritiesConfigMapName";
    /// A proxy stands between and refuses.
    Proxy = "proxy",
        "the proxy between refuses",
        "HTTPS_PROXY and NO_PROXY in the chart value extraEnv";
    /// It sends logins to a host of others.
    Realm = "realm",
        "it wants credentials on a foreign host",
        "chart value registries.tokenRealms";
    /// Its name does not resolve where Pullgate runs.
    Dns = "dns",
        "its name does not resolve where Pullgate runs",
        "the DNS of the cluster, or the chart value networkPolicy";
    /// Its address is one that Pullgate does not contact.
    Address = "address",
        "its address is one that Pullgate does not contact",
        "registries.inCluster in the policy, or the chart value registries.allowAddresses";
    /// It cannot be reached from where Pullgate runs.
    Egress = "egress",
        "it cannot be reached from where Pullgate runs",
        "chart value networkPolicy.egressPorts";
}

impl BlindReason {
    /// The reason that an outcome speaks of; nothing of one in which the registry was seen, or in
    /// which nothing was learned.
    pub const fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Tls(TlsFault::UnknownAuthority) => Some(Self::Authority),
            Outcome::Tls(_) => Some(Self::Tls),
            Outcome::Network(NetworkFault::Proxy) => Some(Self::Proxy),
            Outcome::Network(NetworkFault::Dns) => Some(Self::Dns),
            Outcome::Network(_) | Outcome::Timeout(Step::Connect) => Some(Self::Egress),
            Outcome::ForeignRealm => Some(Self::Realm),
            Outcome::ForbiddenAddress => Some(Self::Address),
            _ => None,
        }
    }
}

/// A registry that nodes use and Pullgate cannot look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlindSpot {
    /// Its host.
    pub host: Box<str>,
    /// Why.
    pub reason: BlindReason,
}

impl BlindSpot {
    /// In a sentence, with what changes it.
    pub fn sentence(&self) -> String {
        let (words, fix) = (self.reason.words(), self.reason.fix());
        format!("{}: {words} ({fix})", self.host)
    }
}
