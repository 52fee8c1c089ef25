//! Whole reviews against real registries on loopback, beside what the kubelet's keyring and
//! containerd's resolver get from the same registries.
//!
//! Where the runtime succeeds, the verdict is never *fails*; where it is *works*, the runtime
//! succeeds.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use pullgate::credential::{AuthFile, PullSecret};
use pullgate::policy::{Decision, PullgatePolicy};
use pullgate::pull::Verdict;
use pullgate::registry::{LoadLimits, RegistryClient, RegistryOptions};
use pullgate::review::{Review, ReviewRequest, Sources, review};
use pullgate::user::UserInfo;
use pullgate::workload::{Node, extract, pod_path};
use serde_json::{Value, json};

use super::client::{Oracle, text};
use super::compare;
use crate::cluster::images::Image;
use crate::cluster::registry::{Access, OTHER, PULLER, Registry};
use crate::cluster::{programs, runtime, skipped};
use crate::review::fakes::{World, node};

/// What a secret logs in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Right,
    Other,
    WrongPassword,
    Stranger,
    Empty,
    NoPassword,
}

impl Login {
    /// User name and password.
    pub fn pair(self) -> (&'static str, &'static str) {
        match self {
            Self::Right => (PULLER.0, PULLER.1),
            Self::Other => (OTHER.0, OTHER.1),
            Self::WrongPassword => (PULLER.0, "not-the-password"),
            Self::Stranger => ("stranger", OTHER.1),
            Self::Empty => ("", PULLER.1),
            Self::NoPassword => (PULLER.0, ""),
        }
    }
}

/// The key under which a secret has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Host,
    Url,
    /// The path of one of the two repositories: a credential for a part.
    PublicPart,
    TeamPart,
    Elsewhere,
    /// The whole secret is broken.
    Broken,
}

/// One pull: of what, with what, by which node.
#[derive(Debug, Clone)]
pub struct Pull {
    pub registry: usize,
    repository: &'static str,
    what: &'static str,
    pub secrets: Vec<(Key, Login)>,
    of_account: bool,
    architecture: &'static str,
}

pub fn pulls() -> impl Strategy<Value = Pull> {
    use Login::{Empty, NoPassword, Other, Right, Stranger, WrongPassword};
    let login = select(
        &[Right, Right, Right, Right, Other, WrongPassword, Stranger, Empty, NoPassword][..],
    );
    let key = prop_oneof![
        12 => Just(Key::Host),
        4 => select(&[Key::Url, Key::PublicPart, Key::TeamPart, Key::Elsewhere][..]),
        1 => Just(Key::Broken),
    ];
    (
        0..3_usize,
        select(&["public/app", "public/app", "team/app", "team/app", "team/none"][..]),
        select(
            &["index", "index", "single", "arm-index", "arm-single", "none", "@", "@none", "none@"]
                [..],
        ),
        vec((key, login), 0..4),
        any::<bool>(),
        select(&["amd64", "amd64", "arm64"][..]),
    )
        .prop_map(|(registry, repository, what, secrets, of_account, architecture)| Pull {
            registry,
            repository,
            what,
            secrets,
            of_account,
            architecture,
        })
}

/// Three registries (anonymous, Basic, token) with two repositories each, and our client.
pub struct Live {
    pub registries: Vec<Registry>,
    index_digest: String,
    pub client: std::sync::Arc<RegistryClient>,
    /// The nodes' own logins, where they have CRI-O.
    pub auth_file: AuthFile,
}

impl Live {
    pub fn start() -> Option<Self> {
        let folder = programs().inspect_err(|reason| skipped(reason)).ok()?;
        let accesses = [Access::Anonymous, Access::Basic, Access::Token];
        let registries: Vec<_> =
            accesses.map(|access| Registry::start(&folder, access).unwrap()).into();
        let index = Image::index(&["amd64", "arm64"], "both");
        for registry in &registries {
            for repository in ["public/app", "team/app"] {
                registry.push(repository, &["index"], &index);
                registry.push(repository, &["single"], &Image::single("amd64", "one"));
                registry.push(repository, &["arm-index"], &Image::index(&["arm64"], "arm"));
                registry.push(repository, &["arm-single"], &Image::single("arm64", "lone"));
            }
        }
        let options = RegistryOptions {
            contact_loopback: true,
            load: LoadLimits { requests_per_second: 100_000, ..LoadLimits::default() },
            ..RegistryOptions::default()
        };
        let _in_runtime = runtime().enter();
        let client = RegistryClient::new(options).unwrap();
        Some(Self {
            registries,
            index_digest: index.digest().to_owned(),
            client,
            auth_file: AuthFile::default(),
        })
    }

    fn image(&self, pull: &Pull) -> String {
        let missing = format!("sha256:{}", "0".repeat(64));
        let suffix = match pull.what {
            "@" => format!("@{}", self.index_digest),
            "@none" => format!("@{missing}"),
            "none@" => format!(":none@{}", self.index_digest),
            tag => format!(":{tag}"),
        };
        self.registries[pull.registry].image(&format!("{}{suffix}", pull.repository))
    }

    /// The contents of the pull's secrets, docker configurations.
    pub fn secrets(&self, pull: &Pull) -> Vec<String> {
        let host = self.registries[pull.registry].host();
        let content = |(key, of): &(Key, Login)| {
            let key = match key {
                Key::Host => host.clone(),
                Key::Url => format!("http://{host}/v1/"),
                Key::PublicPart => format!("{host}/public"),
                Key::TeamPart => format!("{host}/team"),
                Key::Elsewhere => "registry.example.com".to_owned(),
                Key::Broken => return r#"{"auths":{"r":{"auth":"*"}}}"#.to_owned(),
            };
            let (username, password) = of.pair();
            json!({"auths": {key: {"username": username, "password": password}}}).to_string()
        };
        pull.secrets.iter().map(content).collect()
    }

    /// What the kubelet and containerd make of it.
    pub fn theirs(&self, oracle: &mut Oracle, pull: &Pull, more: &Value) -> Value {
        let secrets = self.secrets(pull);
        let secrets = secrets.iter().enumerate().map(|(n, content)| {
            json!({"name": n.to_string(), "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": STANDARD.encode(content)}})
        });
        let of = if pull.of_account { "service_account_secrets" } else { "secrets" };
        let mut question = json!({
            "op": "resolve", "image": self.image(pull), of: secrets.collect::<Vec<_>>(),
            "node": {"os": "linux", "architecture": pull.architecture},
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            question[field] = value.clone();
        }
        oracle.ask(&question)
    }

    /// What a review makes of a pod with it.
    pub fn ours(&self, pull: &Pull, when: &str, vouched: &str) -> Review {
        self.ours_on(&["containerd://2.1.8"], pull, when, vouched)
    }

    /// The same where there is a node of each of these runtimes.
    pub fn ours_on(&self, runtimes: &[&str], pull: &Pull, when: &str, vouched: &str) -> Review {
        let on = |runtime: &&str| {
            let node = node("n", &format!("linux/{}", pull.architecture));
            Node { runtime: (*runtime).into(), ..node }
        };
        let nodes = runtimes.iter().map(on).collect();
        let secrets = self.secrets(pull);
        let pod = (&*self.image(pull), when, &*secrets, pull.of_account);
        review_pod(&self.client, (nodes, &self.auth_file), pod, vouched)
    }

    /// Fails where theirs and ours do not go together; else names the kind of case.
    pub fn judge(
        &self,
        pull: &Pull,
        theirs: &Value,
        reviewed: &Review,
    ) -> Result<&'static str, String> {
        let assessment = &reviewed.images[0].assessment;
        let succeeds = theirs["ok"] == true;
        let differ = |how: &str| {
            let image = self.image(pull);
            Err(format!(
                "{how}: {image}: {assessment:#?}, {:?}, theirs {theirs:#}",
                reviewed.decision
            ))
        };
        if succeeds && assessment.verdict == Verdict::Fails {
            return differ("fails is said of what they can pull");
        }
        if !succeeds && assessment.verdict == Verdict::Works {
            return differ("works is said of what they cannot pull");
        }
        let digest = assessment.digest.as_ref().map(ToString::to_string).unwrap_or_default();
        if succeeds && !digest.is_empty() && digest != text(theirs, "digest") {
            return differ("another digest");
        }
        Ok(match (assessment.verdict, reviewed.decision) {
            (Verdict::Works, _) => "works",
            (Verdict::Fails, Decision::Deny) => "fails, denied",
            (Verdict::Fails, _) => "fails",
            (Verdict::CannotTell, _) if succeeds => "cannot tell, they can pull",
            (Verdict::CannotTell, _) => "cannot tell, they cannot pull",
        })
    }
}

/// A review of a pod: its image, pull policy and pull secrets, and whether these are its account's.
pub fn review_pod(
    client: &RegistryClient,
    (nodes, auth_file): (Vec<Node>, &AuthFile),
    (image, when, secrets, of_account): (&str, &str, &[String], bool),
    vouched: &str,
) -> Review {
    let mut world = World::enforcing();
    world.nodes = Some(nodes);
    world.auth_file = auth_file.clone();
    let mut names = Vec::new();
    for (n, content) in secrets.iter().enumerate() {
        let name = n.to_string();
        world = world.secret(PullSecret::docker_config_json(&name, content.as_bytes()));
        names.push(name);
    }
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": [{"name": "app", "image": image, "imagePullPolicy": when}]}});
    if of_account {
        world.account.pull_secrets = names.into_iter().map(Into::into).collect();
    } else {
        pod["spec"]["imagePullSecrets"] = names.iter().map(|n| json!({"name": n})).collect();
    }
    let raw = serde_json::value::to_raw_value(&pod).unwrap();
    let workload = extract(&raw, &pod_path("", "Pod").unwrap()).unwrap();
    let policy = format!(
        "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {{name: default}}\n\
         spec:\n  nodes: {{{vouched}}}\n"
    );
    let policy = PullgatePolicy::parse(&policy, "policy.yaml").unwrap();
    let subject = ReviewRequest {
        workload: &workload,
        namespace: "shop",
        user: &UserInfo { username: "ann".into(), ..UserInfo::default() },
        policy: &policy,
        runtime: None,
        account_applied: false,
        patient: false,
        rollout: None,
        now: "2026-01-02T03:04:05Z".parse().unwrap(),
        deadline: Instant::now() + Duration::from_secs(20),
    };
    let sources = Sources { registry: client, ..world.sources() };
    runtime().block_on(review(sources, subject))
}

#[test]
fn generated_pulls_from_live_registries() {
    const VOUCHED: &str = "mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]";
    let Some(live) = Live::start() else { return };
    compare("live pulls", 24, &pulls(), |oracle, pull| {
        let theirs = live.theirs(oracle, pull, &Value::Null);
        let reviewed = live.ours(pull, "Always", VOUCHED);
        live.judge(pull, &theirs, &reviewed)
    });
}
