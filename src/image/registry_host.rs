//! The names of Docker Hub: one registry, whatever is written or dialled for it.

/// Docker Hub, as it stands in every reference.
pub const DOCKER_HUB: &str = "docker.io";
/// What runtimes dial for it.
pub const DOCKER_HUB_DIALLED: &str = "registry-1.docker.io";
/// What docker configurations call it, and references did long ago.
pub const DOCKER_HUB_LEGACY: &str = "index.docker.io";
/// Its other hosts: they stand in messages.
const OTHERS: &[&str] = &[
    "auth.docker.io",
    "registry.hub.docker.com",
    "hub.docker.com",
    "production.cloudflare.docker.com",
];

/// The registry of a host: Docker Hub's hosts are one.
pub fn registry_of_host(host: &str) -> &str {
    let all = [DOCKER_HUB, DOCKER_HUB_LEGACY, DOCKER_HUB_DIALLED];
    let is_hub = all.iter().chain(OTHERS).any(|hub| host.eq_ignore_ascii_case(hub));
    if is_hub { DOCKER_HUB } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_many_hosts_and_others_have_one() {
        for host in ["docker.io", "registry-1.docker.io", "Index.Docker.io", "auth.docker.io"] {
            assert_eq!(registry_of_host(host), DOCKER_HUB);
        }
        assert_eq!(registry_of_host("docker.io.example.com"), "docker.io.example.com");
    }
}
