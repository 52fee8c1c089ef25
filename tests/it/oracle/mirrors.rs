//! Live pulls by nodes with mirrors, credentials and images of their own: told of in a containerd
//! `config_path` that both sides are given, or known to the nodes alone.
//!
//! Whatever the nodes know besides, nothing is denied that they can pull.

use std::fmt::Write as _;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use pullgate::policy::Decision;
use pullgate::registry::HostsSource;
use serde_json::json;

use super::compare;
use super::live::{Key, Live, Login, Pull, pulls};

/// What a node knows that Pullgate was not told of.
#[derive(Debug, Clone)]
struct Node {
    pull: Pull,
    /// The registry that serves as a mirror of the pull's own.
    mirror: Option<usize>,
    credentials: Option<Login>,
    image: bool,
    when: &'static str,
    /// Whether what is true is vouched for, one by one.
    vouched: [bool; 3],
}

fn nodes() -> impl Strategy<Value = Node> {
    (
        pulls(),
        prop::option::of(0..3_usize),
        prop::option::of(select(&[Login::Right, Login::Right, Login::Stranger][..])),
        any::<bool>(),
        select(&["Always", "IfNotPresent", "Never"][..]),
        prop::array::uniform3(prop::bool::weighted(0.8)),
    )
        .prop_map(|(pull, mirror, credentials, image, when, vouched)| Node {
            pull,
            mirror,
            credentials,
            image,
            when,
            vouched,
        })
}

/// A containerd `config_path` in which one registry is the mirror of another.
pub fn write_hosts(folder: &Path, origin: &str, mirror: &str) {
    let folder = folder.join(format!("{}_", origin.replace(':', "_")));
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "server = \"http://{origin}\"\n[host.\"http://{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
    );
    std::fs::write(folder.join("hosts.toml"), text).unwrap();
}

#[test]
fn nothing_is_denied_that_a_node_of_its_own_knowledge_can_pull() {
    let Some(live) = Live::start() else { return };
    compare("nodes that know more", 24, &nodes(), |oracle, node| {
        let folder = tempfile::tempdir().unwrap();
        let pull = &node.pull;
        let origin = live.registries[pull.registry].host();
        let mut more = json!({});
        if let Some(mirror) = node.mirror {
            write_hosts(folder.path(), &origin, &live.registries[mirror].host());
            more["hosts_dir"] = folder.path().to_str().into();
        }
        if let Some(login) = node.credentials {
            let mut as_secret = pull.clone();
            as_secret.secrets = vec![(Key::Host, login)];
            more["node_config"] = serde_json::from_str(&live.secrets(&as_secret)[0]).unwrap();
        }
        let theirs = live.theirs(oracle, pull, &more);
        // Kubelet 1.34: what is there is used, whoever asks.
        let succeeds = match node.when {
            "Always" => theirs["ok"] == true,
            "IfNotPresent" => node.image || theirs["ok"] == true,
            _ => node.image,
        };
        let word = |absent: bool, vouched: bool| if absent && vouched { "none" } else { "unknown" };
        let vouched = format!(
            "mirrors: {}, credentials: {}, preloadedImages: {}",
            word(node.mirror.is_none(), node.vouched[0]),
            word(node.credentials.is_none(), node.vouched[1]),
            word(!node.image, node.vouched[2]),
        );
        let reviewed = live.ours(pull, node.when, &vouched);
        if succeeds && reviewed.decision == Decision::Deny {
            let assessment = &reviewed.images[0].assessment;
            return Err(format!(
                "denied although the node can: {vouched}: {assessment:#?}, {theirs:#}"
            ));
        }
        Ok(match (succeeds, reviewed.decision) {
            (true, _) => "not denied, the node can",
            (false, Decision::Deny) => "denied, the node cannot",
            (false, _) => "not denied, the node cannot",
        })
    });
}

/// A host in a `hosts.toml`, or its `server`.
#[derive(Debug, Clone)]
struct Host {
    /// A registry, or nothing: a port where nobody listens.
    registry: Option<usize>,
    path: &'static str,
    rest: &'static str,
}

/// One registry's part of a `config_path`.
#[derive(Debug, Clone)]
struct Hosts {
    pull: Pull,
    folder: &'static str,
    listed: Vec<Host>,
    server: Option<Host>,
}

fn host() -> impl Strategy<Value = Host> {
    let rest = select(
        &[
            "",
            "",
            "",
            "capabilities = [\"pull\", \"resolve\"]\n",
            "capabilities = [\"pull\", \"resolve\", \"push\"]\n",
            "capabilities = [\"pull\"]\n",
            "capabilities = [\"resolve\"]\n",
            "capabilities = []\n",
            "skip_verify = true\n",
            "override_path = true\n",
            "dial_timeout = \"1m5s\"\n",
            // containerd drops the file for each of these, the last one before 2.2.
            "dial_timeout = \"5\"\n",
            "dial_timeout = 5\n",
            "client = [[\"a\"]]\n",
            "capabilities = [\"pull\", \"resolve\", \"referrers\"]\n",
            "[host.header]\nx-more = [\"1\"]\n",
        ][..],
    );
    let path = select(&["", "", "", "/", "/v2", "/v2/", "/cache"][..]);
    (prop::option::weighted(0.8, 0..3_usize), path, rest).prop_map(|(registry, path, rest)| Host {
        registry,
        path,
        rest,
    })
}

fn hosts() -> impl Strategy<Value = Hosts> {
    let folder = select(&["{h}_{p}_", "{h}_{p}_", "{h}:{p}", "_default", "{h}"][..]);
    (pulls(), folder, vec(host(), 0..3), prop::option::of(host()))
        .prop_map(|(pull, folder, listed, server)| Hosts { pull, folder, listed, server })
}

impl Hosts {
    fn write(&self, live: &Live, config_path: &Path) {
        let address = |host: &Host| {
            let at = host.registry.map(|registry| live.registries[registry].host());
            format!("http://{}{}", at.as_deref().unwrap_or("127.0.0.1:9"), host.path)
        };
        let mut text = String::new();
        if let Some(server) = &self.server {
            // A table of the server's own would end the file's own fields.
            let rest = if server.rest.contains("header") { "" } else { server.rest };
            text = format!("server = \"{}\"\n{rest}", address(server));
        }
        let mut named = Vec::new();
        for host in &self.listed {
            let address = address(host);
            if !named.contains(&address) {
                let rest =
                    host.rest.replace("[host.header]", &format!("[host.\"{address}\".header]"));
                write!(text, "[host.\"{address}\"]\n{rest}").unwrap();
                named.push(address);
            }
        }
        let origin = live.registries[self.pull.registry].host();
        let (name, port) = origin.split_once(':').unwrap();
        let folder = config_path.join(self.folder.replace("{h}", name).replace("{p}", port));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hosts.toml"), text).unwrap();
    }
}

#[test]
fn generated_mirrors_that_are_listed() {
    const VOUCHED: &str =
        "mirrors: listed, credentials: none, preloadedImages: none, network: same";
    let Some(live) = Live::start() else { return };
    compare("listed mirrors", 24, &hosts(), |oracle, hosts| {
        let folder = tempfile::tempdir().unwrap();
        hosts.write(&live, folder.path());
        let more = json!({"hosts_dir": folder.path().to_str()});
        let theirs = live.theirs(oracle, &hosts.pull, &more);
        let listed = match HostsSource::Containerd(folder.path().to_owned()).load() {
            Ok(listed) => listed,
            // containerd goes on as if there were no file.
            Err(error) => {
                let without = live.theirs(oracle, &hosts.pull, &json!({}));
                let same = theirs["ok"] == without["ok"] && theirs["digest"] == without["digest"];
                let differ = || format!("refused: {error}, theirs {theirs:#}, {without:#}");
                return if same { Ok("file refused") } else { Err(differ()) };
            }
        };
        live.client.take_hosts(listed).unwrap();
        live.judge(&hosts.pull, &theirs, &live.ours(&hosts.pull, "Always", VOUCHED))
    });
}
