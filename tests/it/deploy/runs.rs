//! The program itself, with the arguments of the Deployment and the ServiceAccount and roles that
//! are deployed with it: it makes its certificate, is ready, and answers whom it should.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::accepted::apply_base;
use super::deployed::{Endpoint, review_of};
use super::{base, one, program, strings};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::kubectl::Kubectl;
use crate::cluster::process::{self, Process};
use crate::cluster::{free_port, pullgate, runtime, wait_until};

/// A kubeconfig with a token of the deployed ServiceAccount.
fn kubeconfig(cluster: &ControlPlane, kubectl: &Kubectl) -> String {
    let token = kubectl.run(&["create", "token", "pullgate", "-n", "pullgate"]).ok().unwrap();
    let config = kubectl.run(&["config", "view", "--raw", "-o", "json"]).ok().unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "deployed",
        "clusters": [{"name": "c", "cluster": {
            "server": config["clusters"][0]["cluster"]["server"],
            "certificate-authority": cluster.authority()}}],
        "users": [{"name": "u", "user": {"token": token.trim()}}],
        "contexts": [{"name": "deployed", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

/// Status and body of a review.
fn review(endpoint: &Endpoint, port: u16) -> (u16, String) {
    let body = review_of("shop", &json!({"containers": [{"name": "c", "image": "a b"}]}));
    let caller = endpoint.caller(port).unwrap();
    runtime().block_on(caller.post(body.to_string())).unwrap()
}

#[test]
fn what_is_deployed_runs_with_what_is_deployed() {
    let Some(apiserver) = program("kube-apiserver") else { return };
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    apply_base(&kubectl);
    cluster.namespace_called("shop", &[]);

    let folder = process::folder("deployed");
    let objects = base();
    let policy = one(&objects, "ConfigMap", "pullgate-policy")["data"]["policy.yaml"].as_str();
    std::fs::write(folder.path().join("policy.yaml"), policy.unwrap()).unwrap();
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig(&cluster, &kubectl)).unwrap();
    let (listen, admin) = (free_port(), free_port());
    let container =
        &one(&objects, "Deployment", "pullgate")["spec"]["template"]["spec"]["containers"][0];
    let mut command = Command::new(pullgate::binary());
    for argument in strings(&container["args"]) {
        command.arg(
            argument
                // The image of the deployed pods is in a registry beyond this machine.
                .replace("--audit-seconds=3600", "--audit-seconds=0")
                .replace("0.0.0.0:8443", &format!("127.0.0.1:{listen}"))
                .replace("0.0.0.0:8080", &format!("127.0.0.1:{admin}"))
                .replace("/etc/pullgate/policy", &folder.path().display().to_string()),
        );
    }
    command.args(["--own-namespace=pullgate", "--own-name=pullgate-0"]);
    command.arg("--kubeconfig").arg(folder.path().join("kubeconfig"));
    let mut running = Process::start("pullgate", &mut command, folder.path()).unwrap();

    // Ready with every watch, well before the minute after which it would be so without.
    wait_until("/readyz", || {
        running.still_runs()?;
        let page = runtime()
            .block_on(async {
                let url = format!("http://127.0.0.1:{admin}/readyz");
                reqwest::Client::builder().no_proxy().build()?.get(url).send().await?.text().await
            })
            .map_err(|error| error.to_string())?;
        let all_in = !page.contains("still learning") && !page.contains("without history");
        if all_in && page.contains("certificates ok") { Ok(()) } else { Err(page.into()) }
    })
    .unwrap();

    let endpoint = wait_until("the CA bundle", || Ok(Endpoint::read(&kubectl)?)).unwrap();
    let (status, answer) = review(&endpoint, listen);
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["response"]["uid"], "u-1");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["warnings"].as_array().map(Vec::len), Some(1), "{answer}");
    // Whoever is not the API server is not answered, and no path is a way in.
    let stranger = Endpoint { front_proxy: None, ..endpoint.clone() };
    assert_eq!(review(&stranger, listen).0, 403);
    let secret = kubectl.get(&["secret", "-n", "pullgate", "pullgate"]).unwrap();
    let token = STANDARD.decode(secret["data"]["token"].as_str().unwrap()).unwrap();
    let token = String::from_utf8(token).unwrap();
    let by_path = Endpoint { path: format!("/validate/{token}"), ..stranger };
    assert_eq!(review(&by_path, listen).0, 403);
    assert!(!running.output().contains(&token), "the token is logged");
    running.terminate(std::time::Duration::from_secs(15));
}
