//! What Pullgate keeps of its own in the cluster: the flags that name it.

use clap::Args;

/// What Pullgate keeps of its own in the cluster.
#[derive(Debug, Clone, Default, Args)]
pub struct OwnFlags {
    /// Secret of its own namespace in which Pullgate keeps the token of the webhook's path, and
    /// its authority and certificate unless --tls-cert is given. It makes and renews them, and
    /// writes path and CA bundle into the webhook configurations. The policy in force is kept beside
    /// it, in NAME-policy-in-force
    #[arg(
        long,
        env = "PULLGATE_OWN_SECRET",
        value_name = "NAME",
        requires_all = ["own_namespace", "own_service", "own_name", "webhook_configuration"],
        conflicts_with_all = ["path_token_file", "self_signed"]
    )]
    pub own_secret: Option<String>,

    /// Namespace that Pullgate runs in
    #[arg(long, env = "PULLGATE_OWN_NAMESPACE", value_name = "NAME")]
    pub own_namespace: Option<String>,

    /// Service by which the API server calls it
    #[arg(long, env = "PULLGATE_OWN_SERVICE", value_name = "NAME")]
    pub own_service: Option<String>,

    /// Name of this replica, such as its pod's
    #[arg(long, env = "PULLGATE_OWN_NAME", value_name = "NAME")]
    pub own_name: Option<String>,

    /// Answer reviews that the API server passes on by its aggregation layer (an API
    /// service, v1.admission.pullgate.dev): it proves itself with its front-proxy certificate, and no secret
    /// stands in any URL
    #[arg(long, env = "PULLGATE_AGGREGATED")]
    pub aggregated: bool,

    /// Take the path token for proof enough to use Secrets and to tell history. API servers write it
    /// into users' errors: for tests and trying out
    #[arg(long, env = "PULLGATE_TRUST_PATH")]
    pub trust_path: bool,

    /// Validating and mutating webhook configuration that path and CA bundle are written into
    #[arg(long, env = "PULLGATE_WEBHOOK_CONFIGURATION", value_name = "NAME")]
    pub webhook_configuration: Option<String>,
}

/// The names of what Pullgate keeps of its own in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSettings {
    /// The Secret, and the Lease beside it; the `ConfigMap` with the policy in force is named after it.
    pub secret: String,
    /// The namespace.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// This replica.
    pub replica: String,
    /// The webhook configurations.
    pub configurations: String,
}

impl OwnFlags {
    /// All names, if the Secret is given; the flags require each other.
    pub(super) fn settings(self) -> Option<OwnSettings> {
        Some(OwnSettings {
            secret: self.own_secret?,
            namespace: self.own_namespace?,
            service: self.own_service?,
            replica: self.own_name?,
            configurations: self.webhook_configuration?,
        })
    }
}
