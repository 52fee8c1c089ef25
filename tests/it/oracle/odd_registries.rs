//! Registries that few have, where runtimes differ from each other or from what one would think: what
//! containerd and CRI-O get from them, and what a review says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pullgate::credential::AuthFile;
use pullgate::pull::Verdict::{self, CannotTell, Works};
use pullgate::registry::{RegistryClient, RegistryOptions};
use pullgate::workload::Node;
use rstest::rstest;
use serde_json::json;

use super::client::Oracle;
use super::live::review_pod;
use crate::cluster::runtime;
use crate::registry::scripted::*;
use crate::review::fakes::node;

const LEGACY: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry with `a/b:v1`, what has to live as long, and the login of the pod.
type Odd = (Scripted, Vec<Scripted>, Option<(&'static str, &'static str)>);

async fn with_image() -> Scripted {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry
}

async fn redirects_to_a_host_that_wants_the_login() -> Odd {
    let elsewhere = with_image().await;
    elsewhere.access(Access::Basic(vec![user("alice", "pw", &["*"])]));
    let registry = Scripted::start().await;
    let target = format!("http://{}", elsewhere.host());
    registry.replies(move |call| {
        if call.path == "/v2/" {
            let known = call.proof().is_some();
            return Some(if known { reply(200, &[], "{}") } else { basic() });
        }
        Some(reply(307, &[("location", &format!("{target}{}", call.path))], ""))
    });
    (registry, vec![elsewhere], Some(("alice", "pw")))
}

async fn takes_an_empty_password() -> Odd {
    let registry = with_image().await;
    registry.access(Access::Basic(vec![user("robot", "", &["*"])]));
    (registry, Vec::new(), Some(("robot", "")))
}

async fn refuses_an_empty_password() -> Odd {
    let registry = with_image().await;
    registry.access(Access::Basic(vec![user("robot", "pw", &["*"])]));
    (registry, Vec::new(), Some(("robot", "")))
}

async fn gives_tokens_to_anybody() -> Odd {
    let registry = with_image().await;
    registry.access(Access::Token(vec![user("", "", &["*"])]));
    (registry, Vec::new(), Some(("robot", "")))
}

async fn refuses_heads(status: u16) -> Odd {
    let registry = with_image().await;
    registry.replies(move |call| (call.method == "HEAD").then(|| envelope(status, "DENIED")));
    (registry, Vec::new(), None)
}

async fn has_a_legacy_configuration() -> Odd {
    let registry = Scripted::start().await;
    let config =
        br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let digest = registry.put_blob("a/b", config);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{LEGACY}","config":{{"mediaType":"application/octet-stream","digest":"{digest}","size":{}}},"layers":[]}}"#,
        config.len()
    );
    registry.put("a/b", "v1", LEGACY, manifest.as_bytes());
    (registry, Vec::new(), None)
}

async fn has_an_index_with_a_strange_version() -> Odd {
    let registry = Scripted::start().await;
    let config = registry.put_blob("a/b", br#"{"os":"linux","architecture":"amd64"}"#);
    let body = manifest(&config).replace("\"size\":1", "\"size\":37");
    let image = registry.put("a/b", "one", MANIFEST, body.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{MANIFEST}","digest":"{image}","size":{},"platform":{{"os":"linux","architecture":"amd64","os.version":"Ubuntu 24.04 LTS (Noble Numbat) +esm~1 #42"}}}}]}}"#,
        body.len()
    );
    registry.put("a/b", "v1", INDEX, index.as_bytes());
    (registry, Vec::new(), None)
}

/// Artifactory where what is public needs no login, and hides the rest from who does not log in.
async fn hides_from_who_does_not_log_in() -> Odd {
    let registry = with_image().await;
    registry.replies(move |call| match call.proof().is_some() {
        true => None,
        false if call.path == "/v2/" => Some(basic()),
        false => Some(envelope(404, "MANIFEST_UNKNOWN")),
    });
    (registry, Vec::new(), Some(("alice", "pw")))
}

fn basic() -> axum::response::Response {
    challenged(401, r#"Basic realm="odd""#, "UNAUTHORIZED")
}

/// What containerd and CRI-O get, and what is said where a node has the one or the other.
#[rstest]
#[case::redirects(redirects_to_a_host_that_wants_the_login(), [true, true], [CannotTell, CannotTell])]
#[case::empty_password(takes_an_empty_password(), [false, true], [CannotTell, CannotTell])]
#[case::not_empty(refuses_an_empty_password(), [false, false], [CannotTell, CannotTell])]
#[case::tokens(gives_tokens_to_anybody(), [true, true], [Works, Works])]
#[case::head_forbidden(refuses_heads(403), [false, true], [CannotTell, Works])]
#[case::head_missing(refuses_heads(404), [false, true], [CannotTell, Works])]
#[case::head_not_allowed(refuses_heads(405), [true, true], [Works, Works])]
#[case::hides(hides_from_who_does_not_log_in(), [false, true], [CannotTell, Works])]
#[case::legacy(has_a_legacy_configuration(), [true, true], [Works, Works])]
#[case::os_version(has_an_index_with_a_strange_version(), [true, true], [Works, Works])]
fn what_odd_registries_give(
    #[case] odd: impl Future<Output = Odd>,
    #[case] theirs: [bool; 2],
    #[case] ours: [Verdict; 2],
) {
    const VOUCHED: &str = "mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]";
    let Some(mut oracle) = Oracle::start() else { return };
    let (registry, _others, login) = runtime().block_on(odd);
    let image = format!("{}/a/b:v1", registry.host());
    let secret = login.map(|(username, password)| {
        json!({"auths": {registry.host(): {"username": username, "password": password}}})
            .to_string()
    });
    let secrets: Vec<String> = secret.into_iter().collect();
    let of_kubelet = |content: &String| {
        json!({"name": "s", "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": STANDARD.encode(content)}})
    };
    let conf = format!("[[registry]]\nlocation = '{}'\ninsecure = true\n", registry.host());
    for (n, (op, on)) in
        [("resolve", "containerd://2.1.8"), ("crio_pull", "cri-o://1.36.3")].into_iter().enumerate()
    {
        let question = json!({
            "op": op, "image": image, "registries_conf": conf,
            "secrets": secrets.iter().map(of_kubelet).collect::<Vec<_>>(),
            "node": {"os": "linux", "architecture": "amd64"},
        });
        let answer = oracle.ask(&question);
        assert_eq!(answer["ok"], theirs[n], "{op}: {answer:#}");
        // As the nodes come to it: TLS is tried first and not spoken.
        let options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
        let client = {
            let _in_runtime = runtime().enter();
            RegistryClient::new(options).unwrap()
        };
        let nodes = || vec![Node { runtime: on.into(), ..node("n", "linux/amd64") }];
        let pod = (&*image, "Always", &*secrets, false);
        let reviewed = review_pod(&client, (nodes(), &AuthFile::default()), pod, VOUCHED);
        let said = &reviewed.images[0].assessment;
        assert_eq!(said.verdict, ours[n], "{op}: {said:#?}");
    }
}
