//! Nobody learns from an answer what runs in namespaces that they may not see: whole answers,
//! compared byte by byte over generated histories.
//!
//! Of two histories of others the one is the other with the images of the registry changed about.
//! Whoever may not see them must get the same answer, and never a harsher one than where those
//! others run nothing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use jiff::Timestamp;
use pullgate::history::{
    Freshness, HealthIndex, History, HistoryQuestion, KnownTag, VisibleHistory,
};
use pullgate::image::ImageReference;
use pullgate::policy::PullgatePolicy;
use pullgate::pull::Outcome;
use pullgate::review::{Endpoint, HealthSource, Proof, Reviewer, SeenPod};
use serde_json::{Value, json};

use super::fakes::{self, World, exists, missing, node, secret};

const CASES: u64 = 400;
const HOST: &str = "reg.example.com";
const REPOSITORIES: usize = 3;
const TAGS: usize = 4;
const IMAGES: usize = REPOSITORIES * TAGS;
const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec:
  cannotTell: warn
  enforceOn: [pods, workloads]
  nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}
  advice: {mutableTags: true}
";

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn ago(minutes: usize) -> Timestamp {
    now() - Duration::from_secs(60 * minutes as u64)
}

fn image(nth: usize) -> String {
    let repository = ["team/app", "team/api", "other/app"][nth / TAGS];
    format!("{HOST}/{repository}:1.{}", nth % TAGS)
}

/// Something that happened with an image.
#[derive(Clone, Debug)]
struct Happened {
    nth: usize,
    image: usize,
    namespace: &'static str,
    started: usize,
    what: What,
    always: bool,
    secrets: bool,
    listed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Runs,
    Gone,
    Fails,
    Claimed,
}

impl Happened {
    fn roll(dice: &mut Dice, nth: usize, namespace: &'static str) -> Self {
        let what = [What::Runs, What::Runs, What::Gone, What::Fails, What::Claimed][dice.roll(5)];
        Self {
            nth,
            image: dice.roll(IMAGES),
            namespace,
            started: [1, 4, 30, 600, 6000][dice.roll(5)],
            what,
            always: dice.one_in(3),
            secrets: dice.one_in(2),
            listed: dice.one_in(2),
        }
    }

    fn tell(&self, index: &mut HealthIndex) {
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.nth + 1);
        let image = image(self.image);
        let started = ago(self.started).to_string();
        if self.what == What::Claimed {
            let event = json!({
                "metadata": {"name": "e"}, "reason": "Pulled",
                "message": format!("Container image \"{image}\" already present on machine"),
                "involvedObject": {"kind": "Pod", "namespace": self.namespace, "uid": uid},
                "lastTimestamp": started,
            });
            return index.apply_event(&serde_json::from_value(event).unwrap(), now());
        }
        let digest = format!("x@sha256:{:064x}", self.nth % 3 + 10);
        let (id, state) = match self.what {
            What::Fails => {
                let message = "manifest unknown: manifest unknown";
                ("", json!({"waiting": {"reason": "ErrImagePull", "message": message}}))
            }
            _ => (&*digest, json!({"running": {"startedAt": started}})),
        };
        let secrets = if self.secrets { json!([{"name": "s"}]) } else { json!([]) };
        let policy = if self.always { "Always" } else { "IfNotPresent" };
        let pod = json!({
            "metadata": {"name": format!("p{}", self.nth), "namespace": self.namespace, "uid": uid,
                "creationTimestamp": ago(10_000).to_string()},
            "spec": {"nodeName": "n0", "imagePullSecrets": secrets, "containers":
                [{"name": "c", "image": image, "imagePullPolicy": policy}]},
            "status": {"containerStatuses": [{"name": "c", "imageID": id, "state": state}]},
        });
        index.apply_pod(&serde_json::from_value(pod).unwrap(), now());
        if self.what == What::Gone {
            index.delete_pod(&uid, now());
        }
    }

    fn is_on_nodes(&self) -> bool {
        self.listed && matches!(self.what, What::Runs | What::Gone)
    }
}

/// The history as a real index holds it; all else from a table.
struct Indexed {
    index: Mutex<HealthIndex>,
}

impl HealthSource for Indexed {
    fn freshness(&self) -> Freshness {
        Freshness::Current
    }

    fn history(&self, question: &HistoryQuestion<'_>, now: Timestamp) -> History {
        self.index.lock().unwrap().history(question, now)
    }

    fn visible_history(
        &self,
        question: &HistoryQuestion<'_>,
        listed: &[&str],
        now: Timestamp,
    ) -> VisibleHistory {
        self.index.lock().unwrap().visible_history(question, listed, now)
    }

    fn namesakes(&self, question: &HistoryQuestion<'_>, _: Timestamp) -> Vec<KnownTag> {
        self.index.lock().unwrap().namesakes(question)
    }

    fn repositories_beside(&self, question: &HistoryQuestion<'_>) -> Vec<Box<str>> {
        self.index.lock().unwrap().repositories_beside(question)
    }

    fn runs_from(&self, host: &str, now: Timestamp) -> bool {
        self.index.lock().unwrap().registry_health(host, now).healthy > 0
    }

    fn registry_fails_on_nodes(&self, host: &str, now: Timestamp) -> bool {
        let health = self.index.lock().unwrap().registry_health(host, now);
        health.unreachable_from_nodes().is_some()
    }

    fn namespaces_of(&self, images: &[ImageReference], most: usize) -> Vec<Box<str>> {
        self.index.lock().unwrap().namespaces_of(images, most)
    }

    fn pull_secrets_in_use(&self, _: &str) -> Vec<Box<str>> {
        Vec::new()
    }

    fn created(&self, _: &str, _: &str) -> Option<Timestamp> {
        None
    }

    fn first_seen(&self, _: SeenPod<'_>, _: Timestamp) -> Option<Timestamp> {
        Some(Timestamp::UNIX_EPOCH)
    }
}

/// One generated cluster without the history of others.
struct Scene {
    outcomes: Vec<Outcome>,
    own: Vec<Happened>,
    kubelet: &'static str,
    listed_at_most: usize,
    request: Value,
    with_secret: bool,
}

fn outcome(dice: &mut Dice) -> Outcome {
    match dice.roll(8) {
        0 | 1 => exists(),
        2..=4 => missing(),
        5 => Outcome::Forbidden,
        6 => Outcome::Throttled { retry_after: None },
        _ => Outcome::Unauthorized,
    }
}

impl Scene {
    fn roll(dice: &mut Dice) -> Self {
        let outcomes = (0..IMAGES).map(|_| outcome(dice)).collect();
        let own = (0..dice.roll(4)).map(|nth| Happened::roll(dice, nth, "shop")).collect();
        let policy = ["Always", "IfNotPresent", "IfNotPresent", "Never"][dice.roll(4)];
        let (asked, with_secret) = (image(dice.roll(IMAGES)), dice.one_in(2));
        let secrets = if with_secret { json!([{"name": "login"}]) } else { json!([]) };
        let spec = json!({"imagePullSecrets": secrets, "containers": [
            {"name": "c", "image": asked, "imagePullPolicy": policy}]});
        let (group, kind, object) = if dice.one_in(3) {
            let spec = json!({"template": {"spec": spec}});
            ("apps", "Deployment", json!({"metadata": {"name": "d"}, "spec": spec}))
        } else {
            ("", "Pod", json!({"metadata": {"name": "p"}, "spec": spec}))
        };
        let user = ["bob", "bob", "system:serviceaccount:shop:ci"][dice.roll(3)];
        let request = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
                "uid": "u-1", "kind": {"group": group, "version": "v1", "kind": kind},
                "operation": "CREATE", "namespace": "shop", "dryRun": dice.one_in(2),
                "userInfo": {"username": user}, "object": object}});
        let kubelet = if dice.one_in(2) { "v1.34.4" } else { "v1.36.3" };
        let listed_at_most = if dice.one_in(6) { 50 } else { 3 };
        Self { outcomes, own, kubelet, listed_at_most, request, with_secret }
    }

    /// The answer where this happened elsewhere, to somebody who sees the own namespace or all.
    fn answer(&self, elsewhere: &[Happened], sees_all: bool) -> Vec<u8> {
        let mut world = World::enforcing();
        for (nth, outcome) in self.outcomes.iter().enumerate() {
            let by = if self.with_secret { "login" } else { "" };
            world = world.answer(&image(nth), by, outcome.clone());
        }
        world = world.secret(secret("login", HOST, "u"));
        if !sees_all {
            world.may_list_in = vec!["shop".into()];
        }
        let mut index = HealthIndex::default();
        index.set_freshness(Freshness::Current);
        let mut node = node("n0", "linux/amd64");
        node.kubelet = self.kubelet.into();
        node.listed_images = self.listed_at_most;
        for happened in self.own.iter().chain(elsewhere) {
            happened.tell(&mut index);
            if happened.is_on_nodes() {
                let more = [image(happened.image).into()];
                node.images = node.images.iter().cloned().chain(more).collect();
            }
        }
        Arc::make_mut(&mut node.images).sort_unstable();
        world.nodes = Some(vec![node]);
        let world = Arc::new(world);
        let reviewer = fakes::reviewer(&world, PullgatePolicy::parse(POLICY, "p").unwrap());
        let health = Arc::new(Indexed { index: Mutex::new(index) });
        let reviewer = Reviewer { health, ..reviewer };
        let body = serde_json::to_vec(&self.request).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        block_on(reviewer.admit(Endpoint::Validate, Proof::Certain, &body, (now(), deadline)))
            .unwrap()
            .body
    }
}

/// The images changed about: repositories among each other, and the tags of each.
fn changed_about(dice: &mut Dice, elsewhere: &[Happened]) -> Vec<Happened> {
    let (repositories, tags) = (dice.roll(REPOSITORIES), dice.roll(TAGS));
    let moved = |image: usize| {
        let repository = (image / TAGS + repositories) % REPOSITORIES;
        repository * TAGS + (image % TAGS + tags) % TAGS
    };
    elsewhere.iter().map(|one| Happened { image: moved(one.image), ..one.clone() }).collect()
}

fn is_allowed(answer: &[u8]) -> bool {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    answer["response"]["allowed"].as_bool().unwrap()
}

#[test]
fn what_runs_out_of_sight_makes_no_difference_between_images() {
    let (mut told_apart, mut denied, mut spared) = (0, 0, 0);
    for case in 0..CASES {
        let dice = &mut Dice(case);
        let scene = Scene::roll(dice);
        let others = ["bank", "mint"];
        let elsewhere: Vec<_> =
            (10..11 + dice.roll(5)).map(|nth| Happened::roll(dice, nth, others[nth % 2])).collect();
        let moved = changed_about(dice, &elsewhere);
        let [one, other] = [&elsewhere, &moved].map(|history| scene.answer(history, false));
        let text = |answer: &[u8]| String::from_utf8_lossy(answer).into_owned();
        assert_eq!(
            text(&one),
            text(&other),
            "case {case}: {}\nown {:#?}\none {elsewhere:#?}\nother {moved:#?}",
            scene.request,
            scene.own
        );
        let nothing = scene.answer(&[], false);
        if is_allowed(&nothing) {
            assert!(is_allowed(&one), "case {case}: harsher: {}", text(&one));
        } else {
            denied += 1;
            spared += u32::from(is_allowed(&one));
        }
        // Who may see everything is told the difference.
        let [one, other] = [&elsewhere, &moved].map(|history| scene.answer(history, true));
        told_apart += u32::from(one != other);
    }
    assert!(told_apart > 50, "{told_apart} of the histories make a difference at all");
    assert!(denied > 40 && spared > 20, "{denied} denials, of which {spared} are spared");
}

#[test]
fn what_the_user_sees_counts_as_ever() {
    let request = |image: String| {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE", "namespace": "shop", "userInfo": {"username": "bob"},
            "object": {"metadata": {"name": "p"}, "spec": {"containers": [
                {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}]}}}})
    };
    let mut scene = Scene {
        outcomes: vec![missing(); IMAGES],
        own: Vec::new(),
        kubelet: "v1.34.4",
        listed_at_most: 3,
        request: request(image(0)),
        with_secret: false,
    };
    assert!(!is_allowed(&scene.answer(&[], false)), "nobody runs anything");
    let ran = Happened {
        nth: 1,
        image: 0,
        namespace: "shop",
        started: 600,
        what: What::Gone,
        always: false,
        secrets: false,
        listed: true,
    };
    scene.own = vec![ran.clone()];
    assert!(is_allowed(&scene.answer(&[], false)), "it ran here, and may be on the node");
    scene.request = request(image(1));
    assert!(!is_allowed(&scene.answer(&[], false)), "another image, and all that is known is seen");
    let others = Happened { nth: 2, image: 5, namespace: "bank", listed: false, ..ran };
    let answer = String::from_utf8(scene.answer(&[others], false)).unwrap();
    assert!(answer.contains(&pullgate::message::history_hidden("shop")), "{answer}");
}
