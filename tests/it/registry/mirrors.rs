//! Listed hosts are asked in the runtime's order, and doubt anywhere is doubt about the whole.

use std::sync::Arc;
use std::time::Duration;

use pullgate::credential::Credential;
use pullgate::image::ImageReference;
use pullgate::node_config::{
    Endpoint, RegistryHosts, parse_registries_conf, parse_registries_yaml,
};
use pullgate::pull::{Content, Detail, ErrorCode, Outcome, TlsFault};
use pullgate::registry::{HostsError, HostsSource, MirrorLogins, RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;
use rstest::rstest;

use super::scripted::*;

/// A registry that is only reached through these hosts, the last of which is its own.
fn behind(hosts: &[&Scripted]) -> Arc<RegistryClient> {
    let mut table = RegistryHosts::default();
    let endpoints = hosts
        .iter()
        .map(|host| Endpoint { told_registry: true, ..endpoint(&host.host()) })
        .collect();
    table.insert("origin.example.com", endpoints);
    let options =
        RegistryOptions { contact_loopback: true, hosts: table, ..RegistryOptions::default() };
    RegistryClient::new(options).unwrap()
}

fn image() -> ImageReference {
    ImageReference::parse("origin.example.com/a/b:v1").unwrap()
}

#[tokio::test]
async fn a_mirror_that_has_it_answers_for_all() {
    let (mirror, origin) = (Scripted::start().await, Scripted::start().await);
    mirror.put_image("a/b", "v1", "linux", "amd64");
    let client = behind(&[&mirror, &origin]);
    let lookup = look(&client, &image(), None).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
    assert_eq!(lookup.mirror.as_deref(), Some(&*mirror.host()));
    assert_eq!((mirror.log().len(), origin.log().len()), (1, 0));
    assert_eq!(mirror.calls()[0].query, "ns=origin.example.com");
}

#[tokio::test]
async fn what_a_mirror_lacks_the_next_may_have() {
    let (mirror, origin) = (Scripted::start().await, Scripted::start().await);
    origin.put_image("a/b", "v1", "linux", "amd64");
    let client = behind(&[&mirror, &origin]);
    let lookup = look(&client, &image(), None).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
}

const UNKNOWN: Option<ErrorCode> = Some(ErrorCode::ManifestUnknown);

#[rstest]
#[case::all_missing(404, 404, Outcome::TagMissing { code: UNKNOWN })]
#[case::mirror_denies(403, 404, Outcome::TagMissing { code: UNKNOWN })]
#[case::origin_denies(404, 403, Outcome::Forbidden)]
#[case::mirror_broken(500, 404, Outcome::RegistryError { status: 500 })]
#[case::origin_broken(404, 502, Outcome::RegistryError { status: 502 })]
#[case::unconfirmed(410, 404, Outcome::TagMissing { code: None })]
#[tokio::test]
async fn doubt_anywhere_is_doubt(
    #[case] mirror_says: u16,
    #[case] origin_says: u16,
    #[case] expected: Outcome,
) {
    let say = |status: u16| {
        move |_: &Call| {
            Some(match status {
                404 => envelope(404, "MANIFEST_UNKNOWN"),
                // A 404 of something that is no registry.
                410 => reply(404, &[], "default backend"),
                status => envelope(status, "DENIED"),
            })
        }
    };
    let (mirror, origin) = (Scripted::start().await, Scripted::start().await);
    mirror.replies(say(mirror_says));
    origin.replies(say(origin_says));
    let client = behind(&[&mirror, &origin]);
    assert_eq!(look(&client, &image(), None).await.outcome, expected);
}

#[tokio::test]
async fn a_throttled_mirror_is_doubt_too() {
    let (mirror, origin) = (Scripted::start().await, Scripted::start().await);
    mirror.replies(|_| Some(reply(429, &[], "")));
    let lookup = look(&behind(&[&mirror, &origin]), &image(), None).await;
    assert!(is_throttled_for(&lookup.outcome, Duration::from_secs(30)), "{lookup:?}");
}

#[tokio::test]
async fn a_host_that_gets_no_credentials_gets_none() {
    let (mirror, origin) = (Scripted::start().await, Scripted::start().await);
    mirror.access(Access::Basic(vec![user("alice", "pw", &["*"])]));
    origin.access(Access::Basic(vec![user("alice", "pw", &["*"])]));
    origin.put_image("a/b", "v1", "linux", "amd64");
    let mut hosts = RegistryHosts::default();
    let stranger = Endpoint { takes_credentials: false, ..endpoint(&mirror.host()) };
    hosts.insert("origin.example.com", vec![stranger, endpoint(&origin.host())]);
    let options = RegistryOptions { contact_loopback: true, hosts, ..RegistryOptions::default() };
    let client = RegistryClient::new(options).unwrap();
    let lookup = look(&client, &image(), Some(&credential("alice", "pw"))).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
    assert!(mirror.calls().iter().all(|call| call.proof().is_none()));
}

/// CRI-O asks a mirror with the login that its nodes have for the mirror's own name: where none was
/// given, its refusal is doubt, whatever the registry behind it says.
#[tokio::test]
async fn a_refusal_of_a_mirror_that_gets_no_credentials_is_doubt() {
    let (mirror, origin) = (Scripted::start().await, Scripted::start().await);
    mirror.access(Access::Basic(vec![user("node", "pw", &["*"])]));
    origin.put_image("a/b", "v0", "linux", "amd64");
    let asked = |takes_credentials: bool| {
        let mut hosts = RegistryHosts::default();
        let first = Endpoint { takes_credentials, ..endpoint(&mirror.host()) };
        hosts.insert("origin.example.com", vec![first, endpoint(&origin.host())]);
        let options =
            RegistryOptions { contact_loopback: true, hosts, ..RegistryOptions::default() };
        RegistryClient::new(options).unwrap()
    };
    let lookup = look(&asked(false), &image(), None).await;
    assert_eq!(lookup.outcome, Outcome::MirrorRefused);
    let lookup = look(&asked(true), &image(), None).await;
    assert!(matches!(lookup.outcome, Outcome::TagMissing { code: Some(_) }), "{lookup:?}");
}

/// The docker configuration of nodes, which knows the mirror by its own name.
struct KnowsTheMirror {
    host: String,
    password: &'static str,
}

impl MirrorLogins for KnowsTheMirror {
    fn login(&self, at_mirror: &ImageReference) -> Option<Credential> {
        let known = at_mirror.host() == self.host && at_mirror.repository() == "copies/a/b";
        known.then(|| credential("node", self.password))
    }
}

/// A mirror of CRI-O is asked with the login that the nodes hold for it, whatever the pod brings; the
/// pod's own is never shown to it, and a refusal stays doubt.
#[rstest]
#[case::that_works("pw", true)]
#[case::that_is_refused("old", false)]
#[tokio::test]
async fn a_mirror_is_asked_with_the_login_that_nodes_hold_for_its_name(
    #[case] password: &'static str,
    #[case] works: bool,
) {
    let (mirror, origin) = (Scripted::start().await, Scripted::start().await);
    mirror.access(Access::Basic(vec![user("node", "pw", &["*"])]));
    mirror.put_image("copies/a/b", "v1", "linux", "amd64");
    let text = format!(
        "[[registry]]\nprefix = \"origin.example.com\"\nlocation = \"{}\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"{}/copies\"\ninsecure = true\n",
        origin.host(),
        mirror.host()
    );
    let hosts = parse_registries_conf("registries.conf", &text).unwrap();
    let logins = KnowsTheMirror { host: mirror.host(), password };
    let options = RegistryOptions {
        contact_loopback: true,
        hosts,
        mirror_logins: Some(Arc::new(logins)),
        ..RegistryOptions::default()
    };
    let client = RegistryClient::new(options).unwrap();
    for pods in [None, Some(&credential("alice", "of the pod"))] {
        let lookup = look(&client, &image(), pods).await;
        if works {
            assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
            assert_eq!(lookup.mirror.as_deref(), Some(&*mirror.host()));
            assert!(lookup.node_login);
        } else {
            assert_eq!(lookup.outcome, Outcome::MirrorRefused);
        }
    }
    let shown: Vec<_> = mirror.calls().iter().filter_map(Call::proof).collect();
    assert!(!shown.is_empty() && shown.iter().all(|proof| proof.contains("node")), "{shown:?}");
}

/// What k3s writes for its nodes: a login of the runtime's own.
fn with_login(registry: &Scripted, password: &str) -> Arc<RegistryClient> {
    let text = format!(
        "mirrors:\n  origin.example.com:\n    endpoint: [\"http://{0}\"]\nconfigs:\n  \
         \"{0}\":\n    auth: {{username: node, password: {password}}}\n",
        registry.host()
    );
    let mut hosts = parse_registries_yaml("registries.yaml", &text).unwrap();
    let only = hosts.routes("origin.example.com", "a/b", false).remove(0);
    hosts = RegistryHosts::default();
    hosts.insert("origin.example.com", vec![Endpoint::clone(&only.endpoint)]);
    let options = RegistryOptions { contact_loopback: true, hosts, ..RegistryOptions::default() };
    RegistryClient::new(options).unwrap()
}

#[tokio::test]
async fn the_runtimes_own_login_counts_where_the_kubelet_brings_none() {
    let registry = Scripted::start().await;
    registry.access(Access::Basic(vec![user("node", "pw", &["*"]), user("pod", "x", &["*"])]));
    registry.put_image("a/b", "v1", "linux", "amd64");
    let client = with_login(&registry, "pw");
    let lookup = look(&client, &image(), None).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
    assert!(lookup.node_login);
    // Its content is read with the same login.
    let deep = client.look_up(request(&image(), None, Detail::Config), soon()).await;
    assert!(matches!(&deep.outcome, Outcome::Exists(found) if found.content != Content::Unread));
    // A pod's own credential stands alone: containerd does not fall back to its own login.
    let lookup = look(&client, &image(), Some(&credential("pod", "wrong"))).await;
    assert_eq!(lookup.outcome, Outcome::Unauthorized);
    assert!(!lookup.node_login);
    // Hints are never read with it: what a node may see is not what a tenant may list.
    let tags = client.list(tags_of(&image(), None, "shop"), soon()).await;
    assert_eq!(tags.unwrap_err(), Outcome::Unauthorized);
}

#[tokio::test]
async fn a_login_of_the_runtime_that_is_refused_closes_nothing_that_anybody_may_have() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry.access(Access::Basic(vec![user("node", "new", &["*"])]));
    let lookup = look(&with_login(&registry, "old"), &image(), None).await;
    assert_eq!((lookup.outcome, lookup.node_login), (Outcome::Unauthorized, true));
    // Public, but its token service refuses a wrong login.
    registry.access(Access::Token(vec![user("", "", &["*"])]));
    let lookup = look(&with_login(&registry, "old"), &image(), None).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
    assert!(!lookup.node_login);
}

#[tokio::test]
async fn no_listed_host_is_an_outcome_of_its_own() {
    let mut hosts = RegistryHosts::default();
    hosts.insert("origin.example.com", Vec::new());
    let options = RegistryOptions { hosts, ..RegistryOptions::default() };
    let client = RegistryClient::new(options).unwrap();
    assert_eq!(look(&client, &image(), None).await.outcome, Outcome::NoHost);
}

fn write(directory: &std::path::Path, path: &str, text: &str) {
    let path = directory.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn a_certs_d_directory_is_read_as_containerd_reads_it() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let toml = format!("server = \"http://{}\"", registry.host());
    write(root, "r.example.com_5000_/hosts.toml", &toml);
    write(root, "r.example.com:5000/hosts.toml", "server = \"http://wrong.example.com\"");
    // The bare host is never for a reference with a port.
    write(root, "other.example.com/hosts.toml", &toml);
    write(root, "_default/hosts.toml", "");
    write(root, "..data/hosts.toml", "not toml at all [");
    write(root, "plain-file", "");
    let hosts = HostsSource::Containerd(root.to_owned()).load().unwrap();
    let first = |host: &str| hosts.routes(host, "a/b", false)[0].endpoint.url.to_string();
    assert_eq!(first("r.example.com:5000"), format!("http://{}/v2", registry.host()));
    assert_eq!(first("other.example.com"), format!("http://{}/v2", registry.host()));
    assert_eq!(first("other.example.com:5000"), "https://other.example.com:5000/v2");
    let options = RegistryOptions { contact_loopback: true, hosts, ..RegistryOptions::default() };
    let client = RegistryClient::new(options).unwrap();
    let reference = ImageReference::parse("r.example.com:5000/a/b:v1").unwrap();
    let lookup = look(&client, &reference, None).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
}

#[test]
fn drop_ins_of_crio_win_prefix_by_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let rule = |prefix: &str, mirror: &str| {
        format!(
            "[[registry]]\nlocation = \"{prefix}\"\n[[registry.mirror]]\nlocation = \"{mirror}\"\n"
        )
    };
    let main = rule("a.example", "main.example") + &rule("b.example", "main.example");
    write(root, "registries.conf", &main);
    write(root, "registries.conf.d/10-first.conf", &rule("b.example", "first.example"));
    let last = rule("b.example", "last.example") + &rule("c.example", "last.example");
    write(root, "registries.conf.d/20-last.conf", &last);
    write(root, "registries.conf.d/README", "no configuration [");
    let source = HostsSource::Crio(root.join("registries.conf"));
    let hosts = source.load().unwrap();
    let first = |host: &str| hosts.routes(host, "x", false)[0].endpoint.url.to_string();
    assert_eq!(first("a.example"), "https://main.example/v2");
    assert_eq!(first("b.example"), "https://last.example/v2");
    assert_eq!(first("c.example"), "https://last.example/v2");
    write(root, "registries.conf.d/30-bad.conf", "[[registry");
    let error = source.load().unwrap_err().to_string();
    assert!(error.contains("30-bad.conf:1"), "{error}");
    // Short names: aliases one by one, the list as a whole.
    write(
        root,
        "registries.conf",
        "unqualified-search-registries = ['main.example']\n[aliases]\na = 'main.example/a'\nb = 'main.example/b'\n",
    );
    write(root, "registries.conf.d/30-bad.conf", "[aliases]\nb = 'last.example/b'\n");
    let hosts = source.load().unwrap();
    let full = |name: &str| hosts.full_name(name).unwrap();
    assert_eq!(
        [full("a"), full("b"), full("c/d")],
        ["main.example/a", "last.example/b", "main.example/c/d"]
    );
}

#[tokio::test]
async fn a_bad_file_is_an_error_at_start_and_leaves_the_old_one_in_force_later() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let directory = tempfile::tempdir().unwrap();
    let source = HostsSource::Containerd(directory.path().to_owned());
    let good = format!("server = \"http://{}\"", registry.host());
    write(directory.path(), "origin.example.com/hosts.toml", "server = \"\"\nskip_verify = 5");
    let error = source.load().unwrap_err();
    assert!(matches!(error, HostsError::Content(_)));
    assert!(
        error
            .to_string()
            .ends_with("origin.example.com/hosts.toml:2: skip_verify: must be true or false"),
        "{error}"
    );
    write(directory.path(), "origin.example.com/hosts.toml", &good);
    let options = RegistryOptions {
        contact_loopback: true,
        hosts: source.load().unwrap(),
        ..RegistryOptions::default()
    };
    let client = RegistryClient::new(options).unwrap();
    let follow = tokio::spawn(source.follow(Arc::clone(&client), Duration::from_secs(1)));
    write(directory.path(), "origin.example.com/hosts.toml", "server = [");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let lookup = look(&client, &image(), None).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
    // A good one again takes effect, and what was kept is forgotten.
    let other = Scripted::start().await;
    write(
        directory.path(),
        "origin.example.com/hosts.toml",
        &format!("server = \"http://{}\"", other.host()),
    );
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let lookup = look(&client, &image(), None).await;
    assert_eq!(lookup.outcome, Outcome::TagMissing { code: UNKNOWN });
    follow.abort();
}

#[tokio::test]
async fn a_certificate_that_is_not_there_costs_only_what_its_host_says() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let directory = tempfile::tempdir().unwrap();
    let good = format!("server = \"http://{}\"", registry.host());
    // As on nodes, where the file is.
    write(directory.path(), "origin.example.com/hosts.toml", &format!("{good}\nca = \"gone.pem\""));
    write(directory.path(), "other.example.com/hosts.toml", &good);
    let source = HostsSource::Containerd(directory.path().to_owned());
    let options = RegistryOptions {
        contact_loopback: true,
        hosts: source.load().unwrap(),
        ..RegistryOptions::default()
    };
    let client = RegistryClient::new(options).unwrap();
    let lookup = look(&client, &image(), None).await;
    assert_eq!(lookup.outcome, Outcome::Tls(TlsFault::UnknownAuthority));
    let other = ImageReference::parse("other.example.com/a/b:v1").unwrap();
    let lookup = look(&client, &other, None).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");

    // What was missing already keeps no other change out; what is newly missing does.
    write(directory.path(), "third.example.com/hosts.toml", &good);
    assert!(client.take_hosts(source.load().unwrap()).unwrap());
    write(directory.path(), "fourth.example.com/hosts.toml", "ca = \"gone.pem\"");
    let error = client.take_hosts(source.load().unwrap()).unwrap_err();
    assert!(error.to_string().ends_with("fourth.example.com/gone.pem"), "{error}");
}
