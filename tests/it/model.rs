//! A model of nodes that know more than Pullgate was told: mirrors, credentials, cached images.
//! Whatever they know, and whatever of it the policy truly vouches for: nothing that a node could
//! have pulled is ever denied.

use proptest::prelude::*;
use pullgate::history::{Freshness, Success};
use pullgate::policy::Decision;
use pullgate::pull::{ErrorCode, NetworkFault, Outcome, Verdict};
use pullgate::review::{ImageReview, NodeCredentials};
use serde_json::json;

use crate::review::fakes::{World, exists, index, node, secret};
use crate::review::{run, run_update};

const IMAGE: &str = "reg.example.com/team/app:1";
const BY_DIGEST: &str = "reg.example.com/team/app@sha256:\
    4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945";
/// The image of a container beside a volume; anybody may have it.
const BESIDE: &str = "reg.example.com/team/beside:1";

#[derive(Debug, Clone, Copy, PartialEq)]
enum OnNode {
    No,
    SideLoaded,
    PulledBefore,
}

/// What the nodes and the registry really are.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Truth {
    pull_policy: &'static str,
    anonymous: Outcome,
    pod_credentials: Vec<Outcome>,
    node_credential: Option<Outcome>,
    mirror_has_it: Option<bool>,
    on_node: OnNode,
    kubelet: &'static str,
    /// What the nodes are answered where they reach registries by another way than Pullgate.
    answer_elsewhere: Option<Outcome>,
    /// What the image is built for; the node of today is linux/amd64.
    built_for: &'static str,
    /// The platform of a pool that has no node today.
    pool_at_zero: Option<&'static str>,
    /// What the team vouches for, where it is true.
    vouch_mirrors: bool,
    vouch_credentials: bool,
    vouch_preloaded: bool,
    vouch_network: bool,
    vouch_platforms: bool,
    missing_secret: bool,
    /// What a secret gets that is named and comes after the review.
    late_secret: Option<Outcome>,
    /// Whether the index has forgotten what ran here (a restart, the retention).
    forgotten: bool,
    /// Whether the node lists as many images as it may, and this one is not among them.
    list_full: bool,
    /// Whether a Deployment is asked about whose pods somebody else gives another image.
    rewritten: bool,
    /// Whether the image is named by its digest; a node then lists it under another tag too.
    by_digest: bool,
    /// Whether it is the image of a volume and not of a container.
    in_volume: bool,
    /// What the same object was before, if it is not new.
    before: Option<Before>,
}

/// What a changed object was before.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    /// It named the same image and pulled it in the same way: what runs is not pulled again.
    TheSame,
    /// It named another tag of the repository.
    AnotherTag,
    /// It had one pull secret more.
    MoreSecrets,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(exists()),
        // Some registries answer 404 to who may not see it.
        3 => Just(Outcome::TagMissing { code: Some(ErrorCode::ManifestUnknown) }),
        1 => Just(Outcome::RepositoryMissing { code: Some(ErrorCode::NameUnknown) }),
        2 => Just(Outcome::Unauthorized),
        1 => Just(Outcome::Forbidden),
        1 => Just(Outcome::MissingOrDenied),
        1 => Just(Outcome::Throttled { retry_after: None }),
        1 => Just(Outcome::Network(NetworkFault::Dns)),
    ]
}

fn truth() -> impl Strategy<Value = Truth> {
    let nodes = (
        proptest::option::of(outcome()),
        proptest::option::of(any::<bool>()),
        prop_oneof![3 => Just(OnNode::No), 1 => Just(OnNode::SideLoaded), 1 => Just(OnNode::PulledBefore)],
        prop_oneof![Just("v1.34.4"), Just("v1.36.3")],
        proptest::option::weighted(0.2, outcome()),
        prop_oneof![3 => Just("linux/amd64"), 1 => Just("linux/arm64"), 1 => Just("windows/amd64")],
        proptest::option::weighted(0.3, prop_oneof![Just("linux/arm64"), Just("windows/amd64")]),
    );
    let pod = (
        prop_oneof![Just("Always"), Just("IfNotPresent"), Just("Never")],
        outcome(),
        proptest::collection::vec(outcome(), 0..4),
        any::<bool>(),
        proptest::option::weighted(0.2, outcome()),
        any::<[bool; 2]>(),
        prop::bool::weighted(0.1),
        any::<[bool; 2]>(),
        proptest::option::weighted(
            0.3,
            prop_oneof![Just(Before::TheSame), Just(Before::AnotherTag), Just(Before::MoreSecrets)],
        ),
    );
    let vouched = any::<[bool; 5]>();
    (nodes, pod, vouched).prop_map(|(nodes, pod, vouched)| Truth {
        node_credential: nodes.0,
        mirror_has_it: nodes.1,
        on_node: nodes.2,
        kubelet: nodes.3,
        pull_policy: pod.0,
        anonymous: pod.1,
        pod_credentials: pod.2,
        missing_secret: pod.3,
        late_secret: pod.4,
        forgotten: pod.5[0],
        list_full: pod.5[1],
        rewritten: pod.6,
        by_digest: pod.7[0],
        in_volume: pod.7[1],
        before: pod.8,
        answer_elsewhere: nodes.4,
        built_for: nodes.5,
        pool_at_zero: nodes.6,
        vouch_mirrors: vouched[0],
        vouch_credentials: vouched[1],
        vouch_preloaded: vouched[2],
        vouch_network: vouched[3],
        vouch_platforms: vouched[4],
    })
}

impl Truth {
    /// Whether the node could run it, by the kubelet's order: disk, mirrors, the pod's
    /// credentials, its own; anonymous only without any.
    fn node_succeeds(&self) -> bool {
        let fits = self.built_for == "linux/amd64" || Some(self.built_for) == self.pool_at_zero;
        let gets = |outcome: &Outcome| fits && matches!(outcome, Outcome::Exists(_));
        if self.rewritten || self.before == Some(Before::TheSame) {
            return true;
        }
        let on_disk = self.on_node != OnNode::No;
        if self.pull_policy == "Never" {
            return on_disk;
        }
        let anonymous = self.pod_credentials.is_empty()
            && self.node_credential.is_none()
            && gets(&self.anonymous);
        (on_disk && self.pull_policy == "IfNotPresent")
            || self.mirror_has_it == Some(true)
            || self.answer_elsewhere.as_ref().is_some_and(gets)
            || self.pod_credentials.iter().chain(&self.late_secret).any(gets)
            || self.node_credential.as_ref().is_some_and(gets)
            || anonymous
    }

    fn policy(&self) -> String {
        let word = |vouched: bool| if vouched { "none" } else { "unknown" };
        format!(
            "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {{name: default}}\nspec:\n  enforceOn: [pods, workloads]\n  nodes: {{mirrors: {}, credentials: {}, preloadedImages: {}, network: {}, platforms: [{}]}}\n",
            word(self.vouch_mirrors && self.mirror_has_it.is_none()),
            word(self.vouch_credentials && self.node_credential.is_none()),
            word(self.vouch_preloaded && self.on_node != OnNode::SideLoaded),
            if self.vouch_network && self.answer_elsewhere.is_none() { "same" } else { "unknown" },
            match (self.vouch_platforms, self.pool_at_zero) {
                (false, _) => String::new(),
                (true, None) => "linux/amd64".to_owned(),
                (true, Some(other)) => format!("linux/amd64, {other}"),
            },
        )
    }

    fn world(&self) -> World {
        let answered = |outcome: &Outcome| match outcome {
            Outcome::Exists(_) => index(&[self.built_for]),
            other => other.clone(),
        };
        let image = self.image();
        let mut world = World::enforcing().answer(image, "", answered(&self.anonymous)).answer(
            BESIDE,
            "",
            exists(),
        );
        for (index, outcome) in self.pod_credentials.iter().enumerate() {
            let name = format!("s{index}");
            world = world
                .answer(image, &name, answered(outcome))
                .answer(BESIDE, &name, exists())
                .secret(secret(&name, "reg.example.com", &name));
        }
        let mut node = node("n", "linux/amd64");
        node.kubelet = self.kubelet.into();
        if self.list_full {
            node.listed_images = 50;
        } else if self.on_node != OnNode::No {
            // containerd keeps an image that was pulled by its tag under its digest as well.
            node.images = if self.by_digest {
                ["reg.example.com/team/app:0".into(), BY_DIGEST.into()].into()
            } else {
                [IMAGE.into()].into()
            };
        }
        world.rewritten = Some(self.rewritten);
        // Who is answered 404 for what others may have is not shown the repository either.
        let mut answers =
            self.pod_credentials.iter().chain(&self.late_secret).chain([&self.anonymous]);
        world.hides = answers.any(|answer| matches!(answer, Outcome::Exists(_)));
        world.nodes = Some(vec![node]);
        world.history.freshness = Freshness::Current;
        if self.on_node == OnNode::PulledBefore && !self.forgotten {
            world.history.last_success = Some(Success {
                at: "2025-12-01T00:00:00Z".parse().unwrap(),
                digest: None,
                pulled: true,
            });
        }
        // Pullgate was told of none of the nodes' credentials.
        world.node_credentials = NodeCredentials::default();
        world
    }

    fn image(&self) -> &'static str {
        if self.by_digest { BY_DIGEST } else { IMAGE }
    }

    /// The object with this image and these pull secrets.
    fn object(&self, image: &str, secrets: &[serde_json::Value]) -> serde_json::Value {
        let spec = if self.in_volume {
            json!({"imagePullSecrets": secrets, "containers": [{"name": "c", "image": BESIDE}],
                "volumes": [{"name": "v", "image":
                    {"reference": image, "pullPolicy": self.pull_policy}}]})
        } else {
            json!({"imagePullSecrets": secrets, "containers": [
                {"name": "c", "image": image, "imagePullPolicy": self.pull_policy}]})
        };
        if self.rewritten {
            return json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "d", "namespace": "shop"}, "spec": {"template": {"spec": spec}}});
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
            "spec": spec})
    }

    /// The object as it was before, if it was there, and as it is asked about.
    fn objects(&self) -> (Option<serde_json::Value>, serde_json::Value) {
        let mut secrets: Vec<_> =
            (0..self.pod_credentials.len()).map(|n| json!({"name": format!("s{n}")})).collect();
        if self.missing_secret || self.late_secret.is_some() {
            secrets.insert(0, json!({"name": "not-there"}));
        }
        let now = self.object(self.image(), &secrets);
        let old = self.before.map(|before| match before {
            Before::TheSame => now.clone(),
            Before::AnotherTag => self.object("reg.example.com/team/app:before", &secrets),
            Before::MoreSecrets => {
                secrets.push(json!({"name": "one-more"}));
                self.object(self.image(), &secrets)
            }
        });
        (old, now)
    }
}

/// How many worlds are tried: `make model` tries 100,000.
fn worlds() -> u32 {
    std::env::var("PULLGATE_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(worlds()))]

    #[test]
    fn what_a_node_could_have_pulled_is_never_denied(truth in truth()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (world, policy) = (truth.world(), truth.policy());
        let (old, new) = truth.objects();
        let review = match &old {
            Some(old) => runtime.block_on(run_update(&world, [old, &new], &policy)),
            None => runtime.block_on(run(&world, new, &policy)),
        };
        let is_it = |review: &&ImageReview| &*review.places[0].image == truth.image();
        let Some(judged) = review.images.iter().find(is_it) else {
            // Nothing is said of what is not pulled.
            prop_assert_eq!(truth.before, Some(Before::TheSame));
            prop_assert_ne!(review.decision, Decision::Deny);
            return Ok(());
        };
        let assessment = &judged.assessment;
        if truth.node_succeeds() {
            prop_assert_ne!(review.decision, Decision::Deny, "{:?}", assessment);
            prop_assert!(truth.rewritten || !assessment.may_deny(), "{:?}", assessment);
        }
        // A node with a login of its own makes no anonymous attempt; nobody can know that, nor what
        // is answered elsewhere.
        let alike = truth.node_credential.is_none()
            && truth.answer_elsewhere.is_none()
            && truth.late_secret.is_none();
        if assessment.verdict == Verdict::Works && alike {
            prop_assert!(truth.node_succeeds(), "{:?}", assessment);
        }
    }
}
