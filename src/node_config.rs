//! Which hosts serve a registry: what containerd's `hosts.toml`, k3s' `registries.yaml` and
//! CRI-O's `registries.conf` say, in one form.
//!
//! A platform team hands Pullgate the very files that its nodes use. Pure: text goes in, routes
//! come out; reading directories and dialling are done elsewhere.

mod alias;
mod crio_registries;
mod endpoint;
mod hosts_toml;
mod registries_conf;
mod registries_yaml;
mod route;
mod toml_reader;

pub use endpoint::{
    Client, Endpoint, NodeLogin, Route, TlsSettings, default_endpoint, is_loopback_host,
};
pub(crate) use hosts_toml::certificates_only;
pub use hosts_toml::{parse_hosts_toml, registry_of_directory};
pub use registries_conf::parse_registries_conf;
pub(crate) use registries_conf::parse_registries_drop_in;
pub use registries_yaml::parse_registries_yaml;
pub use route::{FilesOf, MirrorFiles, Pattern, RegistryHosts, Rewrite, UpstreamRule};
pub use toml_reader::{MirrorError, MirrorFault};
