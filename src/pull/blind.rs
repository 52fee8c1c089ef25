//! Why Pullgate cannot reach a registry at all, which nodes may well reach.

use std::net::IpAddr;

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
            pub const fn message(self) -> &'static str {
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
        "registries.tokenRealms in the policy";
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
        "chart value networkPolicy.extraEgressPorts";
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
            Outcome::ForeignRealm(_) => Some(Self::Realm),
            Outcome::ForbiddenAddress => Some(Self::Address),
            _ => None,
        }
    }
}

/// A registry that nodes use and Pullgate cannot reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlindSpot {
    /// Its host.
    pub host: Box<str>,
    /// Why.
    pub reason: BlindReason,
    /// The host where it wants credentials, if that is why: for those who run Pullgate, since a
    /// registry chose it.
    pub realm: Option<Box<str>>,
}

impl BlindSpot {
    /// In a sentence, with what changes it.
    pub fn sentence(&self) -> String {
        let (words, fix) = (self.reason.message(), self.reason.fix());
        format!("{}: {words} ({fix})", self.host)
    }

    /// The same for those who run Pullgate, with the very pair that the policy has to list.
    pub fn sentence_for_operators(&self) -> String {
        let Some(realm) = &self.realm else { return self.sentence() };
        let registry = self.host.rsplit_once(':').map_or(&*self.host, |(host, _port)| host);
        format!("{}: {}", self.host, realm_to_list(registry, realm))
    }
}

/// What to list so that a registry's logins may be sent to its token service on another host.
pub(crate) fn realm_to_list(registry: &str, realm: &str) -> String {
    let is_address = |host: &str| host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    if is_address(registry) || is_address(realm) {
        return format!(
            "it wants credentials on {realm} (only names can be listed, not addresses)"
        );
    }
    format!(
        "it wants credentials on {realm} (if that is its own token service, list {{registry: \
         {registry}, host: {realm}}} in registries.tokenRealms of the policy, or give \
         --token-realm {registry}={realm})"
    )
}
