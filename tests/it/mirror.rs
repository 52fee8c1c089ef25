//! The nodes' mirror configuration: what the three formats say, and what is wrong with bad ones.

use std::fmt::Write as _;
use std::path::Path;

use pullgate::node_config::{
    FilesOf, MirrorError, Pattern, RegistryHosts, Route, default_endpoint, parse_hosts_toml,
    parse_registries_conf, parse_registries_yaml, registry_of_directory,
};
use rstest::rstest;

fn hosts_toml(registry: Option<&str>, text: &str) -> Result<RegistryHosts, MirrorError> {
    let ways = parse_hosts_toml(registry, Path::new("/certs.d/r"), "hosts.toml", text)?;
    let mut hosts = RegistryHosts::default();
    hosts.add(registry.map_or(Pattern::Any, |host| Pattern::Host(host.into())), ways);
    Ok(hosts)
}

/// One line per route: address, repository, and what is special.
fn lines(routes: &[Route]) -> Vec<String> {
    let line = |route: &Route| {
        let endpoint = &route.endpoint;
        let mut line = format!("{} {}", endpoint.url, route.repository);
        for (is, word) in [
            (endpoint.is_mirror, "mirror"),
            (endpoint.is_mirror && endpoint.told_registry, "ns"),
            (!endpoint.takes_credentials, "no-credentials"),
            (endpoint.falls_back_to_http, "http-too"),
            (endpoint.tls.as_ref().is_some_and(|tls| tls.skip_verify), "unverified"),
            (endpoint.login.is_some(), "login"),
        ] {
            if is {
                line.push(' ');
                line.push_str(word);
            }
        }
        if let Some(tls) = &endpoint.tls {
            for file in &tls.ca_files {
                let _ = write!(line, " ca={}", file.display());
            }
            for client in &tls.clients {
                let _ = write!(line, " cert={}", client.certificate.display());
                if let Some(key) = &client.key {
                    let _ = write!(line, " key={}", key.display());
                }
            }
        }
        for (name, value) in &endpoint.headers {
            let _ = write!(line, " {name}:{value}");
        }
        line
    };
    routes.iter().map(line).collect()
}

#[rstest]
#[case::company("registry.example.com", "https://registry.example.com/v2 a/b")]
#[case::port("registry.example.com:5000", "https://registry.example.com:5000/v2 a/b")]
#[case::hub("docker.io", "https://registry-1.docker.io/v2 a/b")]
#[case::loopback("localhost", "https://localhost/v2 a/b")]
#[case::loopback_443("localhost:443", "https://localhost/v2 a/b")]
#[case::loopback_80("127.0.0.1:80", "http://127.0.0.1/v2 a/b")]
#[case::loopback_other("127.0.0.1:5000", "https://127.0.0.1:5000/v2 a/b http-too unverified")]
#[case::loopback_v6("[::1]:5000", "https://[::1]:5000/v2 a/b http-too unverified")]
#[case::odd("foo_bar.com", "https://foo_bar.com/v2 a/b")]
fn without_a_file(#[case] host: &str, #[case] expected: &str) {
    let routes = RegistryHosts::default().routes(host, "a/b", false);
    assert_eq!(lines(&routes), [expected]);
}

#[test]
fn hosts_in_file_order_and_the_server_last() {
    let text = r#"
        server = "https://registry-1.docker.io"
        ca = "server.pem"

        [host."https://z.example"]
          capabilities = ["pull", "resolve"]
          client = [["client.pem", "client.key"], "both.pem"]
          [host."https://z.example".header]
            X-One = "1"
            X-Two = ["2", "3"]

        [host."http://a.example:8080/proxy"]
          capabilities = ["pull"]

        [host."https://exact.example/cache/hub"]
          override_path = true

        [host."http://both.example"]
          skip_verify = true
    "#;
    let hosts = hosts_toml(Some("docker.io"), text).unwrap();
    assert_eq!(
        lines(&hosts.routes("docker.io", "library/nginx", true)),
        [
            "https://z.example/v2 library/nginx mirror ns cert=/certs.d/r/client.pem \
             key=/certs.d/r/client.key cert=/certs.d/r/both.pem X-One:1 X-Two:2 X-Two:3",
            "http://a.example:8080/proxy/v2 library/nginx mirror ns",
            "https://exact.example/cache/hub library/nginx mirror ns",
            "https://both.example/v2 library/nginx mirror ns http-too unverified",
            "https://registry-1.docker.io/v2 library/nginx ca=/certs.d/r/server.pem",
        ]
    );
    // A host that only pulls cannot say what a tag is.
    let by_tag = hosts.routes("docker.io", "library/nginx", false);
    assert_eq!(by_tag.len(), 4);
    assert!(by_tag.iter().all(|route| route.endpoint.url.host_str() != Some("a.example")));
}

#[rstest]
#[case::nothing("", &["https://r.example:5000/v2 a/b"])]
#[case::bare_server("server = \"r.example:5000\"", &["https://r.example:5000/v2 a/b"])]
#[case::v2_given("server = \"https://r.example:5000/v2/\"", &["https://r.example:5000/v2 a/b"])]
#[case::plain_server("server = \"http://r.example:5000\"", &["http://r.example:5000/v2 a/b"])]
#[case::only_a_ca("ca = [\"/a.pem\", \"b.pem\"]", &["https://r.example:5000/v2 a/b ca=/a.pem ca=/certs.d/r/b.pem"])]
#[case::other_server("server = \"https://other.example\"", &["https://other.example/v2 a/b mirror ns"])]
#[case::no_capability("[host.\"https://m.example\"]\ncapabilities = [\"push\"]", &["https://r.example:5000/v2 a/b"])]
#[case::empty_capabilities("[host.\"https://m.example\"]\ncapabilities = []", &["https://m.example/v2 a/b mirror ns", "https://r.example:5000/v2 a/b"])]
#[case::unknown_field("dial_timeout = \"30s\"\nfuture = 1", &["https://r.example:5000/v2 a/b"])]
fn a_hosts_toml(#[case] text: &str, #[case] expected: &[&str]) {
    let hosts = hosts_toml(Some("r.example:5000"), text).unwrap();
    assert_eq!(lines(&hosts.routes("r.example:5000", "a/b", false)), expected);
}

#[test]
fn a_server_without_capabilities_leaves_no_way() {
    let hosts =
        hosts_toml(Some("r.example"), "server = \"https://r.example\"\ncapabilities = [\"push\"]")
            .unwrap();
    assert_eq!(hosts.routes("r.example", "a/b", true), []);
}

#[test]
fn the_default_directory_is_for_all_others() {
    let mut hosts = hosts_toml(None, "[host.\"https://m.example\"]").unwrap();
    let own = parse_hosts_toml(Some("own.example"), Path::new("/d"), "f", "").unwrap();
    hosts.add(Pattern::Host("own.example".into()), own);
    assert_eq!(
        lines(&hosts.routes("docker.io", "library/nginx", false)),
        [
            "https://m.example/v2 library/nginx mirror ns",
            "https://registry-1.docker.io/v2 library/nginx",
        ]
    );
    assert_eq!(lines(&hosts.routes("own.example", "a", false)), ["https://own.example/v2 a"]);
}

#[rstest]
#[case("_default", None)]
#[case("docker.io", Some(("docker.io", 0)))]
#[case("r.example_5000_", Some(("r.example:5000", 0)))]
#[case("r.example:5000", Some(("r.example:5000", 1)))]
#[case("my_host", Some(("my_host", 0)))]
#[case("my_host_", Some(("my_host_", 0)))]
#[case("[::1]_5000_", Some(("[::1]:5000", 0)))]
fn directory_names(#[case] name: &str, #[case] expected: Option<(&str, u8)>) {
    let expected = expected.map(|(host, rank)| (host.to_owned(), rank));
    assert_eq!(registry_of_directory(name), expected);
}

#[rstest]
#[case::syntax("server = \"x\"\n[host", "hosts.toml:2: -: ")]
#[case::server_kind("\nserver = 5", "hosts.toml:2: server: must be a string")]
#[case::address("server = \"ftp://x\"", "hosts.toml:1: server: must be an http or https address")]
#[case::host_address(
    "[host.\"https://\"]",
    "hosts.toml:1: host.\"https://\": must be an http or https address"
)]
#[case::capability(
    "[host.\"https://m\"]\n\ncapabilities = [\"pull\", \"fly\"]",
    "hosts.toml:3: host.\"https://m\".capabilities[1]: must be pull, resolve, push or referrers"
)]
#[case::capability_kind("capabilities = \"pull\"", "hosts.toml:1: capabilities: must be a list")]
#[case::skip_verify("skip_verify = \"yes\"", "hosts.toml:1: skip_verify: must be true or false")]
#[case::ca("ca = [1]", "hosts.toml:1: ca[0]: must be a string")]
#[case::client(
    "client = [[\"a\", \"b\", \"c\"]]",
    "hosts.toml:1: client[0]: must be a certificate and its key"
)]
#[case::client_without_a_key(
    "client = [[\"a\"]]",
    "hosts.toml:1: client[0]: must be a certificate and its key"
)]
#[case::timeout_without_a_unit(
    "[host.\"https://m\"]\ndial_timeout = \"5\"",
    "hosts.toml:2: host.\"https://m\".dial_timeout: must be a duration with its unit, such as 5s"
)]
#[case::timeout_kind("dial_timeout = 5", "hosts.toml:1: dial_timeout: must be a string")]
#[case::header("header = \"x\"", "hosts.toml:1: header: must be a table")]
#[case::host_kind("host = []", "hosts.toml:1: host: must be a table")]
fn a_bad_hosts_toml_is_refused_with_its_place(#[case] text: &str, #[case] expected: &str) {
    let error = hosts_toml(Some("r.example"), text).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case("capabilities = [\"pull\", \"referrers\"]", true)]
#[case("[host.\"https://m\"]\ncapabilities = [\"Referrers\"]\ndial_timeout = \"\"", true)]
#[case("capabilities = [\"pull\", \"push\"]\ndial_timeout = \"1m30s\"", false)]
fn what_containerd_knows_since_2_2_is_remembered(#[case] text: &str, #[case] since_2_2: bool) {
    let hosts = hosts_toml(Some("r.example"), text).unwrap().read_from(FilesOf::Containerd);
    assert_eq!(hosts.files_for("r.example", "app").unwrap().since_2_2, since_2_2);
    assert!(!hosts.files_for("other.example", "app").unwrap().since_2_2);
}

/// With any helper but the auth file CRI-O asks a program for each login.
#[rstest]
#[case("credential-helpers = [\"containers-auth.json\"]", false)]
#[case("Credential-Helpers = [\"containers-auth.json\", \"secretservice\"]", true)]
#[case("credential-helpers = [\"ecr-login\"]", true)]
#[case("credential-helpers = []", false)]
#[case("", false)]
fn credential_helpers_of_crio(#[case] text: &str, #[case] asked: bool) {
    let asks = |hosts: &RegistryHosts| hosts.files_for("r.io", "app").unwrap().credential_helpers;
    let hosts = parse_registries_conf("registries.conf", text).unwrap();
    assert_eq!(asks(&hosts), asked);
    // A later file has the last word, if it says any.
    let helped = "credential-helpers = [\"ecr-login\"]";
    let mut later = hosts;
    later.extend(parse_registries_conf("registries.conf", helped).unwrap());
    assert_eq!(asks(&later), asked || text.is_empty());
}

#[test]
fn registries_yaml_of_k3s() {
    let text = r#"
mirrors:
  docker.io:
    endpoint:
      - "https://m.example:5000"
      - http://plain.example/v2
      - cached.example/hub
    rewrite:
      "^library/(.*)": "proxy/hub-$1"
  r.example:
  "*":
    endpoint: ["https://all.example"]
configs:
  m.example:5000:
    auth: {username: u, password: p}
    tls: {ca_file: /ca.pem, cert_file: /c.pem, key_file: /k.pem}
  insecure.example:
    tls: {insecure_skip_verify: true}
  registry-1.docker.io:
    auth: {auth: dTpw}
  alone.example:443:
    auth: {token: t}
  empty.example:
    auth: {username: ""}
"#;
    let hosts = parse_registries_yaml("registries.yaml", text).unwrap();
    assert_eq!(
        lines(&hosts.routes("docker.io", "library/nginx", false)),
        [
            "https://m.example:5000/v2 proxy/hub-nginx mirror ns login ca=/ca.pem cert=/c.pem key=/k.pem",
            "http://plain.example/v2 proxy/hub-nginx mirror ns",
            "https://cached.example/hub proxy/hub-nginx mirror ns",
            "https://registry-1.docker.io/v2 library/nginx login",
        ]
    );
    assert_eq!(
        lines(&hosts.routes("alone.example:443", "a", false)),
        ["https://all.example/v2 a mirror ns", "https://alone.example/v2 a login"]
    );
    assert_eq!(
        lines(&hosts.routes("empty.example", "a", false)),
        ["https://all.example/v2 a mirror ns", "https://empty.example/v2 a"]
    );
    assert!(!format!("{hosts:?}").contains("112"), "a password is not shown, not even as bytes");
    assert_eq!(lines(&hosts.routes("r.example", "a", false)), ["https://r.example/v2 a"]);
    assert_eq!(
        lines(&hosts.routes("insecure.example", "a", false)),
        ["https://all.example/v2 a mirror ns", "https://insecure.example/v2 a unverified"]
    );
    assert_eq!(
        lines(&hosts.routes("quay.io", "a/b", false)),
        ["https://all.example/v2 a/b mirror ns", "https://quay.io/v2 a/b"]
    );
}

#[rstest]
#[case::empty("")]
#[case::comment("# nothing\n")]
#[case::no_mirrors("mirrors:\n")]
fn an_empty_registries_yaml(#[case] text: &str) {
    assert!(parse_registries_yaml("f", text).unwrap().is_empty());
}

#[rstest]
#[case::syntax("mirrors: [", "registries.yaml:1: -: ")]
#[case::kind("mirrors:\n  docker.io:\n    endpoint: 5\n", "registries.yaml:3: -: ")]
#[case::address(
    "mirrors:\n  d:\n    endpoint:\n    - ftp://x\n",
    "registries.yaml:4: mirrors.\"d\".endpoint: must be an http or https address"
)]
#[case::expression(
    "mirrors:\n  d:\n    rewrite:\n      '(': x\n",
    "registries.yaml:4: mirrors.\"d\".rewrite.\"(\": is no regular expression"
)]
fn a_bad_registries_yaml_is_refused_with_its_place(#[case] text: &str, #[case] expected: &str) {
    let error = parse_registries_yaml("registries.yaml", text).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

/// Go's TOML library knows a field in any case, and prefers the one that is written as it is called.
#[test]
fn keys_of_crio_are_read_in_any_case() {
    let text = r#"
Unqualified-Search-Registries = ["quay.io"]
[Aliases]
"team/tool" = "r.example/tools/tool"
[[Registry]]
PREFIX = "docker.io"
Location = "docker.io"
[[Registry.MIRROR]]
LOCATION = "other.example"
location = "m.example/hub"
Insecure = true
[[Registry]]
Location = "r.example"
BLOCKED = true
"#;
    let hosts = parse_registries_conf("registries.conf", text).unwrap();
    assert_eq!(hosts.full_name("team/tool").as_deref(), Some("r.example/tools/tool"));
    assert_eq!(hosts.full_name("app").as_deref(), Some("quay.io/app"));
    assert_eq!(
        lines(&hosts.routes("docker.io", "library/nginx", false)),
        [
            "https://m.example/v2 hub/library/nginx mirror no-credentials http-too unverified",
            "https://registry-1.docker.io/v2 library/nginx",
        ]
    );
    assert_eq!(hosts.routes("r.example", "a", false), []);
}

#[test]
fn registries_conf_of_crio() {
    let text = r#"
unqualified-search-registries = ["quay.io/"]

[aliases]
"team/tool" = "r.example/tools/tool"
"gone" = ""

[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "m.example/hub"
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
insecure = true

[[registry]]
prefix = "r.example/team"
location = "moved.example/teams/ours"

[[registry]]
location = "r.example/team/secret"
blocked = true

[[registry]]
prefix = "*.wild.example"
insecure = true
"#;
    let hosts = parse_registries_conf("registries.conf", text).unwrap();
    assert_eq!(hosts.full_name("team/tool").as_deref(), Some("r.example/tools/tool"));
    assert_eq!(hosts.full_name("gone").as_deref(), Some("quay.io/gone"));
    let several = "unqualified-search-registries = ['a.example', 'b.example']";
    let several = parse_registries_conf("registries.conf", several).unwrap();
    assert_eq!(several.full_name("app"), None);
    assert_eq!(RegistryHosts::default().full_name("app"), None);
    assert_eq!(
        lines(&hosts.routes("docker.io", "library/nginx", false)),
        [
            "https://m.example/v2 hub/library/nginx mirror no-credentials",
            "https://tags.example/v2 library/nginx mirror no-credentials http-too unverified",
            "https://registry-1.docker.io/v2 library/nginx",
        ]
    );
    let by_digest = lines(&hosts.routes("docker.io", "library/nginx", true));
    assert_eq!(by_digest[1], "https://digests.example/v2 library/nginx mirror no-credentials");
    assert_eq!(
        lines(&hosts.routes("r.example", "team/app", false)),
        ["https://moved.example/v2 teams/ours/app mirror no-credentials"]
    );
    assert_eq!(hosts.routes("r.example", "team/secret/app", false), []);
    // Whole components only.
    assert_eq!(
        lines(&hosts.routes("r.example", "teams/app", false)),
        ["https://r.example/v2 teams/app"]
    );
    assert_eq!(lines(&hosts.routes("wild.example", "a", false)), ["https://wild.example/v2 a"]);
}

#[rstest]
#[case::syntax("[[registry]", "registries.conf:1: -: ")]
#[case::nothing(
    "[[registry]]\ninsecure = true",
    "registries.conf:1: registry[0]: needs a prefix or a location"
)]
#[case::mirror(
    "[[registry]]\nlocation=\"a.b\"\n[[registry.mirror]]\ninsecure=true",
    "registries.conf:3: registry[0].mirror[0]: needs a prefix or a location"
)]
#[case::no_location(
    "[[registry]]\nprefix=\"a.b\"",
    "registries.conf:1: registry[0]: needs a location beside its prefix, else CRI-O refuses the file"
)]
#[case::pull(
    "[[registry]]\nlocation=\"a.b\"\n[[registry.mirror]]\nlocation=\"m.b\"\npull-from-mirror=\"some\"",
    "registries.conf:5: registry[0].mirror[0].pull-from-mirror: must be all, digest-only or tag-only"
)]
#[case::alias("[aliases]\n\"a\" = 5", "registries.conf:2: aliases.a: must be a string")]
#[case::search(
    "unqualified-search-registries = \"docker.io\"",
    "registries.conf:1: unqualified-search-registries: must be a list"
)]
#[case::scheme(
    "[[registry]]\nlocation=\"https://a.b\"",
    "registries.conf:2: registry[0].location: must be an http or https address"
)]
fn a_bad_registries_conf_is_refused_with_its_place(#[case] text: &str, #[case] expected: &str) {
    let error = parse_registries_conf("registries.conf", text).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn no_endpoint_for_what_cannot_stand_in_a_url() {
    assert!(default_endpoint("a b").is_none());
}
