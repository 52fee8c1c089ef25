//! How registries are reached, from flags, policy and environment, for every subcommand alike.

use crate::credential::Credential;
use crate::image::ImageReference;
use crate::node::{FollowedNodeFiles, NodeFiles};
use crate::policy::PullgatePolicy;
use crate::registry::{
    InClusterHosts, MirrorLogins, ProxyOptions, RegistryOptions, RegistryPolicy,
};
use crate::serve::RegistrySettings;

/// The options without the nodes' mirrors, which each subcommand loads in its own way.
pub(crate) fn options(settings: RegistrySettings, policy: &PullgatePolicy) -> RegistryOptions {
    let RegistrySettings {
        mirrors: _,
        allowed_addresses,
        authorities,
        cluster_ranges,
        token_realms,
    } = settings;
    RegistryOptions {
        allow: allowed_addresses,
        cluster_ranges,
        directions: directions(policy),
        ca_files: authorities.into_iter().collect(),
        realms: token_realms,
        proxy: ProxyOptions::from_variables(|name| std::env::var(name).ok()),
        ..RegistryOptions::default()
    }
}

/// What a policy says of registries.
pub(super) fn directions(policy: &PullgatePolicy) -> RegistryPolicy {
    let spec = policy.spec();
    let in_cluster = spec.registries.in_cluster.iter().map(|registry| {
        // Addresses are opened for a host, whatever its port.
        let host = registry.as_str();
        host.rsplit_once(':').map_or(host, |(host, _port)| host).into()
    });
    RegistryPolicy {
        in_cluster: InClusterHosts(in_cluster.collect()),
        budgets: spec.registries.budgets.clone(),
        realms: spec.registries.token_realms.clone(),
        ..RegistryPolicy::default()
    }
}

impl MirrorLogins for NodeFiles {
    fn login(&self, at_mirror: &ImageReference) -> Option<Credential> {
        self.mirror_login(at_mirror)
    }
}

impl MirrorLogins for FollowedNodeFiles {
    fn login(&self, at_mirror: &ImageReference) -> Option<Credential> {
        self.current().mirror_login(at_mirror)
    }
}
