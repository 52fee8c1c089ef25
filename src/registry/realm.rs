//! Where a registry may send us for a token: to a host that its credentials belong to.
//!
//! The realm of a challenge is an address that the registry chose. It is used only if it is the
//! registry's own host, shares its registrable domain, or is a listed pair; everything else would
//! hand credentials, or the answers of internal services, to whoever runs the registry. Pure.

use url::{Host, Url};

use crate::policy::TokenRealm;

/// Registries whose token service lives under another registrable domain.
const KNOWN_PAIRS: &[(&str, &str)] = &[
    // Docker Hub's names; the second is the host that is dialled.
    ("docker.io", "auth.docker.io"),
    ("registry-1.docker.io", "auth.docker.io"),
    ("index.docker.io", "auth.docker.io"),
    // The vanity host of LinuxServer.io answers with GitHub's challenge.
    ("lscr.io", "ghcr.io"),
    ("nvcr.io", "authn.nvidia.com"),
    // Scaleway: https://api.scaleway.com/registry-internal/…
    ("*.scw.cloud", "api.scaleway.com"),
];

/// Public token services that hand anybody an anonymous token: asking them gives nothing away,
/// so vanity hosts in front of these registries work without credentials.
const PUBLIC_SERVICES: &[&str] =
    &["auth.docker.io", "ghcr.io", "quay.io", "public.ecr.aws", "gitlab.com", "gcr.io"];

/// Whether a token may be asked for at `realm` on behalf of the registry at `registry`;
/// `anonymous` if no credential would be sent.
pub(crate) fn may_ask<'a>(
    registry: &Url,
    realm: &Url,
    anonymous: bool,
    listed: impl IntoIterator<Item = &'a TokenRealm>,
) -> bool {
    let scheme_fits = match realm.scheme() {
        "https" => true,
        "http" => registry.scheme() == "http",
        _ => false,
    };
    if !scheme_fits || !realm.username().is_empty() || realm.password().is_some() {
        return false;
    }
    let (Some(registry), Some(realm)) = (registry.host(), realm.host()) else { return false };
    if registry == realm {
        return true;
    }
    let (Host::Domain(registry), Host::Domain(realm)) = (registry, realm) else { return false };
    let (registry, realm) = (registry.trim_end_matches('.'), realm.trim_end_matches('.'));
    let pairs = KNOWN_PAIRS.iter().copied();
    let listed = listed.into_iter().map(|pair| (pair.registry.as_str(), pair.host.as_str()));
    same_registrable_domain(registry, realm)
        || pairs.chain(listed).any(|(a, b)| host_fits(a, registry) && host_fits(b, realm))
        || (anonymous && PUBLIC_SERVICES.contains(&realm))
}

/// Whether both names are under one registrable domain, and are no Services of a cluster: there
/// namespaces of different tenants share a domain that nobody registered.
fn same_registrable_domain(a: &str, b: &str) -> bool {
    match (registrable(a), registrable(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// The domain below the public suffix. Where the list knows none, its own default counts: the
/// last label is the suffix (<https://publicsuffix.org/list/>), as in `corp.lan`.
fn registrable(name: &str) -> Option<&str> {
    let is_service = name.split('.').any(|label| label.eq_ignore_ascii_case("svc"))
        || name.to_ascii_lowercase().ends_with("cluster.local");
    if is_service {
        return None;
    }
    std::str::from_utf8(psl::domain(name.as_bytes())?.as_bytes()).ok()
}

fn host_fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host
            .strip_suffix(domain)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|label| !label.is_empty()),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::policy::HostName;

    fn ask(registry: &str, realm: &str, anonymous: bool) -> bool {
        may_ask(&Url::parse(registry).unwrap(), &Url::parse(realm).unwrap(), anonymous, &[])
    }

    #[rstest]
    #[case::same_host("https://quay.io", "https://quay.io/v2/auth", true)]
    #[case::other_port("https://r.example.com:5000", "https://r.example.com:5001/token", true)]
    #[case::hub("https://registry-1.docker.io", "https://auth.docker.io/token", true)]
    #[case::gitlab("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true)]
    #[case::same_domain("https://registry.example.co.uk", "https://auth.example.co.uk/t", true)]
    #[case::two_tenants_of_a_public_suffix("https://a.co.uk", "https://b.co.uk/t", false)]
    #[case::two_tenants_of_a_private_suffix("https://a.github.io", "https://b.github.io/t", false)]
    #[case::other_domain("https://registry.example.com", "https://evil.example/t", false)]
    #[case::look_alike("https://registry.example.com", "https://example.com.evil.net/t", false)]
    #[case::downgrade("https://registry.example.com", "http://registry.example.com/t", false)]
    #[case::plain_registry("http://registry.example.com", "http://registry.example.com/t", true)]
    #[case::plain_registry_other("http://registry.example.com", "http://x.example.net/t", false)]
    #[case::upgrade("http://registry.example.com", "https://auth.example.com/t", true)]
    #[case::other_scheme("https://r.example.com", "ftp://r.example.com/t", false)]
    #[case::file("https://r.example.com", "file:///etc/passwd", false)]
    #[case::userinfo("https://r.example.com", "https://a:b@r.example.com/t", false)]
    #[case::ip_exact("https://10.0.0.5:5000", "https://10.0.0.5/t", true)]
    #[case::ip_other("https://10.0.0.5:5000", "https://10.0.0.6/t", false)]
    #[case::single_label("https://registry", "https://auth/t", false)]
    #[case::single_label_same("https://registry:5000", "https://registry:5001/t", true)]
    #[case::cluster("https://r.a.svc.cluster.local", "https://t.b.svc.cluster.local/t", false)]
    #[case::services("https://r.a.svc", "https://t.a.svc/t", false)]
    #[case::other_cluster("https://r.a.svc.k8s.corp", "https://t.b.svc.k8s.corp/t", false)]
    #[case::cluster_host("https://r.cluster.local", "https://t.cluster.local/t", false)]
    #[case::unknown_suffix("https://registry.corp.lan", "https://auth.corp.lan/t", true)]
    #[case::gitlab_inside("https://registry.gitlab.internal", "https://gitlab.internal/t", true)]
    #[case::unknown_suffix_other("https://registry.corp.lan", "https://auth.evil.lan/t", false)]
    #[case::unknown_suffix_itself("https://registry.lan", "https://auth.lan/t", false)]
    #[case::scaleway("https://rg.fr-par.scw.cloud", "https://api.scaleway.com/t", true)]
    #[case::vanity_with_credentials(
        "https://docker.example.org",
        "https://auth.docker.io/t",
        false
    )]
    fn with_credentials(#[case] registry: &str, #[case] realm: &str, #[case] expected: bool) {
        assert_eq!(ask(registry, realm, false), expected);
    }

    #[test]
    fn without_credentials_public_services_are_open_to_all() {
        assert!(ask("https://docker.example.org", "https://auth.docker.io/token", true));
        assert!(!ask("https://docker.example.org", "https://internal.example.net/token", true));
        assert!(!ask("https://docker.example.org", "https://10.0.0.1/token", true));
    }

    #[test]
    fn a_listed_pair_opens_itself_only() {
        let name = |text| HostName::parse(text).unwrap();
        let listed =
            [TokenRealm { registry: name("*.corp.example"), host: name("sso.example.net") }];
        let ask = |registry: &str, realm: &str| {
            may_ask(&Url::parse(registry).unwrap(), &Url::parse(realm).unwrap(), false, &listed)
        };
        assert!(ask("https://r.corp.example", "https://sso.example.net/t"));
        assert!(!ask("https://corp.example", "https://sso.example.net/t"));
        assert!(!ask("https://evilcorp.example", "https://sso.example.net/t"));
        assert!(!ask("https://r.corp.example", "https://x.sso.example.net/t"));
    }
}
