//! Documents: what is taken, and what an error says.

use pullgate::policy::{Mode, PullgatePolicy, Vouch};
use pullgate::workload::{PodPlace, TektonKind};
use rstest::rstest;

const HEAD: &str =
    "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata:\n  name: site\nspec:\n";

fn parse(spec: &str) -> Result<PullgatePolicy, String> {
    PullgatePolicy::parse(&format!("{HEAD}{spec}"), "policy.yaml")
        .map_err(|error| error.to_string())
}

#[test]
fn a_document_without_spec_is_the_default() {
    let head = HEAD.trim_end_matches("spec:\n");
    let policy = PullgatePolicy::parse(head, "policy.yaml").unwrap();
    assert_eq!(policy.name(), "site");
    assert_eq!(policy.spec(), PullgatePolicy::default().spec());
    assert_eq!(policy.spec().default_mode, Mode::Warn);
    assert_eq!(policy.spec().nodes.mirrors, Vouch::Unknown);
}

#[test]
fn json_is_taken_and_what_kubectl_adds_is_ignored() {
    let json = r#"{"apiVersion":"pullgate.dev/v1alpha1","kind":"PullgatePolicy",
        "metadata":{"name":"site","uid":"1","resourceVersion":"7","managedFields":[]},
        "spec":{"defaultMode":"enforce","causes":{"tag_not_found":"warn"}},
        "status":{"conditions":[]}}"#;
    let policy = PullgatePolicy::parse(json, "-").unwrap();
    assert_eq!(policy.spec().default_mode, Mode::Enforce);
}

#[rstest]
#[case(
    "  node: {}\n",
    "policy.yaml:6:3: spec.node: unknown field \"node\", did you mean \"nodes\"?"
)]
#[case(
    "  nodes:\n    mirors: none\n",
    "policy.yaml:7:5: spec.nodes.mirors: unknown field \"mirors\", did you mean \"mirrors\"?"
)]
#[case(
    "  defaultMode: enforced\n",
    "policy.yaml:6:16: spec.defaultMode: \"enforced\" is not one of off, warn, enforce, did \
     you mean \"enforce\"?"
)]
#[case(
    "  cannotTell: deny\n",
    "policy.yaml:6:15: spec.cannotTell: \"deny\" is not one of allow, warn"
)]
#[case(
    "  causes:\n    tag_not_fuond: deny\n",
    "policy.yaml:7:5: spec.causes.tag_not_fuond: \"tag_not_fuond\" is not a cause, did you mean \"tag_not_found\"?"
)]
#[case(
    "  latePush:\n    grace: 10\n",
    "policy.yaml:7:12: spec.latePush.grace: \"10\" is not a length of time such as 90s, 10m or \
     1h30m"
)]
#[case(
    "  rules:\n  - images: [nginx]\n",
    "policy.yaml:7:14: spec.rules[0].images[0]: \"nginx\" is not an image pattern such as \
     registry.example.com, registry.example.com/team/* or docker.io/library/nginx:1.*"
)]
#[case(
    "  exceptions:\n  - name: a\n    owner: b\n    reason: c\n    match: {images: [docker.io]}\n",
    "policy.yaml:10:5: spec.exceptions[0]: missing field \"expires\""
)]
#[case(
    "  exceptions:\n  - {name: a, owner: b, reason: c, expires: 2027-01-01, match: {}}\n",
    "policy.yaml: spec.exceptions[0].match: name namespaces or images: it is for all"
)]
#[case("  enforceOn: []\n", "policy.yaml: spec.enforceOn: name pods, workloads or both")]
#[case(
    "  lookups: {each: 3s}\n",
    "policy.yaml: spec.lookups.each: one look-up cannot take longer than all"
)]
#[case(
    "  rules:\n  - namespaceSelector: {matchExpressions: [{key: a, operator: In}]}\n",
    "policy.yaml: spec.rules[0].namespaceSelector.matchExpressions[0]: In and NotIn need values"
)]
fn an_error_names_place_field_and_the_nearest_name(#[case] spec: &str, #[case] message: &str) {
    assert_eq!(parse(spec).unwrap_err(), message);
}

#[rstest]
#[case("", "p:1:1: unexpected end of file")]
#[case("- a\n", "p:1:1")]
#[case("a: [\n", "p:")]
#[case("apiVersion: v1\nkind: PullgatePolicy\nmetadata: {name: a}\n", "p: apiVersion: this is v1")]
#[case(
    "apiVersion: pullgate.dev/v1alpha1\nkind: Policy\nmetadata: {name: a}\n",
    "p: kind: this is Policy, not PullgatePolicy"
)]
#[case(
    "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {}\n",
    "p: metadata.name: the document needs a name"
)]
#[case(
    "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {name: a}\n---\na: b\n",
    "p:"
)]
fn what_is_no_policy_is_refused(#[case] text: &str, #[case] starts: &str) {
    let error = PullgatePolicy::parse(text, "p").unwrap_err().to_string();
    assert!(error.starts_with(starts), "{error}");
    assert!(!error.contains('\n'), "{error:?}");
}

#[test]
fn a_huge_document_is_refused() {
    let text = "#".repeat(3 * 1024 * 1024);
    assert_eq!(
        PullgatePolicy::parse(&text, "p").unwrap_err().to_string(),
        "p: the document is longer than 2 MiB"
    );
}

#[test]
fn a_document_that_is_written_out_is_read_back_the_same() {
    let policy = parse(
        "  nodes: {mirrors: listed, credentials: none, preloadedImages: none, network: same}
  defaultMode: enforce
  allowedModes: [warn]
  causes: {tag_not_found: warn}
  enforceOn: [pods, workloads]
  latePush: {grace: 10m}
  rules:
  - name: shop
    namespaceSelector: {matchLabels: {team: shop}}
    images: ['r.example.com/shop/**:1.*']
    mode: off
    nodes: {mirrors: none}
  exceptions:
  - {name: a, owner: b, reason: c, expires: 2027-01-01, match: {images: [docker.io]}}
  breakGlass: {groups: [sre], annotation: true}
  registries:
    refuse: [docker.io/evil/**]
    default: r.example.com
    budgets: [{registry: docker.io, requestsPerMinute: 10}]
    tokenRealms: [{registry: '*.example.com', host: sso.example.net}]
  extraKinds: [{group: example.com, kind: App, templatePath: spec.workload.template}]
  trustedServiceAccounts: [argocd/argocd-application-controller]
",
    )
    .unwrap();
    let written = serde_json::to_string(policy.spec()).unwrap();
    let document = format!(
        r#"{{"apiVersion":"pullgate.dev/v1alpha1","kind":"PullgatePolicy","metadata":{{"name":"site"}},"spec":{written}}}"#
    );
    assert_eq!(PullgatePolicy::parse(&document, "-"), Ok(policy));
}

#[test]
fn the_foreign_kinds_are_known_without_a_word_and_may_be_corrected() {
    let policy =
        parse("  extraKinds: [{group: argoproj.io, kind: Rollout, templatePath: a.b}]\n").unwrap();
    let place = |group: &str, kind: &str| {
        let known =
            policy.extra_kinds().find(|known| known.group == group && known.kind == kind)?;
        Some(known.place)
    };
    let path = |group: &str, kind: &str| match place(group, kind)? {
        PodPlace::Template(path) => Some(path.keys().collect::<Vec<_>>().join(".")),
        PodPlace::Tekton(_) | PodPlace::Custom(_) => None,
    };
    assert_eq!(path("argoproj.io", "Rollout").as_deref(), Some("a.b"));
    assert_eq!(path("serving.knative.dev", "Service").as_deref(), Some("spec.template"));
    assert_eq!(path("apps.openshift.io", "DeploymentConfig").as_deref(), Some("spec.template"));
    assert_eq!(place("tekton.dev", "TaskRun"), Some(PodPlace::Tekton(TektonKind::TaskRun)));
    let own = "  extraKinds: [{group: tekton.dev, kind: Task, templatePath: spec.mine}]\n";
    let own = parse(own).unwrap();
    let task = own.extra_kinds().find(|known| known.kind == "Task").unwrap();
    assert!(matches!(task.place, PodPlace::Template(_)));
}
