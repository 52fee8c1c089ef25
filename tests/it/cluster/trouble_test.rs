//! Trouble of Pullgate's own with a registry, as kubectl shows it by the default policy: a used-up
//! limit, a certificate of an unknown authority, no answer in time. One line where a way out was
//! proven, and silence where there is none.

use std::fs;
use std::sync::OnceLock;

use axum::http::StatusCode;
use serde_json::json;

use super::control_plane::{ControlPlane, DEVELOPER};
use super::images::Image;
use super::pki::Authority;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{nodes, process, programs, runtime, skipped, wait_until};

const LABEL: (&str, &str) = ("pullgate", "trouble");

struct House {
    // The webhook ends before the cluster that calls it.
    server: PullgateServer,
    cluster: ControlPlane,
    /// Where the way out is.
    open: Registry,
    /// It has the image, and a certificate of an authority that nobody was given.
    untrusted: Registry,
    throttled: String,
    silent: String,
    _hosts: tempfile::TempDir,
}

fn house() -> Option<&'static House> {
    static HOUSE: OnceLock<House> = OnceLock::new();
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    Some(HOUSE.get_or_init(|| House::set_up(&programs)))
}

/// A registry that answers everything like this; its host.
fn answering(router: axum::Router) -> String {
    let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    runtime().spawn(async move { axum::serve(listener, router).await });
    host
}

impl House {
    fn set_up(programs: &std::path::Path) -> Self {
        let cluster = ControlPlane::start(programs).unwrap();
        let open = Registry::start(programs, Access::Anonymous).unwrap();
        let authority = Authority::new("nobody-knows-it");
        let untrusted = Registry::start_tls(programs, Access::Anonymous, &authority).unwrap();
        let content = Image::single("amd64", "1");
        for registry in [&open, &untrusted] {
            registry.push("shop/app", &["1"], &content);
        }
        let throttled =
            answering(axum::Router::new().fallback(async || StatusCode::TOO_MANY_REQUESTS));
        let silent = answering(axum::Router::new().fallback(async || {
            std::future::pending::<()>().await;
        }));
        // On loopback, runtimes take every certificate and speak plain HTTP too, unless they are told
        // what is spoken there.
        let hosts = process::folder("hosts");
        for (scheme, host) in [("https", &*untrusted.host()), ("http", &*silent)] {
            let folder = hosts.path().join(host);
            fs::create_dir(&folder).unwrap();
            let text = format!("server = \"{scheme}://{host}\"\n");
            fs::write(folder.join("hosts.toml"), text).unwrap();
        }
        nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
        cluster.namespace_called("shop", &[LABEL]);
        cluster.let_developer_edit("shop");
        pullgate::grant_rights(&cluster);
        let flag = format!("--registry-hosts-dir={}", hosts.path().display());
        let server = PullgateServer::start(&cluster, None, Proof::PathToken, &[&flag]).unwrap();
        server.register(&cluster, "trouble", LABEL);
        let house = Self { server, cluster, open, untrusted, throttled, silent, _hosts: hosts };
        house.runs(&house.open.image("shop/app:1"), &content);
        house
    }

    /// A pod of the developer's that has the image.
    fn runs(&self, image: &str, content: &Image) {
        self.cluster.admin().create(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runs", "namespace": "shop"},
            "spec": {"containers": [{"name": "c", "image": image}]},
        }));
        nodes::play_running(&self.cluster, "shop", "runs", "node-a", content.digest());
        wait_until("serve has seen it, and is asked", || {
            let said = self.apply("probe", &self.open.image("shop/app:2"));
            if said.contains("use 1") { Ok(()) } else { Err(said.into()) }
        })
        .unwrap();
    }

    /// What the developer is told on applying a Deployment that was not there.
    fn apply(&self, name: &str, image: &str) -> String {
        let kubectl = self.cluster.kubectl(DEVELOPER);
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image}]}}},
        });
        let done = kubectl.run_with(&["apply", "-f", "-"], &object.to_string());
        assert_eq!(done.code, 0, "{done:?}");
        kubectl.run(&["delete", "deployment", name, "-n", "shop", "--wait=false"]).ok().unwrap();
        done.stderr
    }

    /// The line about an image with a way out, and the silence about one without.
    fn told_if_there_is_a_way_out(&self, name: &str, host: &str, trouble: &str) {
        let way_out = self.open.image("shop/app:1");
        assert_eq!(self.apply(name, &format!("{host}/shop/other:1")), "", "nothing to offer");
        let image = format!("{host}/shop/app:1");
        let line =
            format!("Warning: image {image}: {trouble}; use {way_out} (the same name and tag)");
        // Nobody waits longer than the policy lets them: that a registry never answers is known once
        // the first look-up has come to its end, behind an answer that was not ready in time.
        let said = wait_until("the line", || {
            let said = self.apply(name, &image);
            if said.is_empty() { Err("silence".to_owned().into()) } else { Ok(said) }
        })
        .unwrap();
        assert!(said.starts_with(&line), "{said}\n{}", self.server.log());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.trim_end().chars().count() <= "Warning: ".len() + 256, "{said}");
        // It is a way out: taken at its word, nothing is said.
        assert_eq!(self.apply(name, &way_out), "");
    }
}

#[test]
fn a_limit_that_is_used_up() {
    let Some(house) = house() else { return };
    let trouble = "registry's pull limit reached (429)";
    house.told_if_there_is_a_way_out("limited", &house.throttled, trouble);
}

#[test]
fn a_certificate_of_an_unknown_authority() {
    let Some(house) = house() else { return };
    let trouble = "the registry's certificate is signed by an authority that is not trusted";
    house.told_if_there_is_a_way_out("untrusted", &house.untrusted.host(), trouble);
}

#[test]
fn a_registry_that_never_answers_in_time() {
    let Some(house) = house() else { return };
    let trouble = "the registry does not answer in time";
    house.told_if_there_is_a_way_out("waiting", &house.silent, trouble);
}
