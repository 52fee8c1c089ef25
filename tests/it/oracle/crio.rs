//! Names, ways and logins of CRI-O: its image library against `registries.conf` as we read it, and
//! live pulls through mirrors that such files name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use pullgate::credential::{AuthFile, Credential, CredentialOrigin};
use pullgate::image::ImageReference;
use pullgate::node_config::{RegistryHosts, Route};
use pullgate::registry::{HostsSource, LoadLimits, MirrorLogins, RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;
use serde_json::{Value, json};

use super::client::{Oracle, text};
use super::live::{Live, Login, Pull, pulls};
use super::{cases, compare, names};
use crate::cluster::runtime;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

thread_local! {
    /// A client for names alone.
    static CLIENT: Arc<RegistryClient> = {
        let _in_runtime = runtime().enter();
        RegistryClient::new(RegistryOptions::default()).unwrap()
    };
}

/// The files of a question, read as Pullgate reads those of the nodes.
pub fn read(question: &Value) -> Result<RegistryHosts, String> {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("registries.conf");
    std::fs::write(&main, question["registries_conf"].as_str().unwrap_or_default()).unwrap();
    let drop_ins = folder.path().join("registries.conf.d");
    std::fs::create_dir(&drop_ins).unwrap();
    for (name, text) in question["drop_ins"].as_object().into_iter().flatten() {
        std::fs::write(drop_ins.join(name), text.as_str().unwrap()).unwrap();
    }
    HostsSource::Crio(main).load().map_err(|error| error.to_string())
}

/// The files, or nothing where both sides refuse them.
fn agreed(question: &Value, theirs: &Value) -> Result<Option<RegistryHosts>, String> {
    match (read(question), theirs["files_refused"] == true) {
        (Ok(hosts), false) => Ok(Some(hosts)),
        (Err(_), true) => Ok(None),
        (Ok(_), true) => Err(format!("we take files that they refuse: {theirs}")),
        (Err(error), false) => Err(format!("we refuse files that they take: {error}")),
    }
}

/// What CRI-O pulls for an image field, by both sides; the kind of case.
fn same_names(question: &Value, theirs: &Value) -> Result<&'static str, String> {
    let Some(hosts) = agreed(question, theirs)? else { return Ok("files refused") };
    // Whatever the kubelet refuses does not come to CRI-O.
    let Ok(reference) = ImageReference::parse(text(question, "image")) else {
        return Ok("refused by the kubelet");
    };
    let candidates = theirs["candidates"].as_array();
    let candidates: Vec<_> = candidates.into_iter().flatten().map(Value::as_str).collect();
    if !reference.is_short() {
        let ours = reference.canonical();
        return match (reference.cri_o_refuses(), candidates.as_slice()) {
            (true, []) => Ok("refused by CRI-O alone"),
            (false, [Some(theirs)]) if *theirs == ours => Ok("whole"),
            (refused, _) => Err(format!("ours {ours}, refused: {refused}, theirs {theirs}")),
        };
    }
    if reference.cri_o_refuses() {
        let theirs = text(theirs, "error");
        return if theirs.is_empty() { Err("we say it is refused".into()) } else { Ok("refused") };
    }
    let knows_aliases = has_aliases(question);
    let completed = CLIENT.with(|client| {
        client.take_hosts(hosts).unwrap();
        client.completed(&reference)
    });
    match (completed, candidates.as_slice()) {
        (Some(ours), [Some(one)]) if ours.canonical() == *one => Ok("short, completed"),
        (Some(ours), _) => Err(format!("ours {ours}, theirs {theirs}")),
        (None, [_]) if knows_aliases => Err(format!("ours nothing, theirs {theirs}")),
        (None, [_]) => Ok("short, no aliases handed over"),
        (None, []) => Ok("short, nothing"),
        (None, _) => Ok("short, several"),
    }
}

/// Whether the files name an alias: without any, the list of registries alone would mislead.
fn has_aliases(question: &Value) -> bool {
    let drop_ins = question["drop_ins"].as_object().into_iter().flatten();
    let drop_ins =
        drop_ins.filter(|(name, _)| name.rsplit('.').next() == Some("conf")).map(|(_, text)| text);
    let mut all = drop_ins.chain([&question["registries_conf"]]).filter_map(Value::as_str);
    all.any(|text| {
        let parsed: toml::Table = toml::from_str(text).unwrap();
        let aliases = parsed.iter().find(|(name, _)| name.eq_ignore_ascii_case("aliases"));
        aliases.is_some_and(|(_, table)| !table.as_table().unwrap().is_empty())
    })
}

/// `host/repository` of a route, as the reference has it there.
fn name_at(route: &Route) -> String {
    let url = &route.endpoint.url;
    let host = match url.host_str().unwrap() {
        "registry-1.docker.io" => "docker.io",
        host => host,
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{host}{port}/{}", route.repository)
}

/// A program that holds no login: there is none.
const HELPER: &str = "no-such-helper";

/// Where CRI-O asks for an image, by both sides; the kind of case.
fn same_ways(question: &Value, theirs: &Value) -> Result<&'static str, String> {
    let Some(hosts) = agreed(question, theirs)? else { return Ok("files refused") };
    let reference = ImageReference::parse(text(question, "image")).unwrap();
    if reference.is_short() || reference.cri_o_refuses() {
        return Ok("short or refused");
    }
    let (host, repository) = (reference.host(), reference.repository());
    let ways = theirs["ways"].as_array().map(Vec::as_slice).unwrap_or_default();
    let asked = ways.iter().any(|way| text(way, "login_error").contains(HELPER));
    let helped = hosts.files_for(host, repository).is_some_and(|files| files.credential_helpers);
    if helped || asked {
        let differ = || format!("a program is asked: ours {helped}, theirs {theirs:#}");
        return if asked || ways.is_empty() { Ok("asks a program") } else { Err(differ()) };
    }
    let routes = hosts.routes(host, repository, reference.digest().is_some());
    let config = question["auth_file"].to_string();
    let logins = AuthFile::parse(config.as_bytes(), CredentialOrigin::NodeRuntime);
    let ours: Vec<Value> = routes
        .iter()
        .map(|route| {
            let there = ImageReference::parse(&name_at(route)).unwrap();
            let login = logins.login(&there);
            let login = login.as_ref();
            json!({
                "name": name_at(route),
                "insecure": route.endpoint.falls_back_to_http,
                "pod_credentials": route.endpoint.takes_credentials,
                "username": login.map(Credential::username).unwrap_or_default(),
                "password": login.map(password).unwrap_or_default(),
            })
        })
        .collect();
    let open = theirs["ways"].as_array().into_iter().flatten();
    let open = open.filter(|way| way["blocked"] == false);
    let them: Vec<Value> = open
        .map(|way| {
            let named = ImageReference::parse(text(way, "reference")).unwrap();
            json!({
                "name": named.name().to_lowercase(),
                "insecure": way["insecure"], "pod_credentials": way["pod_credentials"],
                "username": way["username"], "password": way["password"],
            })
        })
        .collect();
    if ours != them {
        return Err(format!("ours {ours:#?}, theirs {theirs:#}"));
    }
    Ok(match (ours.as_slice(), text(theirs, "error").is_empty()) {
        (_, false) => "no name there",
        ([], _) => "blocked",
        ([one], _) if one["username"] != "" => "one way, with a login",
        ([_], _) => "one way",
        _ => "several ways",
    })
}

fn password(login: &Credential) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(login.password().expose())
}

fn check(oracle: &mut Oracle, question: &Value) -> Result<&'static str, String> {
    let theirs = oracle.ask(question);
    let same = if question["op"] == "crio_names" { same_names } else { same_ways };
    same(question, &theirs).map_err(|differ| format!("{question:#}: {differ}"))
}

#[test]
fn every_row_of_the_tables_of_crio_holds() {
    let tables = [
        cases(include_str!("../../oracle/cases/crio-names.jsonl")),
        cases(include_str!("../../oracle/cases/crio-ways.jsonl")),
        cases(include_str!("../../oracle/cases/crio-logins.jsonl")),
    ];
    let mut kinds = BTreeSet::new();
    for case in tables.iter().flatten() {
        let mut theirs = case["want"].clone();
        theirs["error"] = theirs.get("error").cloned().unwrap_or_else(|| "".into());
        let same = if case["op"] == "crio_names" { same_names } else { same_ways };
        match same(case, &theirs) {
            Ok(kind) => kinds.insert(kind),
            Err(differ) => panic!("{case:#}: {differ}"),
        };
    }
    // Of everything there is a row.
    assert_eq!(kinds.len(), 12, "{kinds:?}");
}

/// Text that stands in a file, now and then one that makes CRI-O refuse it.
fn mostly(good: &'static [&str], bad: &'static [&str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![60 => select(good), 1 => select(bad)]
}

const LOCATIONS: &[&str] = &[
    "a.b",
    "a.b/",
    "x.a.b",
    "xy.a.b",
    "x.a.b/t",
    "a.b:5000",
    "a.b/t",
    "a.b/t/app",
    "m.io",
    "m.io/cache",
    "m.io/cache/t/",
    "m.io:5000",
    "docker.io",
    "docker.io/library",
    "docker.io/t",
    "quay.io",
    "localhost",
    "localhost:5000/app",
    "bare",
];
const WILDCARDS: &[&str] = &["*.b", "*.a.b", "*.io", "*.x.a.b"];
const REFUSED: &[&str] = &["https://a.b", "http://m.io/cache"];

fn flag(name: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => Just(String::new()),
        2 => Just(format!("{name} = true\n")),
        1 => Just(format!("{name} = false\n")),
    ]
}

/// Of the same entry everywhere: whether one location is said to be insecure here and not there.
fn insecure(location: &str) -> bool {
    location.starts_with("m.io") || location.starts_with("localhost")
}

fn registry() -> impl Strategy<Value = String> {
    let prefix = prop_oneof![
        5 => Just(String::new()),
        4 => mostly(LOCATIONS, REFUSED).prop_map(|prefix| format!("prefix = '{prefix}'\n")),
        3 => mostly(WILDCARDS, &["*.a.b/t", "*.b:5000"]).prop_map(|prefix| format!("prefix = '{prefix}'\n")),
    ];
    let mirror = (
        mostly(LOCATIONS, &["", "https://m.io"]),
        flag("insecure"),
        prop_oneof![
            12 => Just(""),
            2 => Just("pull-from-mirror = 'digest-only'\n"),
            2 => Just("pull-from-mirror = 'tag-only'\n"),
            1 => Just("Pull-From-Mirror = 'all'\n"),
            1 => Just("pull-from-mirror = ''\n"),
        ],
    )
        .prop_map(|(location, insecure, pull)| {
            format!("[[registry.mirror]]\nlocation = '{location}'\n{insecure}{pull}")
        });
    let digests = prop_oneof![30 => Just(""), 1 => Just("mirror-by-digest-only = true\n")];
    let blocked = prop_oneof![9 => Just(false), 1 => Just(true)];
    (prefix, mostly(LOCATIONS, &["", "https://a.b"]), blocked, digests, vec(mirror, 0..3)).prop_map(
        |(prefix, location, blocked, digests, mirrors)| {
            let insecure = insecure(location);
            let mirrors = mirrors.concat();
            // Both at once are refused, and that often enough.
            let digests =
                if mirrors.contains("pull-from") && prefix.len() > 3 { "" } else { digests };
            format!(
                "[[registry]]\n{prefix}location = '{location}'\ninsecure = {insecure}\n\
                 blocked = {blocked}\n{digests}{mirrors}"
            )
        },
    )
}

fn short_names() -> impl Strategy<Value = String> {
    let search = select(
        &[
            "",
            "",
            "unqualified-search-registries = ['quay.io']\n",
            "unqualified-search-registries = ['quay.io/']\n",
            "unqualified-search-registries = ['a.b:5000', 'docker.io']\n",
            "unqualified-search-registries = []\n",
        ][..],
    );
    let mode = prop_oneof![
        20 => Just(""),
        4 => Just("short-name-mode = 'enforcing'\n"),
        4 => Just("short-name-mode = 'disabled'\n"),
        1 => Just("short-name-mode = 'some'\n"),
        1 => Just("unqualified-search-registries = ['a.b/c']\n"),
    ];
    let name = mostly(
        &["nginx", "t/app", "MyHost/app", "library/nginx", "app", "foo_bar.com/app"],
        &["app:1", "a.b/app", "App", "localhost/app"],
    );
    let full = mostly(
        &["quay.io/x/y", "docker.io/nginx", "localhost/x", "a.b:5000/app", "", "GHCR.io/x"],
        &["nginx", "quay.io/x:1", "quay.io/", "https://quay.io/x"],
    );
    let aliases = btree_map(name, full, 0..4).prop_map(|aliases| {
        let lines = aliases.iter().map(|(name, full)| format!("'{name}' = '{full}'\n"));
        let lines = lines.collect::<String>();
        if lines.is_empty() { lines } else { format!("[aliases]\n{lines}") }
    });
    (search, mode, aliases).prop_map(|(search, mode, aliases)| {
        let mode = if search.is_empty() || !mode.starts_with('u') { mode } else { "" };
        format!("{search}{mode}{aliases}")
    })
}

/// The files of a node: the main one and drop-ins.
fn files(content: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = Value> {
    let name =
        select(&["000-shortnames.conf", "10-a.conf", "9-b.conf", "README", "z.conf.bak"][..]);
    (content.clone(), btree_map(name, content, 0..3))
        .prop_map(|(main, drop_ins)| json!({"registries_conf": main, "drop_ins": drop_ins}))
}

#[test]
fn generated_names_of_crio() {
    let image = prop_oneof![
        2 => names::images(),
        3 => select(&["nginx", "nginx:1", "t/app", "library/nginx:1", "app", "MyHost/app:1",
            "foo_bar.com/app", "docker.io/nginx", "app@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "app:1@sha256:0000000000000000000000000000000000000000000000000000000000000000"][..])
            .prop_map(ToOwned::to_owned),
    ];
    let files = files(short_names().boxed());
    let questions = (image, files).prop_map(|(image, mut question)| {
        question["op"] = "crio_names".into();
        question["image"] = image.into();
        question
    });
    compare("names of CRI-O", 8, &questions, check);
}

fn images() -> impl Strategy<Value = String> {
    let host = select(
        &[
            "a.b",
            "x.a.b",
            "xy.a.b",
            "y.x.a.b:5000",
            "a.b.b",
            "a.b:5000",
            "m.io",
            "docker.io",
            "quay.io",
            "localhost:5000",
        ][..],
    );
    let path = select(&["app", "t/app", "t/app/sub", "cache/app", "library/app", "tt/app"][..]);
    let digest = format!("@sha256:{}", "0".repeat(64));
    let rest =
        select(vec![String::new(), ":v1".to_owned(), digest.clone(), format!(":v1{digest}")]);
    (host, path, rest).prop_map(|(host, path, rest)| format!("{host}/{path}{rest}"))
}

/// A docker configuration for CRI-O, whose keys are spelled in every way, but no two alike.
fn auth_files() -> impl Strategy<Value = Value> {
    let key = select(
        &[
            "a.b",
            "x.a.b",
            "a.b:5000",
            "a.b/t",
            "a.b/t/app",
            "m.io",
            "m.io/cache",
            "https://quay.io/v1/",
            "http://localhost:5000",
            "index.docker.io",
            "docker.io/library",
            "*.a.b",
            "*",
            "A.b",
            "m.io/",
            "docker.io/library/app",
        ][..],
    );
    let entry = prop_oneof![
        6 => "[a-c]{1,2}:[d-f:]{0,3}".prop_map(|login| json!({"auth": STANDARD.encode(login)})),
        1 => Just(json!({"auth": STANDARD.encode("no colon")})),
        1 => Just(json!({"auth": STANDARD.encode(":only-a-password")})),
        1 => Just(json!({"auth": STANDARD.encode("a:\0b\0\0")})),
        1 => Just(json!({"auth": ""})),
        1 => Just(json!({})),
        1 => Just(json!({"username": "u", "password": "p"})),
        1 => Just(json!({"Auth": STANDARD.encode("upper:case"), "email": "x"})),
        1 => Just(json!({"auth": "*"})),
    ];
    btree_map(key, entry, 0..5).prop_map(|auths| json!({"auths": auths}))
}

#[test]
fn generated_ways_of_crio() {
    let helpers = prop_oneof![
        16 => Just(String::new()),
        1 => Just("credential-helpers = []\n".to_owned()),
        1 => Just("credential-helpers = ['containers-auth.json']\n".to_owned()),
        1 => Just(format!("Credential-Helpers = ['{HELPER}']\n")),
    ];
    let content = prop_oneof![
        12 => (helpers, vec(registry(), 0..4))
            .prop_map(|(helpers, registries)| helpers + &registries.concat()),
        1 => Just("[registries.search]\nregistries = ['quay.io']\n[registries.insecure]\n\
                   registries = ['a.b', 'a.b:5000/']\n[registries.block]\nregistries = ['x.a.b', 'a.b']\n"
            .to_owned()),
    ];
    let questions = (images(), files(content.boxed()), auth_files()).prop_map(
        |(image, mut question, auth_file)| {
            question["op"] = "crio_ways".into();
            question["image"] = image.into();
            question["auth_file"] = auth_file;
            question
        },
    );
    compare("ways of CRI-O", 8, &questions, check);
}

/// A node of CRI-O: its `registries.conf` for one of the registries, and its own logins.
#[derive(Debug, Clone)]
pub struct CrioNode {
    pub pull: Pull,
    /// Mirrors, each with a path in front or not, and whether plain HTTP may be spoken.
    mirrors: Vec<(usize, &'static str, bool, &'static str)>,
    insecure: bool,
    blocked: bool,
    logins: BTreeMap<usize, Login>,
}

pub fn crio_nodes() -> impl Strategy<Value = CrioNode> {
    let often = || prop::bool::weighted(0.85);
    let only = select(&["", "", "", "digest-only", "tag-only", "all"][..]);
    let path = select(&["", "", "", "/public", "/none"][..]);
    let login = select(&[Login::Right, Login::Right, Login::WrongPassword, Login::Stranger][..]);
    (
        pulls(),
        vec((0..3_usize, path, often(), only), 0..3),
        often(),
        prop::bool::weighted(0.1),
        btree_map(0..3_usize, login, 0..3),
    )
        .prop_map(|(pull, mirrors, insecure, blocked, logins)| CrioNode {
            pull,
            mirrors,
            insecure,
            blocked,
            logins,
        })
}

impl CrioNode {
    pub fn registries_conf(&self, live: &Live) -> String {
        use std::fmt::Write as _;
        let host = |at: usize| live.registries[at].host();
        let mut text = format!(
            "[[registry]]\nlocation = '{}'\ninsecure = {}\nblocked = {}\n",
            host(self.pull.registry),
            self.insecure,
            self.blocked
        );
        for (at, path, insecure, only) in &self.mirrors {
            write!(
                text,
                "[[registry.mirror]]\nlocation = '{}{path}'\ninsecure = {insecure}\n\
                 pull-from-mirror = '{only}'\n",
                host(*at)
            )
            .unwrap();
        }
        text
    }

    fn auth_file(&self, live: &Live) -> Value {
        let entry = |(at, login): (&usize, &Login)| {
            let (username, password) = login.pair();
            let auth = STANDARD.encode(format!("{username}:{password}"));
            let host = live.registries[*at].host();
            // The kubelet knows no key like the second one, and CRI-O does.
            let key = if at % 2 == 0 { host } else { format!("https://{host}/v1/any") };
            (key, json!({"auth": auth}))
        };
        json!({"auths": self.logins.iter().map(entry).collect::<BTreeMap<_, _>>()})
    }
}

struct Logins(AuthFile);

impl MirrorLogins for Logins {
    fn login(&self, at_mirror: &ImageReference) -> Option<Credential> {
        self.0.login(at_mirror)
    }
}

#[test]
fn generated_pulls_of_crio_through_mirrors() {
    const VOUCHED: &str =
        "mirrors: listed, credentials: none, preloadedImages: none, network: same";
    let Some(live) = Live::start() else { return };
    let live = std::cell::RefCell::new(live);
    compare("live pulls of CRI-O", 24, &crio_nodes(), |oracle, node| {
        let (text, auth_file) = {
            let live = live.borrow();
            (node.registries_conf(&live), node.auth_file(&live))
        };
        let more = json!({"op": "crio_pull", "registries_conf": text, "auth_file": auth_file});
        let theirs = live.borrow().theirs(oracle, &node.pull, &more);
        let hosts = read(&more).map_err(|error| format!("not read: {error}"))?;
        let logins =
            AuthFile::parse(auth_file.to_string().as_bytes(), CredentialOrigin::NodeRuntime);
        let options = RegistryOptions {
            contact_loopback: true,
            load: LoadLimits { requests_per_second: 100_000, ..LoadLimits::default() },
            hosts,
            mirror_logins: Some(Arc::new(Logins(logins.clone()))),
            ..RegistryOptions::default()
        };
        let _in_runtime = runtime().enter();
        live.borrow_mut().client = RegistryClient::new(options).unwrap();
        live.borrow_mut().auth_file = logins;
        let live = live.borrow();
        let vouched = if auth_file["auths"] == json!({}) {
            VOUCHED.to_owned()
        } else {
            VOUCHED.replace("credentials: none", "credentials: listed")
        };
        let reviewed = live.ours_on(&["cri-o://1.36.3"], &node.pull, "Always", &vouched);
        live.judge(&node.pull, &theirs, &reviewed)
            .map_err(|differ| format!("{text}\n{auth_file}\n{differ}"))
    });
}
