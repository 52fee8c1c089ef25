//! The client certificate that nodes show to a registry: its end is a metric and a line at apply,
//! and a renewed one is used without a restart.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::control_plane::{ControlPlane, DEVELOPER};
use super::images::Image;
use super::pki::{Authority, Identity};
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{nodes, process, programs, skipped, wait_until};

const LABEL: (&str, &str) = ("pullgate", "certificate");
const HOUR: u64 = 3600;

fn write(folder: &Path, identity: &Identity) {
    fs::write(folder.join("client.crt"), &identity.certificate).unwrap();
    fs::write(folder.join("client.key"), &identity.key).unwrap();
}

/// What the developer is told on applying a Deployment with this image.
fn apply(cluster: &ControlPlane, image: &str) -> String {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "asked", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": image}]}}},
    });
    let apply = ["apply", "--dry-run=server", "-f", "-"];
    cluster.kubectl(DEVELOPER).run_with(&apply, &object.to_string()).stderr
}

fn told(cluster: &ControlPlane, server: &PullgateServer, image: &str, wanted: &str) -> String {
    wait_until(wanted, || {
        let said = apply(cluster, image);
        if said.contains(wanted) { Ok(said) } else { Err(said.into()) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", server.log()))
}

fn exported(server: &PullgateServer, host: &str, end: u64) {
    let metric = format!(
        "pullgate_pull_secret_expires_timestamp_seconds\
         {{login=\"client_certificate\",registry=\"{host}\",life=\"long\"}} {end}"
    );
    wait_until("the metric", || {
        let (_, page) = server.admin_page("metrics")?;
        if page.contains(&metric) { Ok(()) } else { Err(format!("no {metric}: {page}").into()) }
    })
    .unwrap();
}

#[test]
fn its_end_is_told_and_a_renewed_one_is_used_at_once() {
    let Some(programs) = programs().inspect_err(|reason| skipped(reason)).ok() else { return };
    let cluster = ControlPlane::start(&programs).unwrap();
    let [site, old, new] = ["site", "old-clients", "new-clients"].map(Authority::new);
    let mut registry = Registry::start_tls(&programs, Access::Anonymous, &site).unwrap();
    registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
    registry.let_in_clients_of(&old, &site).unwrap();
    let hosts = process::folder("hosts");
    let folder = hosts.path().join(registry.host());
    fs::create_dir(&folder).unwrap();
    let text = format!(
        "server = \"https://{}\"\nca = \"ca.crt\"\nclient = [[\"client.crt\", \"client.key\"]]\n",
        registry.host()
    );
    fs::write(folder.join("hosts.toml"), text).unwrap();
    fs::write(folder.join("ca.crt"), site.certificate()).unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    let end = now + 5 * HOUR + 600;
    write(&folder, &old.client_for("nodes", now - 240 * HOUR..end));

    nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
    cluster.namespace_called("shop", &[LABEL]);
    cluster.let_developer_edit("shop");
    pullgate::grant_rights(&cluster);
    let flags =
        [&*format!("--registry-hosts-dir={}", hosts.path().display()), "--reload-seconds=1"];
    let server = PullgateServer::start(&cluster, None, Proof::PathToken, &flags).unwrap();
    server.register(&cluster, "certificate", LABEL);
    let image = registry.image("shop/app:1");
    let said = told(&cluster, &server, &image, "not for long");
    assert_eq!(
        said,
        format!(
            "Warning: image {image}: can be pulled now, but not for long; the client certificate \
             that nodes show to its registry expires in 5 h: renew it\n"
        )
    );
    exported(&server, &registry.host(), end);

    // The registry takes none of the old ones any more.
    registry.let_in_clients_of(&new, &site).unwrap();
    let end = now + 2400 * HOUR;
    write(&folder, &new.client_for("nodes", now - HOUR..end));
    told(&cluster, &server, &registry.image("shop/app:2"), "tag not found in the registry");
    assert_eq!(apply(&cluster, &image), "", "{}", server.log());
    exported(&server, &registry.host(), end);
}
