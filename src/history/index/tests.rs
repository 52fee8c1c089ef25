//! The index against small clusters, made of pods as the API server would show them.

mod memory;
mod never_ran;
mod random;
mod trouble;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::history::facts::{HistoryQuestion, KnownTag, Visibility};
use crate::history::report::{ForecastBasis, ReportTarget, Spread};
use crate::image::ImageReference;
use crate::pull::{Cause, NodeLogin};

const NOT_FOUND: &str = "manifest unknown: manifest unknown";
const TIMEOUT: &str = r#"Get "https://r.example/v2/": dial tcp 10.0.0.1:443: i/o timeout"#;
const DENIED: &str = "unauthorized: authentication required";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

/// A pod in the making.
#[derive(Clone, Debug)]
struct Pod {
    nth: u32,
    namespace: String,
    owner: String,
    node: String,
    images: Vec<(String, What)>,
    secrets: bool,
    policy: &'static str,
}

#[derive(Clone, Debug)]
enum What {
    Runs(i64),
    RunsAs(i64, char),
    Fails(&'static str, &'static str),
    Waits,
    Ended(i64),
}

fn pod(nth: u32, image: &str, what: What) -> Pod {
    Pod {
        nth,
        namespace: "shop".into(),
        owner: format!("web-{}", nth % 7),
        node: format!("node-{}", nth % 3),
        images: vec![(image.into(), what)],
        secrets: true,
        policy: "IfNotPresent",
    }
}

impl Pod {
    fn uid(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.nth)
    }

    fn view(&self) -> PodView {
        let (mut containers, mut statuses) = (Vec::new(), Vec::new());
        for (nth, (image, what)) in self.images.iter().enumerate() {
            containers.push(
                json!({"name": nth.to_string(), "image": image, "imagePullPolicy": self.policy}),
            );
            let digest = |letter: char| format!("x@sha256:{}", letter.to_string().repeat(64));
            let (id, state) = match what {
                What::Runs(minute) => {
                    (digest('a'), json!({"running": {"startedAt": at(*minute).to_string()}}))
                }
                What::RunsAs(minute, letter) => {
                    (digest(*letter), json!({"running": {"startedAt": at(*minute).to_string()}}))
                }
                What::Ended(minute) => (
                    digest('a'),
                    json!({"terminated": {"startedAt": at(*minute).to_string(), "exitCode": 0}}),
                ),
                What::Fails(reason, message) => {
                    (String::new(), json!({"waiting": {"reason": reason, "message": message}}))
                }
                What::Waits => (String::new(), json!({"waiting": {"reason": "ContainerCreating"}})),
            };
            statuses.push(json!({"name": nth.to_string(), "imageID": id, "state": state}));
        }
        let secrets = if self.secrets { json!([{"name": "s"}]) } else { json!([]) };
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("{}-x{}", self.owner, self.nth), "namespace": self.namespace,
                "uid": self.uid(), "creationTimestamp": at(-10).to_string(),
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": self.owner,
                    "uid": "u", "controller": true}],
            },
            "spec": {"nodeName": self.node, "containers": containers, "imagePullSecrets": secrets},
            "status": {"containerStatuses": statuses},
        }))
        .unwrap()
    }

    fn event(&self, reason: &str, message: &str, minute: i64) -> EventView {
        serde_json::from_value(json!({
            "metadata": {"name": "e"}, "reason": reason, "message": message,
            "involvedObject": {"kind": "Pod", "namespace": self.namespace, "uid": self.uid()},
            "lastTimestamp": at(minute).to_string(),
        }))
        .unwrap()
    }
}

fn index(pods: &[Pod]) -> HealthIndex {
    let mut index = HealthIndex::default();
    for pod in pods {
        index.apply_pod(&pod.view(), at(0));
    }
    index.set_freshness(Freshness::Current);
    index
}

fn ask(index: &HealthIndex, image: &str, visibility: &Visibility) -> super::super::History {
    let reference = ImageReference::parse(image).unwrap();
    index.history(&HistoryQuestion { reference: &reference, namespace: "shop", visibility }, at(1))
}

fn tags(known: &[KnownTag]) -> Vec<(String, u32)> {
    known.iter().map(|tag| (tag.reference.to_string(), tag.pods)).collect()
}

/// The investigator's example: one tag fails in two workloads, the one before runs in three, the
/// rest of the registry is well.
fn investigation() -> Vec<Pod> {
    let mut pods: Vec<Pod> = (0..2)
        .map(|n| pod(n, "my-registry.io/app:v2.3.1", What::Fails("ImagePullBackOff", NOT_FOUND)))
        .collect();
    pods.extend(
        (2..5).map(|n| pod(n, "my-registry.io/app:v2.3.0", What::Runs(-60 + i64::from(n)))),
    );
    pods.extend((5..9).map(|n| pod(n, "my-registry.io/other:1", What::Runs(-90))));
    pods
}

#[test]
fn a_missing_tag_is_told_from_a_registry_in_trouble() {
    let index = index(&investigation());
    let history = ask(&index, "my-registry.io/app:v2.3.1", &Visibility::Cluster);
    assert_eq!(history.last_success, None);
    assert_eq!(history.failures, [(Cause::TagNotFound, 2)]);
    assert_eq!(tags(&history.known_tags), [("my-registry.io/app:v2.3.0".to_owned(), 3)]);
    let registry = history.registry;
    assert_eq!((registry.healthy, registry.failing), (7, 2));
    assert_eq!(registry.main_cause, Some(Cause::TagNotFound));
    assert!(!registry.in_trouble);
    let good = ask(&index, "my-registry.io/app:v2.3.0", &Visibility::Cluster);
    let success = good.last_success.unwrap();
    assert_eq!(success.at, at(-56));
    assert!(!success.pulled);
    assert_eq!(success.digest.unwrap().as_str(), format!("sha256:{}", "a".repeat(64)));
}

#[test]
fn while_learning_or_stale_nothing_is_told() {
    let mut index = index(&investigation());
    for freshness in [Freshness::Learning, Freshness::Stale] {
        index.set_freshness(freshness);
        let history = ask(&index, "my-registry.io/app:v2.3.0", &Visibility::Cluster);
        assert_eq!(history, super::super::History { freshness, ..Default::default() });
        let subject = ReportTarget::Registry("my-registry.io".into());
        let report = index.report(&subject, &Visibility::Cluster, at(1));
        assert_eq!((report.scope.pods, report.registry.health.healthy), (0, 0));
    }
}

#[test]
fn only_namespaces_that_may_be_told_of_are_counted() {
    let mut pods = investigation();
    pods[0].namespace = "hidden".into();
    pods[2].namespace = "hidden".into();
    let index = index(&pods);
    let shop = Visibility::Namespaces(vec!["shop".into(), "unknown".into()]);
    let history = ask(&index, "my-registry.io/app:v2.3.1", &shop);
    assert_eq!(history.failures, [(Cause::TagNotFound, 1)]);
    assert_eq!(tags(&history.known_tags), [("my-registry.io/app:v2.3.0".to_owned(), 2)]);
    let nobody = Visibility::Namespaces(Vec::new());
    let history = ask(&index, "my-registry.io/app:v2.3.1", &nobody);
    assert_eq!((history.failures.len(), history.known_tags.len()), (0, 0));
    let subject = ReportTarget::Registry("my-registry.io".into());
    let report = index.report(&subject, &shop, at(1));
    assert!(report.partial);
    assert_eq!(report.scope.pods, 7);
    assert!(!serde_json::to_string(&report).unwrap().contains("hidden"));
    let empty = index.report(&subject, &nobody, at(1));
    assert_eq!((empty.scope.pods, empty.tags.len(), empty.last_success), (0, 0, None));
}

#[test]
fn a_pod_that_moves_on_is_counted_once() {
    let mut index = index(&[]);
    let image = "my-registry.io/app:1";
    let steps = [
        What::Waits,
        What::Fails("ErrImagePull", TIMEOUT),
        What::Fails("ImagePullBackOff", NOT_FOUND),
        What::Runs(0),
        What::Ended(0),
    ];
    let expected = [(0, 0), (0, 1), (0, 1), (1, 0), (0, 0)];
    for (what, counts) in steps.into_iter().zip(expected) {
        index.apply_pod(&pod(1, image, what).view(), at(1));
        let registry = index.registry_health("my-registry.io", at(1));
        assert_eq!((registry.healthy, registry.failing), counts);
    }
    index.delete_pod(&pod(1, image, What::Waits).uid(), at(2));
    assert_eq!(index.size().pods, 0);
    // The success outlives the pod.
    assert_eq!(ask(&index, image, &Visibility::Cluster).last_success.unwrap().at, at(0));
}

#[rstest]
#[case::docker_hub("nginx:1", "registry-1.docker.io/library/nginx:2", "docker.io")]
#[case::old_hub("index.docker.io/bitnami/redis:1", "docker.io/bitnami/redis:2", "docker.io")]
#[case::mirror("ghcr.io/org/app:1", "mirror.example/gh/org/app:2", "ghcr.io")]
fn one_repository_under_several_names_is_one(
    #[case] one: &str,
    #[case] other: &str,
    #[case] host: &str,
) {
    let rewrites = vec![Rewrite { from: "mirror.example/gh/".into(), to: "ghcr.io/".into() }];
    let mut index = HealthIndex::new(Limits { rewrites, ..Limits::default() });
    index.set_freshness(Freshness::Current);
    index.apply_pod(&pod(1, one, What::Runs(0)).view(), at(0));
    index.apply_pod(&pod(2, other, What::Runs(1)).view(), at(0));
    assert_eq!(ask(&index, one, &Visibility::Cluster).known_tags.len(), 2);
    assert_eq!(ask(&index, other, &Visibility::Cluster).registry.healthy, 2);
    assert_eq!(index.registry_health(host, at(0)).healthy, 2);
}

#[test]
fn a_back_off_without_a_cause_keeps_the_cause_of_the_attempt() {
    let image = "my-registry.io/app:1";
    let mut index = index(&[pod(1, image, What::Fails("ErrImagePull", DENIED))]);
    let back_off = pod(1, image, What::Fails("ImagePullBackOff", "Back-off pulling image \"x\""));
    index.apply_pod(&back_off.view(), at(1));
    assert_eq!(ask(&index, image, &Visibility::Cluster).failures, [(Cause::Unauthorized, 1)]);
    index.apply_pod(&back_off.view(), at(2));
    assert_eq!(ask(&index, image, &Visibility::Cluster).failures, [(Cause::Unauthorized, 1)]);
}

#[rstest]
#[case::event_first(true)]
#[case::pod_first(false)]
fn an_event_names_the_cause_that_a_back_off_does_not(#[case] event_first: bool) {
    let image = "my-registry.io/app:1";
    let pod = pod(1, image, What::Fails("ImagePullBackOff", "Back-off pulling image"));
    let message = format!("Failed to pull image \"{image}\": {DENIED}");
    let event = pod.event("Failed", &message, 0);
    let mut index = index(&[]);
    if event_first {
        index.apply_event(&event, at(0));
        index.apply_pod(&pod.view(), at(0));
    } else {
        index.apply_pod(&pod.view(), at(0));
        index.apply_event(&event, at(0));
    }
    assert_eq!(ask(&index, image, &Visibility::Cluster).failures, [(Cause::Unauthorized, 1)]);
    assert_eq!(
        index.registry_health("my-registry.io", at(0)).main_cause,
        Some(Cause::Unauthorized)
    );
}

#[rstest]
#[case::event_first(true)]
#[case::pod_first(false)]
fn a_fresh_pull_without_secrets_shows_that_nodes_can_log_in(#[case] event_first: bool) {
    let image = "my-registry.io/app:1";
    let mut running = pod(1, image, What::Runs(0));
    running.secrets = false;
    let event = running.event("Pulled", &format!("Successfully pulled image \"{image}\" in 2s"), 0);
    let mut index = index(&[]);
    if event_first {
        index.apply_event(&event, at(1));
        index.apply_pod(&running.view(), at(1));
    } else {
        index.apply_pod(&running.view(), at(1));
        assert_eq!(index.registry_health("my-registry.io", at(1)).node_login, NodeLogin::NotSeen);
        index.apply_event(&event, at(1));
    }
    assert_eq!(index.registry_health("my-registry.io", at(1)).node_login, NodeLogin::Possible);
    assert!(ask(&index, image, &Visibility::Cluster).last_success.unwrap().pulled);
    // The same event comes again with every list, and counts once.
    index.apply_event(&event, at(2));
    let target = ReportTarget::Image(image.parse().unwrap());
    let pulls = |visibility| index.report(&target, &visibility, at(2)).pulls;
    let told = pulls(Visibility::Cluster).unwrap();
    assert_eq!((told.pulls, told.slowest_milliseconds), (1, 2_000));
    assert_eq!(pulls(Visibility::Namespaces(vec!["shop".into()])), None);
    // Not for ever.
    let later = index.registry_health("my-registry.io", at(60 * 24 * 15));
    assert_eq!(later.node_login, NodeLogin::NotSeen);
}

/// The best of what was seen: the image itself, else its repository, else its registry by size.
#[test]
fn a_pull_is_estimated_by_what_is_nearest() {
    let pulled = |n, image: &str, took: &str, size: &str| {
        let running = pod(n, image, What::Runs(0));
        let message =
            format!("Successfully pulled image \"{image}\" in {took}. Image size: {size} bytes.");
        (running.view(), running.event("Pulled", &message, 0))
    };
    let mut index = index(&[]);
    let forecast = |index: &HealthIndex, image: &str, bytes| {
        let found = index.pull_forecast(&image.parse().unwrap(), bytes)?;
        Some((found.milliseconds, found.pulls, found.basis))
    };
    assert_eq!(forecast(&index, "r.io/a/b:1", Some(1000)), None);
    for (view, event) in [
        pulled(1, "r.io/a/b:1", "12s", "600000"),
        pulled(2, "r.io/a/c:1", "4s", "1000000"),
        pulled(3, "r.io/a/d:1", "30s", "x"),
    ] {
        index.apply_pod(&view, at(1));
        index.apply_event(&event, at(1));
    }
    let of = |image, bytes| forecast(&index, image, bytes);
    assert_eq!(of("r.io/a/b:1", None), Some((12_000, 1, ForecastBasis::Image)));
    assert_eq!(of("r.io/a/b:2", Some(9)), Some((12_000, 1, ForecastBasis::Repository)));
    // 1.6 MB in 16 s; an image whose size nobody said does not count.
    assert_eq!(of("r.io/e:1", Some(500_000)), Some((5_000, 2, ForecastBasis::Registry)));
    assert_eq!(of("r.io/e:1", None), None);
    assert_eq!(of("r.io/e:1", Some(0)), None);
    assert_eq!(of("r.io/e:1", Some(u64::MAX)), None);
    assert_eq!(of("other.io/a/b:1", Some(500_000)), None);
    // The node's name stays as long as the pulls do, and goes with none of its pods.
    index.delete_pod(&pod(1, "r.io/a/b:1", What::Runs(0)).uid(), at(2));
    index.sweep();
    let target = ReportTarget::Image("r.io/a/b:1".parse().unwrap());
    let told = index.report(&target, &Visibility::Cluster, at(2)).pulls.unwrap();
    assert_eq!((&*told.nodes[0].node, told.nodes.len()), ("node-1", 1));
    index.set_freshness(Freshness::Stale);
    assert_eq!(forecast(&index, "r.io/a/b:1", None), None);
}

/// A pod that ended before Pullgate began to look leaves nothing but its event, and the node's list
/// of images comes later.
#[rstest]
#[case::pulled("Successfully pulled image \"my-registry.io/app:1\" in 12ms", true)]
#[case::present("Container image \"my-registry.io/app:1\" already present on machine", true)]
#[case::another("Successfully pulled image \"my-registry.io/app:2\" in 12ms", false)]
#[case::no_pull("Pulled image \"my-registry.io/app:1\" by hand", false)]
fn an_event_of_a_pod_that_nobody_saw_leaves_a_few_minutes_of_doubt(
    #[case] message: &str,
    #[case] claimed: bool,
) {
    let image = "my-registry.io/app:1";
    let gone = pod(1, image, What::Runs(0));
    let mut index = index(&[]);
    index.apply_event(&gone.event("Pulled", message, 0), at(1));
    let history = ask(&index, image, &Visibility::Cluster);
    assert_eq!((history.claimed_lately, history.last_success), (claimed, None));
    let reference = ImageReference::parse(image).unwrap();
    let visibility = &Visibility::Cluster;
    let question = HistoryQuestion { reference: &reference, namespace: "shop", visibility };
    assert!(!index.history(&question, at(6)).claimed_lately);
}

#[test]
fn a_pull_of_what_anybody_may_read_proves_no_login() {
    let pulled = |n: u32, image: &'static str| {
        let mut running = pod(n, image, What::Runs(0));
        (running.secrets, running.policy) = (false, "Always");
        running
    };
    let mut index = index(&[pulled(1, "r.example/public:1"), pulled(2, "r.example/private:1")]);
    let shows =
        |index: &HealthIndex, minute| index.registry_health("r.example", at(minute)).node_login;
    let mut asked = [index.next_secretless(at(1)).unwrap(), index.next_secretless(at(1)).unwrap()];
    asked.sort_by_key(ImageReference::canonical);
    assert_eq!(asked.each_ref().map(ImageReference::repository), ["private", "public"]);
    assert_eq!(index.next_secretless(at(2)), None, "both are being asked for");
    index.note_anonymous(&asked[1], false, at(2));
    assert_eq!(shows(&index, 2), NodeLogin::Possible, "the other is not known yet");
    assert_eq!(index.next_secretless(at(12)).unwrap().repository(), "private");
    index.note_anonymous(&asked[0], false, at(12));
    assert_eq!(shows(&index, 12), NodeLogin::NotSeen);
    index.note_anonymous(&asked[0], true, at(13));
    assert_eq!(shows(&index, 13), NodeLogin::NotSeen, "it was public when it was pulled");
    let mut again = pod(3, "r.example/private:1", What::Runs(15));
    (again.secrets, again.policy) = (false, "Always");
    index.apply_pod(&again.view(), at(15));
    assert_eq!(shows(&index, 15), NodeLogin::Proven);
    // What was found survives a restart, and is asked again a day later.
    let bytes = index.snapshot().encode("c").unwrap();
    let mut after = HealthIndex::default();
    after.restore(Snapshot::decode(&bytes, "c").unwrap(), at(20));
    assert_eq!(shows(&after, 20), NodeLogin::Proven);
    assert_eq!(index.next_secretless(at(60)), None);
    assert!(index.next_secretless(at(60 * 24 + 30)).is_some());
}

/// Pulls without a secret, by namespace and minute, of an image that is refused to anybody since
/// minute 5: what that shows the first namespace, and one that pulled nothing.
#[rstest]
#[case::before_the_refusal(&[("shop", 1)], NodeLogin::Possible, NodeLogin::Possible)]
#[case::after_the_refusal(&[("shop", 1), ("shop", 9)], NodeLogin::Proven, NodeLogin::Possible)]
#[case::in_two_namespaces(&[("shop", 1), ("bank", 1)], NodeLogin::Possible, NodeLogin::Possible)]
#[case::one_of_two_later(&[("shop", 9), ("bank", 1)], NodeLogin::Proven, NodeLogin::Possible)]
#[case::both_later(&[("bank", 1), ("shop", 9), ("bank", 9)], NodeLogin::Proven, NodeLogin::Proven)]
fn one_tenant_proves_nothing_to_others_of_a_whole_registry(
    #[case] pulls: &[(&str, i64)],
    #[case] own: NodeLogin,
    #[case] others: NodeLogin,
) {
    let pulled = |n: u32, (namespace, minute): (&str, i64)| {
        let mut running = pod(n, "r.example/app:1", What::Runs(minute));
        (running.secrets, running.policy) = (false, "Always");
        running.namespace = namespace.into();
        running
    };
    let mut index = index(&[]);
    let (before, after): (Vec<_>, Vec<_>) = pulls.iter().enumerate().partition(|(_, p)| p.1 < 5);
    let apply = |index: &mut HealthIndex, pods: &[(usize, &(&str, i64))]| {
        for (n, pull) in pods {
            let running = pulled(u32::try_from(*n).unwrap(), **pull);
            index.apply_pod(&running.view(), at(pull.1));
        }
    };
    apply(&mut index, &before);
    let asked = index.next_secretless(at(5)).unwrap();
    index.note_anonymous(&asked, true, at(5));
    apply(&mut index, &after);
    let shows = |namespace| {
        let reference = ImageReference::parse("r.example/other:1").unwrap();
        let visibility = &Visibility::Cluster;
        let question = HistoryQuestion { reference: &reference, namespace, visibility };
        index.history(&question, at(10)).registry.node_login
    };
    assert_eq!((shows("shop"), shows("third")), (own, others));
}

/// Whoever pulls from many repositories pushes out what others pulled, but not what shows that nodes
/// log in.
#[test]
fn pulls_from_many_repositories_leave_what_shows_a_login() {
    let pulled = |n: u32, namespace: &str, image: &str| {
        let mut running = pod(n, image, What::Runs(i64::from(n)));
        (running.secrets, running.policy) = (false, "Always");
        running.namespace = namespace.into();
        running
    };
    let mut index = index(&[pulled(1, "shop", "r.example/private:1")]);
    let asked = index.next_secretless(at(2)).unwrap();
    index.note_anonymous(&asked, true, at(2));
    for n in 3..600 {
        let running = pulled(n, "crowd", &format!("r.example/public{n}:1"));
        index.apply_pod(&running.view(), at(i64::from(n)));
    }
    while let Some(asked) = index.next_secretless(at(700)) {
        index.note_anonymous(&asked, false, at(700));
    }
    let login = index.registry_health("r.example", at(700)).node_login;
    assert_eq!(login, NodeLogin::Possible);
}

#[test]
fn the_same_digest_under_another_tag_has_run_here() {
    let ran = pod(1, "r.example/app:1", What::RunsAs(3, 'b'));
    let mut index = index(std::slice::from_ref(&ran));
    let by_digest =
        |letter: char| format!("r.example/app@sha256:{}", letter.to_string().repeat(64));
    let success =
        |index: &HealthIndex, image: &str| ask(index, image, &Visibility::Cluster).last_success;
    assert_eq!(success(&index, &by_digest('b')).unwrap().at, at(3));
    index.delete_pod(&ran.uid(), at(5));
    assert_eq!(success(&index, &by_digest('b')).unwrap().at, at(3));
    assert_eq!(success(&index, &by_digest('c')), None);
    let elsewhere = by_digest('b').replace("/app@", "/other@");
    assert_eq!(success(&index, &elsewhere), None, "a node has it under its repository only");
}

#[test]
fn the_image_of_a_volume_is_there_once_a_container_has_started() {
    let with_volume = |nth: u32, what: What| {
        let mut view = pod(nth, "r.example/app:1", what).view();
        let volume = json!([{"name": "data"}, {"name": "model", "image": {"reference": "r.example/model:1"}}]);
        view.spec.volumes = serde_json::from_value(volume).unwrap();
        view
    };
    let mut index = index(&[]);
    let success =
        |index: &HealthIndex| ask(index, "r.example/model:1", &Visibility::Cluster).last_success;
    index.apply_pod(&with_volume(1, What::Waits), at(1));
    assert_eq!(success(&index), None);
    let in_use = |index: &HealthIndex| {
        let used = index.images_in_use();
        used.iter().find(|used| &*used.image == "r.example/model:1").map(|used| used.loaded)
    };
    assert_eq!(in_use(&index), None);
    index.apply_pod(&with_volume(1, What::Runs(2)), at(3));
    assert_eq!(in_use(&index), Some(false));
    assert_eq!(success(&index).unwrap().at, at(2));
    assert_eq!(index.registry_health("r.example", at(3)).healthy, 1, "a volume is no container");
}

#[test]
fn presence_is_no_pull_and_a_claim_without_a_pod_counts_for_nothing() {
    let image = "my-registry.io/app:1";
    let mut present = pod(1, image, What::Runs(0));
    present.secrets = false;
    let mut index = index(std::slice::from_ref(&present));
    let already = format!("Container image \"{image}\" already present on machine");
    index.apply_event(&present.event("Pulled", &already, 0), at(1));
    assert_eq!(index.registry_health("my-registry.io", at(1)).node_login, NodeLogin::NotSeen);
    // Somebody who may write events claims a pull of what the pod cannot get.
    let failing = pod(2, "my-registry.io/other:1", What::Fails("ErrImagePull", DENIED));
    index.apply_pod(&failing.view(), at(1));
    let claim = failing.event("Pulled", "Successfully pulled image \"my-registry.io/other:1\"", 1);
    index.apply_event(&claim, at(1));
    assert_eq!(ask(&index, "my-registry.io/other:1", &Visibility::Cluster).last_success, None);
}

#[rstest]
#[case::no_secret(false, "Always", NodeLogin::Possible)]
#[case::with_secret(true, "Always", NodeLogin::NotSeen)]
#[case::from_disk(false, "IfNotPresent", NodeLogin::NotSeen)]
fn with_the_policy_always_every_start_asked_the_registry(
    #[case] secrets: bool,
    #[case] policy: &'static str,
    #[case] shows: NodeLogin,
) {
    let mut running = pod(1, "my-registry.io/app:1", What::Runs(0));
    running.secrets = secrets;
    running.policy = policy;
    let index = index(&[running]);
    assert_eq!(index.registry_health("my-registry.io", at(0)).node_login, shows);
}

#[test]
fn owners_are_followed_to_the_deployment() {
    let mut index = index(&investigation());
    for n in 0..7 {
        let owner: OwnerView = serde_json::from_value(json!({"metadata": {
            "name": format!("web-{n}"), "namespace": "shop",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
                "uid": "u", "controller": true}]}}))
        .unwrap();
        index.apply_owner(OwnerKind::ReplicaSet, &owner);
    }
    let subject = ReportTarget::Image(ImageReference::parse("my-registry.io/app:v2.3.1").unwrap());
    let report = index.report(&subject, &Visibility::Cluster, at(1));
    assert_eq!(report.scope.workloads.len(), 1);
    assert_eq!(report.scope.workloads[0].kind, "Deployment");
    assert_eq!(report.scope.spread, Spread::OneWorkload);
    assert_eq!(report.last_good.as_deref(), Some("my-registry.io/app:v2.3.0"));
    assert_eq!(report.failures.pods, ["shop/web-0-x0", "shop/web-1-x1"]);
    index.retain_owners(OwnerKind::ReplicaSet, &Listed::default());
    let report = index.report(&subject, &Visibility::Cluster, at(1));
    assert_eq!(report.scope.workloads[0].kind, "ReplicaSet");
}

#[test]
fn refused_pods_are_told_of_for_an_hour() {
    let mut index = index(&investigation());
    let event: EventView = serde_json::from_value(json!({
        "reason": "FailedCreate", "count": 5, "lastTimestamp": at(0).to_string(),
        "message": "Error creating: admission webhook \"pullgate.dev\" denied the request: no",
        "involvedObject": {"kind": "ReplicaSet", "namespace": "shop", "name": "web-0", "uid": "u"},
    }))
    .unwrap();
    index.apply_event(&event, at(1));
    let refused = index.refusals(&Visibility::Cluster, at(1));
    assert_eq!((refused.len(), &*refused[0].name, refused[0].times), (1, "web-0", 5));
    assert!(refused[0].by_webhook);
    assert_eq!(index.refusals(&Visibility::Namespaces(Vec::new()), at(1)), []);
    assert_eq!(index.refusals(&Visibility::Cluster, at(62)), []);
    index.set_freshness(Freshness::Stale);
    assert_eq!(index.refusals(&Visibility::Cluster, at(1)), []);
}

#[test]
fn different_content_behind_one_tag_is_seen() {
    let index = index(&[
        pod(1, "r.example/app:1", What::RunsAs(0, 'a')),
        pod(2, "r.example/app:1", What::RunsAs(1, 'b')),
    ]);
    let history = ask(&index, "r.example/app:1", &Visibility::Cluster);
    assert_eq!(history.known_tags[0].digest, None);
    let subject = ReportTarget::Image(ImageReference::parse("r.example/app:1").unwrap());
    let report = index.report(&subject, &Visibility::Cluster, at(2));
    assert!(report.tags[0].differs);
    let second = format!("r.example/app@sha256:{}", "b".repeat(64));
    let subject = ReportTarget::Image(ImageReference::parse(&second).unwrap());
    let report = index.report(&subject, &Visibility::Cluster, at(2));
    assert_eq!(report.scope.pods, 1);
}

#[test]
fn nodes_tell_which_images_they_have() {
    let mut index = index(&[]);
    index.apply_node("n1", ["docker.io/library/nginx:1", "docker.io/library/nginx:1"]);
    index.apply_node("n2", ["docker.io/library/nginx:1"]);
    let subject = ReportTarget::Image(ImageReference::parse("nginx:1").unwrap());
    let listing = |index: &HealthIndex| {
        index.report(&subject, &Visibility::Cluster, at(0)).scope.nodes_listing
    };
    assert_eq!(listing(&index), 2);
    index.apply_node("n1", []);
    index.delete_node("n3");
    assert_eq!(listing(&index), 1);
}
