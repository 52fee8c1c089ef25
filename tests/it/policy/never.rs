//! What no document can do: deny where the product forbids it.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use pullgate::image::ImageReference;
use pullgate::policy::{Decision, DecisionInput, Mode, PullgatePolicy, Reason};
use pullgate::pull::{Cause, Escape, Verdict};
use pullgate::user::UserInfo;
use pullgate::workload::NamespaceFacts;
use serde_json::{Value, json};

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::sample::select(words).prop_map(Value::from)
}

fn some_of(words: &'static [&'static str], least: usize) -> impl Strategy<Value = Value> {
    proptest::sample::subsequence(words, least..=words.len()).prop_map(Value::from)
}

fn causes() -> impl Strategy<Value = Value> {
    let words: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    let action = proptest::sample::select(&["allow", "warn", "deny"][..]);
    proptest::collection::btree_map(proptest::sample::select(words), action, 0..8)
        .prop_map(|map| serde_json::to_value(map).unwrap())
}

fn nodes() -> impl Strategy<Value = Value> {
    let platforms = some_of(&["linux/amd64", "linux/arm64", "windows/amd64"], 0);
    (
        one_of(&["unknown", "none", "listed"]),
        one_of(&["unknown", "none"]),
        one_of(&["unknown", "same"]),
        platforms,
    )
        .prop_map(|(vouch, images, network, platforms)| {
            json!({"mirrors": vouch, "credentials": vouch, "preloadedImages": images,
                   "network": network, "platforms": platforms})
        })
}

const MODES: &[&str] = &["off", "warn", "enforce"];
const PLACES: &[&str] = &["pods", "workloads"];
const PATTERNS: &[&str] = &["*", "r.example.com", "r.example.com/**", "docker.io/library/*"];

fn rule() -> impl Strategy<Value = Value> {
    (some_of(PATTERNS, 0), one_of(MODES), some_of(MODES, 0), causes(), some_of(PLACES, 1), nodes())
        .prop_map(|(images, mode, allowed, causes, places, nodes)| {
            json!({"images": images, "mode": mode, "allowedModes": allowed, "causes": causes,
                   "enforceOn": places, "nodes": nodes})
        })
}

fn policy() -> impl Strategy<Value = PullgatePolicy> {
    let registries = (some_of(PATTERNS, 0), prop_oneof![Just(json!([])), some_of(PATTERNS, 0)])
        .prop_map(|(skip, refuse)| json!({"skip": skip, "refuse": refuse}));
    let rules = proptest::collection::vec(rule(), 0..3);
    let first = (nodes(), one_of(MODES), some_of(MODES, 0), one_of(&["allow", "warn"]), causes());
    let second = (rules, some_of(PLACES, 1), one_of(&["0s", "10m"]), registries, any::<bool>());
    (first, second).prop_map(|(first, second)| {
        let (nodes, mode, allowed, cannot_tell, causes) = first;
        let (rules, places, grace, registries, glass) = second;
        let document = json!({
            "apiVersion": "pullgate.dev/v1alpha1", "kind": "PullgatePolicy",
            "metadata": {"name": "any"},
            "spec": {
                "nodes": nodes, "defaultMode": mode, "allowedModes": allowed,
                "cannotTell": cannot_tell, "causes": causes, "rules": rules, "enforceOn": places,
                "latePush": {"grace": grace}, "registries": registries,
                "breakGlass": {"annotation": glass, "groups": ["sre"]},
                "exceptions": [{"name": "a", "owner": "b", "reason": "c", "expires": "2026-06-01",
                                "match": {"images": ["docker.io"]}}],
            }
        });
        PullgatePolicy::parse(&document.to_string(), "any").unwrap()
    })
}

#[derive(Debug, Clone)]
struct Scene {
    verdict: Verdict,
    cause: Option<Cause>,
    escapes: Vec<Escape>,
    reference: Option<ImageReference>,
    facts: Option<NamespaceFacts>,
    flags: [bool; 5],
    age: Option<i64>,
    groups: Vec<Box<str>>,
}

fn scene() -> impl Strategy<Value = Scene> {
    let verdict = proptest::sample::select(
        &[Verdict::Works, Verdict::CannotTell, Verdict::Fails, Verdict::Fails][..],
    );
    let cause = proptest::option::weighted(0.9, proptest::sample::select(Cause::ALL));
    let escapes = prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::sample::subsequence(Escape::ALL, 0..=Escape::ALL.len()),
    ];
    let reference = proptest::option::weighted(
        0.9,
        proptest::sample::select(&["r.example.com/shop/api:1", "nginx:1.27"][..])
            .prop_map(|image| ImageReference::parse(image).unwrap()),
    );
    let facts = proptest::option::weighted(
        0.9,
        proptest::sample::select(&["off", "warn", "enforce", "enforce", "enforced"][..]).prop_map(
            |mode| NamespaceFacts {
                labels: vec![("pullgate.dev/mode".into(), mode.into())],
                annotations: Vec::new(),
            },
        ),
    );
    let groups = prop_oneof![4 => Just(Vec::new()), 1 => Just(vec!["sre".into()])];
    let age = proptest::option::of(-60_i64..3600);
    (verdict, cause, escapes, reference, facts, any::<[bool; 5]>(), age, groups).prop_map(
        |(verdict, cause, escapes, reference, facts, flags, age, groups)| Scene {
            verdict,
            cause,
            escapes,
            reference,
            facts,
            flags,
            age,
            groups,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_document_makes_a_denial_that_the_product_forbids(policy in policy(), scene in scene()) {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let [is_pod, refused_once, secret_missing, registry_in_trouble, history_current] =
            scene.flags;
        let user = UserInfo { groups: scene.groups.clone(), ..UserInfo::default() };
        let matter = DecisionInput {
            verdict: scene.verdict,
            cause: scene.cause,
            escapes: &scene.escapes,
            reference: scene.reference.as_ref(),
            namespace: "shop",
            facts: scene.facts.as_ref(),
            is_pod,
            makes_no_pods: false,
            refused_once,
            pods_rewritten: false,
            wanted_since: scene.age.map(|age| now - SignedDuration::from_secs(age)),
            annotations: &[],
            user: &user,
            secret_missing,
            secret_refused: false,
            untried_login: false,
            registry_in_trouble,
            history_hidden: false,
            history_current,
            now,
        };
        let ruling = policy.judge(&matter);

        if ruling.decision == Decision::Deny {
            prop_assert_eq!(ruling.mode, Mode::Enforce);
            prop_assert!(history_current && scene.facts.is_some());
            prop_assert!(scene.groups.is_empty(), "break-glass did not open");
            let refused = scene.reference.as_ref().is_some_and(|one| policy.refuses(one));
            if ruling.reason == Reason::RegistryRefused {
                prop_assert!(refused);
            } else {
                prop_assert_eq!(ruling.reason, Reason::Denied);
                prop_assert_eq!(scene.verdict, Verdict::Fails);
                prop_assert!(scene.escapes.is_empty());
                prop_assert!(!registry_in_trouble && !refused_once);
                let to_come = !is_pod && secret_missing;
                prop_assert!(!to_come || scene.cause == Some(Cause::InvalidReference));
                prop_assert!(scene.cause.is_some_and(|cause| !cause.is_transient()));
            }
        }
        if scene.verdict == Verdict::Works && !ruling.refused {
            prop_assert!(ruling.decision < Decision::Deny);
            if scene.cause.is_none() && ruling.exception.is_none() {
                prop_assert_eq!(ruling.decision, Decision::Allow);
            }
        }
        if ruling.mode == Mode::Off {
            prop_assert_eq!(ruling.decision, Decision::Allow);
        }
    }
}
