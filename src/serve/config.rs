//! The checked configuration of `pullgate serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::flags::{ClusterFlags, NodeFlags, OwnSettings, RegistryFlags, ServeFlags};
use crate::cluster::{ClusterTarget, ReportKind};
use crate::node_config::RegistryHosts;
use crate::policy::TokenRealm;
use crate::pull::Runtime;
use crate::registry::{HostsError, HostsSource};
use crate::telemetry::{LogFormat, LogLevel};

/// Why flags cannot be used. Each names the flag and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing tells the API server from anybody else.
    #[error(
        "neither --aggregated nor --path-token-file nor --client-ca-file nor --own-secret is given: \
         anybody in the cluster could send forged reviews and learn from the answers, so one of them is needed"
    )]
    NoProof,
    /// There is no serving certificate.
    #[error(
        "there is no serving certificate: give --tls-cert and --tls-key, or --self-signed DIR \
         with --tls-san"
    )]
    NoCertificate,
    /// Only half of a certificate is given, or two sources of one.
    #[error("give --tls-cert and --tls-key together, or --self-signed DIR with --tls-san")]
    CertificateSource,
}

/// How callers prove that they are the API server; at least one is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerProof {
    /// File of the path token.
    pub token_file: Option<PathBuf>,
    /// File of the authorities for client certificates.
    pub client_authorities: Option<PathBuf>,
    /// Whether the API server's aggregation layer passes reviews on.
    pub aggregated: bool,
    /// Whether the path token is proof enough for all.
    pub trusts_path: bool,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// Given files.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Made by ourselves.
    SelfSigned {
        /// Where it is kept.
        directory: PathBuf,
        /// For which names.
        names: Vec<String>,
    },
    /// Made by ourselves and kept in our own Secret.
    Kept,
}

impl TlsSource {
    /// The one that these flags name.
    fn of(
        files: (Option<PathBuf>, Option<PathBuf>),
        (self_signed, names): (Option<PathBuf>, Vec<String>),
        keeps_its_own: bool,
    ) -> Result<Self, ConfigError> {
        match (files, self_signed) {
            ((Some(certificate), Some(key)), None) => Ok(Self::Files { certificate, key }),
            ((None, None), Some(directory)) if !names.is_empty() => {
                Ok(Self::SelfSigned { directory, names })
            }
            ((None, None), None) if keeps_its_own => Ok(Self::Kept),
            ((None, None), None) => Err(ConfigError::NoCertificate),
            _ => Err(ConfigError::CertificateSource),
        }
    }
}

impl From<ClusterFlags> for ClusterTarget {
    fn from(flags: ClusterFlags) -> Self {
        let ClusterFlags { kubeconfig, context } = flags;
        if kubeconfig.is_none() && context.is_none() {
            return Self::InCluster;
        }
        Self::Kubeconfig { path: kubeconfig, context }
    }
}

/// What the nodes have of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSettings {
    /// The kubelet's credential providers: configuration and directory of plugins.
    pub credential_providers: Option<(PathBuf, PathBuf)>,
    /// The kubelet's docker configuration.
    pub docker_config: Option<PathBuf>,
    /// Their container runtime, where the platform team says it.
    pub runtime: Option<Runtime>,
}

impl NodeSettings {
    /// Whether any file with credentials was given.
    pub(crate) fn has_files(&self) -> bool {
        self.credential_providers.is_some() || self.docker_config.is_some()
    }
}

impl From<NodeFlags> for NodeSettings {
    fn from(flags: NodeFlags) -> Self {
        let NodeFlags {
            image_credential_provider_config,
            image_credential_provider_bin_dir,
            node_docker_config,
            runtime,
        } = flags;
        Self {
            credential_providers: image_credential_provider_config
                .zip(image_credential_provider_bin_dir),
            docker_config: node_docker_config,
            runtime,
        }
    }
}

/// How registries are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// The nodes' mirrors.
    pub mirrors: Option<HostsSource>,
    /// Addresses that may be contacted whatever they are.
    pub allowed_addresses: Vec<IpNet>,
    /// More trusted authorities.
    pub authorities: Option<PathBuf>,
    /// The cluster's own ranges, closed but to registries that are declared as in-cluster.
    pub cluster_ranges: Vec<IpNet>,
    /// Registries, and the token services that their logins may be sent to.
    pub token_realms: Vec<TokenRealm>,
}

impl RegistrySettings {
    /// Reads the nodes' mirrors, where they were given.
    pub fn hosts(&self) -> Result<Option<RegistryHosts>, HostsError> {
        self.mirrors.as_ref().map(HostsSource::load).transpose()
    }
}

impl From<RegistryFlags> for RegistrySettings {
    fn from(flags: RegistryFlags) -> Self {
        let RegistryFlags {
            registry_hosts_dir,
            k3s_registries,
            crio_registries,
            allow_address,
            ca_file,
            cluster_range,
            token_realm,
        } = flags;
        Self {
            mirrors: registry_hosts_dir
                .map(HostsSource::Containerd)
                .or(k3s_registries.map(HostsSource::K3s))
                .or(crio_registries.map(HostsSource::Crio)),
            allowed_addresses: allow_address,
            authorities: ca_file,
            cluster_ranges: cluster_range,
            token_realms: token_realm,
        }
    }
}

/// Where the policy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyPlace {
    /// In a file.
    File(PathBuf),
    /// In the object of this name.
    Cluster(String),
}

/// Everything that `pullgate serve` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where reviews are answered.
    pub listen: SocketAddr,
    /// Where the admin port is.
    pub admin_listen: SocketAddr,
    /// Who is answered.
    pub callers: CallerProof,
    /// With which certificate.
    pub tls: TlsSource,
    /// For which cluster.
    pub cluster: ClusterTarget,
    /// What is kept of our own in the cluster, if anything is.
    pub own: Option<OwnSettings>,
    /// Where the policy is; the default policy if not given.
    pub policy: Option<PolicyPlace>,
    /// How registries are reached.
    pub registry: RegistrySettings,
    /// What the nodes have of their own.
    pub nodes: NodeSettings,
    /// Where the memory outlives a restart, if anywhere.
    pub snapshot: Option<PathBuf>,
    /// How long a look at every image in use takes; nothing, if nobody looks.
    pub audit: Option<Duration>,
    /// In which kind reports about images in use are written, if they are.
    pub policy_reports: Option<ReportKind>,
    /// Whether people may look at pages on the admin port.
    pub pages: bool,
    /// Which collector gets traces and metrics, if any.
    pub otlp: Option<Url>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: LogLevel,
    /// How often files that may change are looked at.
    pub reload: Duration,
    /// How long to go on answering after a stop signal.
    pub lame_duck: Duration,
    /// Whether files are only read, to see whether they can be used.
    pub check_only: bool,
}

impl TryFrom<ServeFlags> for Config {
    type Error = ConfigError;

    fn try_from(flags: ServeFlags) -> Result<Self, ConfigError> {
        let ServeFlags {
            listen,
            admin_listen,
            path_token_file,
            client_ca_file,
            tls_cert,
            tls_key,
            self_signed,
            tls_san,
            cluster,
            own,
            policy,
            policy_from_cluster,
            registry,
            nodes,
            snapshot_file,
            audit_seconds,
            policy_reports,
            web: pages,
            otlp_endpoint,
            log_format,
            log_level,
            reload_seconds,
            lame_duck_seconds,
            check_only,
        } = flags;
        let (aggregated, trusts_path) = (own.aggregated, own.trust_path);
        let own = own.settings();
        let proof = path_token_file.is_some() || client_ca_file.is_some() || aggregated;
        if !proof && own.is_none() {
            return Err(ConfigError::NoProof);
        }
        let tls = TlsSource::of((tls_cert, tls_key), (self_signed, tls_san), own.is_some())?;
        Ok(Self {
            listen,
            admin_listen,
            callers: CallerProof {
                token_file: path_token_file,
                client_authorities: client_ca_file,
                aggregated,
                trusts_path,
            },
            tls,
            cluster: cluster.into(),
            own,
            policy: policy.map(PolicyPlace::File).or(policy_from_cluster.map(PolicyPlace::Cluster)),
            registry: registry.into(),
            nodes: nodes.into(),
            snapshot: snapshot_file,
            audit: (audit_seconds > 0).then(|| Duration::from_secs(audit_seconds.into())),
            policy_reports,
            pages,
            otlp: otlp_endpoint,
            log_format,
            log_level,
            reload: Duration::from_secs(reload_seconds.into()),
            lame_duck: Duration::from_secs(lame_duck_seconds.into()),
            check_only,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};
    use rstest::rstest;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let command = ServeFlags::augment_args(Command::new("serve").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).map_err(|e| e.to_string())?;
        let flags = ServeFlags::from_arg_matches(&matches).map_err(|e| e.to_string())?;
        Config::try_from(flags).map_err(|e| e.to_string())
    }

    const TOKEN: [&str; 2] = ["--path-token-file", "t"];
    const FILES: [&str; 4] = ["--tls-cert", "c", "--tls-key", "k"];

    #[test]
    fn the_least_that_starts() {
        let config = parse(&[TOKEN.as_slice(), &FILES].concat()).unwrap();
        assert_eq!(config.listen.port(), 8443);
        assert_eq!(config.admin_listen.port(), 8080);
        assert_eq!(config.cluster, ClusterTarget::InCluster);
        assert_eq!(config.tls, TlsSource::Files { certificate: "c".into(), key: "k".into() });
        assert_eq!(config.lame_duck, Duration::from_secs(5));
    }

    #[test]
    fn everything_given() {
        let config = parse(&[
            "--client-ca-file=ca",
            "--self-signed=d",
            "--tls-san=a.b.svc,127.0.0.1",
            "--tls-san=c",
            "--kubeconfig=k",
            "--context=x",
            "--allow-address=127.0.0.0/8",
            "--allow-address=::1/128",
            "--registry-hosts-dir=h",
            "--ca-file=r",
            "--policy=p",
            "--log-format=json",
        ])
        .unwrap();
        let names = ["a.b.svc", "127.0.0.1", "c"].map(str::to_owned).to_vec();
        assert_eq!(config.tls, TlsSource::SelfSigned { directory: "d".into(), names });
        assert_eq!(config.registry.allowed_addresses.len(), 2);
        assert_eq!(config.registry.mirrors, Some(HostsSource::Containerd("h".into())));
        assert_eq!(config.log_format, LogFormat::Json);
        let (path, context) = (Some("k".into()), Some("x".to_owned()));
        assert_eq!(config.cluster, ClusterTarget::Kubeconfig { path, context });
    }

    const OWN: [&str; 5] = [
        "--own-secret=s",
        "--own-namespace=n",
        "--own-service=v",
        "--own-name=r",
        "--webhook-configuration=c",
    ];

    #[test]
    fn what_is_kept_in_the_cluster_is_proof_and_certificate() {
        let config = parse(&OWN).unwrap();
        assert_eq!(config.tls, TlsSource::Kept);
        assert_eq!(config.own.unwrap().secret, "s");
        let config = parse(&[OWN.as_slice(), &FILES].concat()).unwrap();
        assert!(matches!(config.tls, TlsSource::Files { .. }) && config.own.is_some());
    }

    #[rstest]
    #[case::half_own(&["--own-secret=s"], "--own-namespace")]
    #[case::no_proof(&["--tls-cert=c", "--tls-key=k"], "neither --aggregated nor --path-token-file nor --client-ca-file")]
    #[case::no_certificate(&["--path-token-file=t"], "there is no serving certificate")]
    #[case::half_a_pair(&["--path-token-file=t", "--tls-cert=c"], "--tls-key")]
    #[case::no_names(&["--path-token-file=t", "--self-signed=d"], "--tls-san")]
    #[case::two_sources(&["--path-token-file=t", "--self-signed=d", "--tls-san=a", "--tls-cert=c", "--tls-key=k"], "cannot be used with")]
    #[case::two_mirrors(&["--registry-hosts-dir=a", "--crio-registries=b"], "cannot be used with")]
    #[case::providers_without_plugins(&["--image-credential-provider-config=a"], "--image-credential-provider-bin-dir")]
    #[case::two_policies(&["--policy=a", "--policy-from-cluster=b"], "cannot be used with")]
    #[case::no_name(&["--policy-from-cluster=a b"], "--policy-from-cluster")]
    #[case::no_collector(&["--otlp-endpoint=collector:4318"], "--otlp-endpoint")]
    #[case::no_report(&["--policy-reports=yes"], "--policy-reports")]
    #[case::no_runtime(&["--runtime=docker"], "--runtime")]
    #[case::no_address(&["--listen=nowhere"], "--listen")]
    #[case::no_cidr(&["--allow-address=10.0.0.0/99"], "--allow-address")]
    #[case::no_format(&["--log-format=xml"], "--log-format")]
    fn what_cannot_be_used_is_named(#[case] arguments: &[&str], #[case] words: &str) {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn every_flag_is_an_environment_variable() {
        let command = ServeFlags::augment_args(Command::new("serve"));
        for argument in command.get_arguments() {
            let long = argument.get_long().expect("every argument has a long name");
            let expected = format!("PULLGATE_{}", long.to_uppercase().replace('-', "_"));
            let variable = argument.get_env().and_then(|name| name.to_str());
            assert_eq!(variable, Some(expected.as_str()), "--{long}");
        }
    }
}
