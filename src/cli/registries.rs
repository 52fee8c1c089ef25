//! How registries are reached, from flags, policy and environment, for every subcommand alike.

use crate::config::RegistrySettings;
use crate::policy::PullPolicy;
use crate::registry::{InClusterHosts, ProxyOptions, RealmPair, RegistryOptions};

/// The options without the nodes' mirrors, which each subcommand loads in its own way.
pub(super) fn options(settings: RegistrySettings, policy: &PullPolicy) -> RegistryOptions {
    let RegistrySettings {
        mirrors: _,
        allowed_addresses,
        authorities,
        cluster_ranges,
        token_realms,
    } = settings;
    let spec = policy.spec();
    let in_cluster = spec.registries.in_cluster.iter().map(|host| host.as_str().into());
    RegistryOptions {
        allow: allowed_addresses,
        cluster_ranges,
        in_cluster_hosts: InClusterHosts(in_cluster.collect()),
        ca_files: authorities.into_iter().collect(),
        realms: token_realms
            .into_iter()
            .map(|(registry, realm)| RealmPair { registry, realm })
            .collect(),
        proxy: ProxyOptions::from_variables(|name| std::env::var(name).ok()),
        ..RegistryOptions::default()
    }
}
