//! The stage of the scenes: a cluster with two simulated amd64 nodes and a shop that runs on them,
//! three registries with images, and two Pullgates – one whose policy vouches for the nodes, one
//! without any policy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::control_plane::{ControlPlane, DEVELOPER};
use super::images::Image;
use super::process::{self, Finished};
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, PULLER, Registry};
use super::{PATIENCE, nodes};

/// The manifests of the scenes; `{open}`, `{private}` and `{down}` stand for registries.
const FILES: [(&str, &str); 9] = [
    ("good.yaml", include_str!("scenes/good.yaml")),
    ("missing-tag.yaml", include_str!("scenes/missing-tag.yaml")),
    ("pipeline.yaml", include_str!("scenes/pipeline.yaml")),
    ("private.yaml", include_str!("scenes/private.yaml")),
    ("private-with-secret.yaml", include_str!("scenes/private-with-secret.yaml")),
    ("arm64-only.yaml", include_str!("scenes/arm64-only.yaml")),
    ("registry-down.yaml", include_str!("scenes/registry-down.yaml")),
    ("pod-good.yaml", include_str!("scenes/pod-good.yaml")),
    ("pod-missing.yaml", include_str!("scenes/pod-missing.yaml")),
];
const VOUCHED: &str = include_str!("scenes/vouched.yaml");

/// Everything that the scenes play on.
#[derive(Debug)]
pub struct Stage {
    // Webhooks end before the cluster that calls them.
    vouched: PullgateServer,
    unvouched: PullgateServer,
    open: Registry,
    private: Registry,
    down: Registry,
    cluster: ControlPlane,
    files: TempDir,
}

impl Stage {
    /// Builds the stage from the programs in `programs`; `say` is told what happens.
    pub fn build(programs: &Path, say: &dyn Fn(&str)) -> Result<Self, String> {
        if !pullgate::binary().is_file() {
            return Err(format!("{} is not built", pullgate::binary().display()));
        }
        say("starting etcd, kube-apiserver and kube-controller-manager");
        let cluster = ControlPlane::start(programs)?;
        say("starting three registries and pushing small images to them");
        let open = Registry::start(programs, Access::Anonymous)?;
        let private = Registry::start(programs, Access::Basic)?;
        let mut down = Registry::start(programs, Access::Anonymous)?;
        let both = ["amd64", "arm64"];
        open.push("shop/app", &["1.2.2"], &Image::index(&both, "1.2.2"));
        open.push("shop/app", &["1.2.3", "1.2", "latest"], &Image::index(&both, "1.2.3"));
        open.push("shop/sensors", &["0.9.0"], &Image::index(&["arm64"], "0.9.0"));
        private.push("shop/billing", &["3.0.9"], &Image::index(&both, "3.0.9"));
        private.push("shop/billing", &["3.1.0"], &Image::single("amd64", "3.1.0"));
        down.push("shop/archive", &["1.0.0"], &Image::single("amd64", "1.0.0"));
        down.stop();
        say(
            "simulating two amd64 nodes and a shop that runs on them (statuses written through the API)",
        );
        populate(&cluster, &open, &private);
        // One knows its caller by the path, the other by the certificate: both are in the scenes.
        say("starting pullgate serve twice: with a policy that vouches for the nodes, and without");
        pullgate::grant_rights(&cluster);
        let vouched = PullgateServer::start(&cluster, Some(VOUCHED), Proof::PathToken, &[])?;
        let unvouched = PullgateServer::start(&cluster, None, Proof::ClientCertificate, &[])?;
        vouched.register(&cluster, "pods", ("pullgate", "vouched"));
        unvouched.register(&cluster, "unvouched", ("pullgate", "unvouched"));
        let files = process::folder("scenes");
        let stage = Self { vouched, unvouched, open, private, down, cluster, files };
        for (name, text) in FILES {
            fs::write(stage.files.path().join(name), stage.with_names(text))
                .map_err(|error| format!("{name}: {error}"))?;
        }
        stage.wait_for_webhooks()?;
        Ok(stage)
    }

    /// The API server watches its webhook configurations: wait until it asks both.
    fn wait_for_webhooks(&self) -> Result<(), String> {
        for (namespace, server) in [("shop-strict", &self.vouched), ("shop-open", &self.unvouched)]
        {
            let probe = ["create", "--dry-run=server", "-n", namespace, "-f", "pod-missing.yaml"];
            super::wait_until("the webhook", || {
                let answer = self.run(&[&["kubectl"], &probe[..]].concat());
                if answer.stderr.contains("shop/app:1.2.4") {
                    return Ok(());
                }
                let log = server.log();
                let from = log.len().saturating_sub(2000);
                Err(format!("{answer:?}\n{}", log.get(from..).unwrap_or_default()).into())
            })?;
        }
        Ok(())
    }

    /// Runs a command as the developer, in the folder with the manifests: `kubectl` or `pullgate`
    /// and its arguments.
    pub fn run(&self, words: &[&str]) -> Finished {
        let mut command = match words[0] {
            "pullgate" => Command::new(pullgate::binary()),
            program => Command::new(self.cluster.programs().join(program)),
        };
        process::clean_environment(&mut command, self.files.path());
        if words[0] == "kubectl" {
            command.env("KUBECONFIG", self.cluster.kubeconfig(DEVELOPER));
        }
        command.args(&words[1..]).current_dir(self.files.path());
        process::run(&mut command, "", PATIENCE * 2)
    }

    /// A text with the registries' hosts in the place of `{open}`, `{private}` and `{down}`.
    pub fn with_names(&self, text: &str) -> String {
        text.replace("{open}", &self.open.host())
            .replace("{private}", &self.private.host())
            .replace("{down}", &self.down.host())
    }

    /// A text as documentation shows it: the registries' ports are always the same.
    pub fn as_documented(&self, text: &str) -> String {
        text.replace(&self.open.host(), "127.0.0.1:5000")
            .replace(&self.private.host(), "127.0.0.1:5001")
            .replace(&self.down.host(), "127.0.0.1:5002")
    }

    /// A manifest of the scenes, as it was written for this stage.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The cluster.
    pub fn cluster(&self) -> &ControlPlane {
        &self.cluster
    }
}

/// Nodes, namespaces, and what ran before Pullgate came.
fn populate(cluster: &ControlPlane, open: &Registry, private: &Registry) {
    for node in ["node-a", "node-b"] {
        nodes::create_node(cluster, node, "amd64", &[], &[]);
    }
    let enforce = ("pullgate.dev/mode", "enforce");
    let namespaces = [
        ("shop", vec![("pullgate", "vouched")]),
        ("shop-strict", vec![("pullgate", "vouched"), enforce]),
        ("shop-open", vec![("pullgate", "unvouched"), enforce]),
    ];
    for (namespace, labels) in namespaces {
        cluster.namespace_called(namespace, &labels);
        cluster.let_developer_edit(namespace);
    }
    let digest = Image::index(&["amd64", "arm64"], "1.2.2").digest().to_owned();
    cluster.admin().create(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "app"}},
            "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"containers": [{"name": "app", "image": open.image("shop/app:1.2.2")}]},
            },
        },
    }));
    for (pod, node) in
        nodes::wait_for_pods(cluster, "shop", "app=app", 2).iter().zip(["node-a", "node-b"])
    {
        nodes::play_running(cluster, "shop", pod, node, &digest);
    }
    // Another pod of the shop pulls from the private registry, with a secret that works.
    cluster.admin().create(&private.pull_secret("registry-login", "shop", PULLER));
    cluster.admin().create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reports", "namespace": "shop"},
        "spec": {
            "imagePullSecrets": [{"name": "registry-login"}],
            "containers": [{"name": "reports", "image": private.image("shop/billing:3.0.9")}],
        },
    }));
    let digest = Image::index(&["amd64", "arm64"], "3.0.9").digest().to_owned();
    nodes::play_running(cluster, "shop", "reports", "node-a", &digest);
}
