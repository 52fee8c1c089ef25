//! How the API server proves itself, against the real one: by way of its aggregation layer, and what a
//! forged review gains by any way.

use serde_json::{Value, json};

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, PULLGATE, User};
use super::images::Image;
use super::pki::{Authority, FRONT_PROXY, Identity, front_proxies};
use super::pullgate::{self, AGGREGATED_PATH, PATH_TOKEN, Proof, PullgateServer};
use super::registry::{Access, PULLER, Registry};
use super::{nodes, programs, runtime, skipped, wait_until};

const LABEL: (&str, &str) = ("pullgate", "proof");
const POLICY: &str = include_str!("scenes/vouched.yaml");

/// A victim's namespace `bank` with a private image and its pull secret.
struct House {
    server: PullgateServer,
    private: Registry,
    cluster: ControlPlane,
}

impl House {
    fn start(proof: Proof) -> Option<Self> {
        let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
        let folder = super::process::folder("recorded");
        let rules = folder.path().join("audit.yaml");
        std::fs::write(&rules, RECORDED).unwrap();
        let recorded = [
            format!("--audit-policy-file={}", rules.display()),
            "--audit-log-path={folder}/audit.log".to_owned(),
        ];
        let recorded: Vec<&str> = recorded.iter().map(String::as_str).collect();
        let cluster = ControlPlane::start_with(&programs, &recorded).unwrap();
        let private = Registry::start(&programs, Access::Basic).unwrap();
        private.push("bank/ledger", &["7.7.1", "7.7.2"], &Image::single("amd64", "7"));
        nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
        cluster.namespace_called("shop", &[LABEL, ("pullgate.dev/mode", "enforce")]);
        cluster.namespace_called("bank", &[LABEL]);
        cluster.let_developer_edit("shop");
        cluster.admin().create(&private.pull_secret("login", "bank", PULLER));
        pullgate::grant_rights(&cluster);
        let server = PullgateServer::start(&cluster, Some(POLICY), proof, &[]).unwrap();
        // What ran there, and is remembered.
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "ran", "namespace": "bank"}, "spec": {"containers":
                [{"name": "c", "image": private.image("bank/ledger:7.7.1")}]}});
        cluster.admin().create(&pod);
        let digest = Image::single("amd64", "7").digest().to_owned();
        nodes::play_running(&cluster, "bank", "ran", "node-a", &digest);
        Some(Self { server, private, cluster })
    }

    /// A review that claims to be an administrator's, of a pod of the victim's namespace with its
    /// secret and a tag that is one letter off.
    fn forged(&self) -> Value {
        let image = self.private.image("bank/ledger:7.7.11");
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "forged", "operation": "CREATE", "namespace": "bank",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": "admin", "groups": ["system:masters"]},
            "object": {"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "p", "namespace": "bank"}, "spec": {
                    "imagePullSecrets": [{"name": "login"}],
                    "containers": [{"name": "c", "image": image}]}}}})
    }

    /// The same as a dry run that asks what is remembered of the image.
    fn asking_history(&self) -> Value {
        let mut review = self.forged();
        let asked = format!("image:{}", self.private.image("bank/ledger:7.7.1"));
        review["request"]["dryRun"] = true.into();
        review["request"]["object"]["metadata"]["annotations"] =
            json!({"pullgate.dev/explain": asked});
        review
    }

    /// Straight to the port, with these headers and this certificate.
    fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        identity: Option<&Identity>,
        body: &Value,
    ) -> Result<(u16, String), String> {
        let authority = reqwest::Certificate::from_pem(self.server.authority().as_bytes()).unwrap();
        let mut client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]);
        if let Some(Identity { certificate, key }) = identity {
            let both = format!("{certificate}{key}");
            client = client.identity(reqwest::Identity::from_pem(both.as_bytes()).unwrap());
        }
        let url = format!("https://127.0.0.1:{}{path}", self.server.listen_port());
        runtime().block_on(async {
            let mut request = client.build().unwrap().post(url).body(body.to_string());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
            let status = answer.status().as_u16();
            Ok((status, answer.text().await.map_err(|error| error.to_string())?))
        })
    }

    /// By way of the API server, as somebody may.
    fn raw(&self, user: User, more: &[&str], body: &Value) -> String {
        let arguments = [&["create", "--raw", AGGREGATED_PATH, "-f", "-"], more].concat();
        let answer = self.cluster.kubectl(user).run_with(&arguments, &body.to_string());
        assert_ne!(answer.code, 0, "{answer:?}");
        answer.stderr + &answer.stdout
    }

    fn dry_run(&self, user: User, namespace: &str, image: &str) -> super::process::Finished {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": namespace},
            "spec": {"containers": [{"name": "c", "image": image}]}});
        let create = ["create", "--dry-run=server", "-f", "-"];
        self.cluster.kubectl(user).run_with(&create, &pod.to_string())
    }

    /// How often Pullgate read the victim's secret, as the API server recorded it.
    fn secrets_read(&self) -> usize {
        let log = std::fs::read_to_string(self.cluster.file("audit.log")).unwrap_or_default();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|event| event["user"]["username"] == PULLGATE.name)
            .filter(|event| event["objectRef"]["resource"] == "secrets")
            .count()
    }
}

const RECORDED: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, resources: [{group: '', resources: [secrets]}]}
- {level: None}
";

#[test]
fn reviews_come_by_the_aggregation_layer_and_nobody_else_is_answered_there() {
    let Some(mut house) = House::start(Proof::Aggregation) else { return };
    house.server.register_aggregated(&house.cluster, "proof", LABEL, "Fail");
    let image = house.private.image("bank/ledger:7.7.1");
    let said = wait_until("the answer", || {
        let answer = house.dry_run(DEVELOPER, "shop", &image);
        let needed = answer.stderr.contains("needs credentials and the pod has none");
        if needed { Ok(answer.stderr) } else { Err(format!("{answer:?}").into()) }
    });
    assert!(said.is_ok(), "{said:?}\n{}", house.server.log());
    // Discovery finds nothing to complain of.
    let resources = house.cluster.admin().run(&["api-resources"]);
    assert_eq!((resources.code, resources.stderr.as_str()), (0, ""), "{}", resources.stdout);

    let read = house.secrets_read();
    let (forged, history) = (house.forged(), house.asking_history());
    // Straight to the port: without a certificate, with one of another authority, with one of
    // another name, and with nothing but the headers.
    let own = [
        ("X-Remote-User", "system:apiserver"),
        ("X-Remote-Group", "system:authenticated"),
        ("X-Remote-Group", "system:masters"),
    ];
    for body in [&forged, &history] {
        let (status, answer) = house.post(AGGREGATED_PATH, &own, None, body).unwrap();
        assert_eq!((status, &*answer), (403, ""));
        let stranger = Authority::new("stranger").client(FRONT_PROXY);
        assert!(house.post(AGGREGATED_PATH, &own, Some(&stranger), body).is_err());
        let other = front_proxies().client("somebody");
        assert!(house.post(AGGREGATED_PATH, &own, Some(&other), body).is_err());
        let path = format!("/validate/{PATH_TOKEN}");
        assert_eq!(house.post(&path, &own, None, body).unwrap().0, 403);
        // By way of the API server: who has no right, who has every right, and who impersonates.
        let refused = house.raw(DEVELOPER, &[], body);
        assert!(refused.contains("orbidden") && !refused.contains("7.7.1"), "{refused}");
        let everything = house.raw(ADMIN, &[], body);
        assert!(everything.contains("orbidden") && !everything.contains("7.7.1"), "{everything}");
        let impersonated = house.raw(ADMIN, &["--as=system:apiserver"], body);
        assert!(
            impersonated.contains("orbidden") && !impersonated.contains("7.7.1"),
            "{impersonated}"
        );
    }
    assert_eq!(house.secrets_read(), read, "no Secret is read for a forged review");

    // While nobody answers: the error holds nothing that proves anything.
    house.server.stop();
    let down = wait_until("the error", || {
        let answer = house.dry_run(DEVELOPER, "shop", &image);
        if answer.code == 0 { Err("still answered".to_owned().into()) } else { Ok(answer.stderr) }
    });
    let down = down.unwrap();
    assert!(down.contains("failed calling webhook"), "{down}");
    assert!(!down.contains(PATH_TOKEN) && !down.contains("validate/"), "{down}");
}

#[test]
fn a_review_that_is_proven_by_the_path_alone_gains_nothing() {
    let Some(house) = House::start(Proof::PathAlone) else { return };
    let path = format!("/validate/{PATH_TOKEN}");
    let (status, answer) = house.post(&path, &[], None, &house.forged()).unwrap();
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
    let words = answer["response"]["warnings"].to_string();
    for told in ["use 7.7.1", "7.7.2", "runs", "ran", "tag not found"] {
        assert!(!words.contains(told), "{told}: {words}");
    }
    let (status, answer) = house.post(&path, &[], None, &house.asking_history()).unwrap();
    assert_eq!(status, 200);
    assert!(!answer.contains("pullgate-memory"), "{answer}");
    assert_eq!(house.secrets_read(), 0);
    let (_, page) = house.server.admin_page("metrics").unwrap();
    assert!(page.contains("pullgate_reviews_total"), "{page}");
}
