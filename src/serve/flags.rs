//! The flags of `pullgate serve` as they are typed. Every flag is also an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use url::Url;

use crate::cluster::ReportKind;
use crate::policy::{HostName, TokenRealm};
use crate::pull::Runtime;
use crate::telemetry::{LogFormat, LogLevel};

/// Where flags about reaching registries stand in the help.
pub(crate) const REGISTRY_HEADING: &str = "How registries are reached";
/// Where flags about the nodes' own settings stand in the help.
pub(crate) const NODES_HEADING: &str = "What the nodes have";

/// What one types.
const EXAMPLES: &str = "\
Examples:
  pullgate serve --self-signed ./tls --tls-san pullgate.pullgate.svc --path-token-file ./token \\
    --kubeconfig ~/.kube/config --policy policy.yaml
  pullgate serve --check-only --tls-cert tls.crt --tls-key tls.key --aggregated --policy policy.yaml";

/// Flags of `pullgate serve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeFlags {
    /// Where reviews are answered, over TLS
    #[arg(
        long,
        env = "PULLGATE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8443"
    )]
    pub listen: SocketAddr,

    /// Where /livez, /readyz and /metrics are answered, without TLS
    #[arg(
        long,
        env = "PULLGATE_ADMIN_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080"
    )]
    pub admin_listen: SocketAddr,

    /// File with the secret last part of the webhook's path, by which the API server proves
    /// itself (at least 16 characters; re-read when it changes). Where the webhook is registered
    /// by its Service, the API server takes only lower case letters, digits and - in paths
    #[arg(long, env = "PULLGATE_PATH_TOKEN_FILE", value_name = "FILE")]
    pub path_token_file: Option<PathBuf>,

    /// Authorities that sign the API server's client certificate, by which it proves itself
    #[arg(long, env = "PULLGATE_CLIENT_CA_FILE", value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// Serving certificate with its chain, PEM (re-read when it changes)
    #[arg(long, env = "PULLGATE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the serving certificate, PEM (re-read when it changes)
    #[arg(long, env = "PULLGATE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Make an authority and a certificate in this directory, keep them while they are good, and
    /// print the caBundle: for trying out
    #[arg(
        long,
        env = "PULLGATE_SELF_SIGNED",
        value_name = "DIR",
        conflicts_with_all = ["tls_cert", "tls_key"],
        requires = "tls_san"
    )]
    pub self_signed: Option<PathBuf>,

    /// A DNS name or IP address for the self-signed certificate (repeatable)
    #[arg(long, env = "PULLGATE_TLS_SAN", value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the group")]
    pub cluster: ClusterFlags,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the group")]
    pub own: OwnFlags,

    /// A PullgatePolicy document
    #[arg(long, env = "PULLGATE_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Name of the PullgatePolicy object of the cluster to work by; it is watched, and what becomes of
    /// it is written into its status. Until there is one the policy that was last accepted is in force,
    /// or the default policy where there was none
    #[arg(
        long,
        env = "PULLGATE_POLICY_FROM_CLUSTER",
        value_name = "NAME",
        conflicts_with = "policy",
        value_parser = object_name
    )]
    pub policy_from_cluster: Option<String>,

    /// File on a volume in which the memory of this cluster outlives a restart: what ran and failed
    /// here, and how verdicts compared with what nodes did. Written every few minutes and at the
    /// end; one that is damaged or of another cluster is dropped
    #[arg(long, env = "PULLGATE_SNAPSHOT_FILE", value_name = "FILE")]
    pub snapshot_file: Option<PathBuf>,

    /// Seconds in which the leader looks again at every image in use, one registry at a time; 0
    /// turns that off. Without --own-secret nobody leads
    #[arg(
        long,
        env = "PULLGATE_AUDIT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 3600,
        value_parser = clap::value_parser!(u32).range(0..=604_800)
    )]
    pub audit_seconds: u32,

    /// Write a report about the images in use of each namespace, in a kind that report UIs show; the
    /// leader does, from what it looks at again (see --audit-seconds)
    #[arg(long, env = "PULLGATE_POLICY_REPORTS", value_name = "GROUP", value_enum)]
    pub policy_reports: Option<ReportKind>,

    /// Serve a read-only page on the admin port for people who would rather look: who opens it signs
    /// in with a token of the cluster, and sees what they may list
    #[arg(long, env = "PULLGATE_WEB")]
    pub web: bool,

    /// OpenTelemetry collector that gets traces and metrics (OTLP over HTTP), such as
    /// http://collector.monitoring:4318
    #[expect(clippy::doc_markdown, reason = "--help shows the comment as it is written")]
    #[arg(long, env = "PULLGATE_OTLP_ENDPOINT", value_name = "URL", value_parser = collector)]
    pub otlp_endpoint: Option<Url>,

    /// How log lines are written
    #[arg(long, env = "PULLGATE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// From which level on log lines are written
    #[arg(long, env = "PULLGATE_LOG_LEVEL", value_enum, default_value_t)]
    pub log_level: LogLevel,

    /// Seconds between looks at files that may change: certificates, token, policy, mirrors
    #[arg(
        long,
        env = "PULLGATE_RELOAD_SECONDS",
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..=3600)
    )]
    pub reload_seconds: u16,

    /// Seconds to go on answering after a stop signal, while no longer ready
    #[arg(long, env = "PULLGATE_LAME_DUCK_SECONDS", value_name = "SECONDS", default_value_t = 5)]
    pub lame_duck_seconds: u8,

    /// Only read the flags and the files that they name, say what cannot be used, and exit: 0 if a
    /// replica could start with them, 2 if not. Neither cluster nor registry is contacted
    #[arg(long, env = "PULLGATE_CHECK_ONLY")]
    pub check_only: bool,

    #[command(flatten, next_help_heading = REGISTRY_HEADING)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the group")]
    pub registry: RegistryFlags,

    #[command(flatten, next_help_heading = NODES_HEADING)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the group")]
    pub nodes: NodeFlags,
}

/// Which cluster is asked.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterFlags {
    /// Kubeconfig of the cluster (in a pod: its own ServiceAccount, if neither this nor --context
    /// is given)
    #[arg(long, env = "PULLGATE_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, if not its current one
    #[arg(long, env = "PULLGATE_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

/// What the nodes have of their own, given as the very files that they use.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeFlags {
    /// The kubelet's credential provider configuration
    #[arg(
        long,
        env = "PULLGATE_IMAGE_CREDENTIAL_PROVIDER_CONFIG",
        value_name = "FILE",
        requires = "image_credential_provider_bin_dir"
    )]
    pub image_credential_provider_config: Option<PathBuf>,

    /// Directory of the credential provider plugins
    #[arg(
        long,
        env = "PULLGATE_IMAGE_CREDENTIAL_PROVIDER_BIN_DIR",
        value_name = "DIR",
        requires = "image_credential_provider_config"
    )]
    pub image_credential_provider_bin_dir: Option<PathBuf>,

    /// The docker configuration that the kubelet reads on the nodes
    #[arg(long, env = "PULLGATE_NODE_DOCKER_CONFIG", value_name = "FILE")]
    pub node_docker_config: Option<PathBuf>,

    /// The nodes' container runtime, such as containerd://2.1.8 or cri-o [default: as the nodes
    /// report]
    #[expect(clippy::doc_markdown, reason = "--help shows the comment as it is written")]
    #[arg(long, env = "PULLGATE_RUNTIME", value_name = "RUNTIME", value_parser = runtime)]
    pub runtime: Option<Runtime>,
}

/// The address of a collector.
fn collector(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.has_host() && url.query().is_none());
    url.ok_or_else(|| "give an http or https address".to_owned())
}

/// The name of an object of the cluster.
fn object_name(text: &str) -> Result<String, String> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let fits = text.len() <= 253 && text.split('.').all(part);
    fits.then(|| text.to_owned()).ok_or_else(|| "give the name of an object".to_owned())
}

/// The word of a runtime, with or without its version.
fn runtime(text: &str) -> Result<Runtime, String> {
    match (text, Runtime::parse(text)) {
        ("cri-o" | "crio", _) => Ok(Runtime::CriO),
        // Which version decides some cases, so without it they stay open.
        ("containerd", _) => Ok(Runtime::Other),
        (_, Runtime::Other) => Err("give cri-o, containerd or containerd://MAJOR.MINOR".to_owned()),
        (_, runtime) => Ok(runtime),
    }
}

/// How registries are reached.
#[derive(Debug, Clone, Default, Args)]
pub struct RegistryFlags {
    /// Directory with a hosts.toml per registry, as containerd has it on the nodes
    #[arg(
        long,
        env = "PULLGATE_REGISTRY_HOSTS_DIR",
        value_name = "DIR",
        conflicts_with_all = ["k3s_registries", "crio_registries"]
    )]
    pub registry_hosts_dir: Option<PathBuf>,

    /// registries.yaml, as k3s or RKE2 has it on the nodes
    #[arg(
        long,
        env = "PULLGATE_K3S_REGISTRIES",
        value_name = "FILE",
        conflicts_with = "crio_registries"
    )]
    pub k3s_registries: Option<PathBuf>,

    /// registries.conf, as CRI-O has it on the nodes; registries.conf.d beside it is read too
    #[arg(long, env = "PULLGATE_CRIO_REGISTRIES", value_name = "FILE")]
    pub crio_registries: Option<PathBuf>,

    /// Addresses that may be contacted although they are loopback, link-local or the like
    /// (repeatable)
    #[arg(long, env = "PULLGATE_ALLOW_ADDRESS", value_name = "CIDR", value_delimiter = ',')]
    pub allow_address: Vec<IpNet>,

    /// The cluster's Service and Pod ranges: contacted only for registries that the policy
    /// declares as in-cluster (repeatable)
    #[arg(long, env = "PULLGATE_CLUSTER_RANGE", value_name = "CIDR", value_delimiter = ',')]
    pub cluster_range: Vec<IpNet>,

    /// A token service under another domain that a registry's logins may be sent to; both are
    /// hosts, or "*." and a domain (repeatable)
    #[arg(
        long,
        env = "PULLGATE_TOKEN_REALM",
        value_name = "REGISTRY=HOST",
        value_delimiter = ',',
        value_parser = token_realm
    )]
    pub token_realm: Vec<TokenRealm>,

    /// More authorities that sign registries' certificates, PEM
    #[arg(long, env = "PULLGATE_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// A registry and the token service that its logins may be sent to.
fn token_realm(text: &str) -> Result<TokenRealm, String> {
    let pair = text.split_once('=').and_then(|(registry, host)| {
        Some(TokenRealm { registry: HostName::parse(registry)?, host: HostName::parse(host)? })
    });
    pair.ok_or_else(|| "give REGISTRY=HOST, without scheme and port".to_owned())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_realm_is_a_pair_of_hosts() {
        let pair = token_realm("*.a.example=t.example").unwrap();
        assert_eq!((pair.registry.as_str(), pair.host.as_str()), ("*.a.example", "t.example"));
        for wrong in
            ["a.example", "=t.example", "a.example=", "a.example=https://t.example", "a:5=t"]
        {
            assert!(token_realm(wrong).is_err(), "{wrong}");
        }
    }
}
