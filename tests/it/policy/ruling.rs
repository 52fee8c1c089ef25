//! Rulings: one table a setting, from the document to the decision.

use jiff::Timestamp;
use pullgate::image::ImageReference;
use pullgate::policy::{Decision, DecisionInput, LabelUse, Mode, PullgatePolicy, Reason, Ruling};
use pullgate::pull::{Cause, Escape, Verdict, Vouch};
use pullgate::user::UserInfo;
use pullgate::workload::NamespaceFacts;
use rstest::rstest;

const NOW: &str = "2026-06-01T12:00:00Z";

fn policy(spec: &str) -> PullgatePolicy {
    let text = format!(
        "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {{name: site}}\nspec:\n{spec}"
    );
    PullgatePolicy::parse(&text, "policy.yaml").unwrap()
}

/// A pod in an enforcing namespace with an image that certainly fails; each test changes some of it.
struct Scene {
    reference: Option<ImageReference>,
    facts: Option<NamespaceFacts>,
    user: UserInfo,
    annotations: Vec<(Box<str>, Box<str>)>,
}

impl Scene {
    fn new() -> Self {
        Self {
            reference: Some(ImageReference::parse("r.example.com/shop/api:1.2").unwrap()),
            facts: Some(labels(&[("pullgate.dev/mode", "enforce"), ("team", "shop")])),
            user: UserInfo::default(),
            annotations: Vec::new(),
        }
    }

    fn judge(&self, spec: &str, change: impl FnOnce(&mut DecisionInput<'_>)) -> Ruling {
        let mut matter = DecisionInput {
            verdict: Verdict::Fails,
            cause: Some(Cause::TagNotFound),
            escapes: &[],
            reference: self.reference.as_ref(),
            namespace: "shop",
            facts: self.facts.as_ref(),
            is_pod: true,
            makes_no_pods: false,
            wanted_since: Some(Timestamp::UNIX_EPOCH),
            refused_once: false,
            pods_rewritten: false,
            annotations: &self.annotations,
            user: &self.user,
            secret_missing: false,
            secret_refused: false,
            untried_login: false,
            registry_in_trouble: false,
            history_hidden: false,
            history_current: true,
            now: NOW.parse().unwrap(),
        };
        change(&mut matter);
        policy(spec).judge(&matter)
    }
}

fn labels(labels: &[(&str, &str)]) -> NamespaceFacts {
    NamespaceFacts {
        labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        annotations: Vec::new(),
    }
}

fn outcome(ruling: &Ruling) -> (Decision, Reason) {
    (ruling.decision, ruling.reason)
}

const NOTHING: &str = "  {}\n";

#[test]
fn what_certainly_fails_is_denied_where_the_namespace_enforces() {
    let ruling = Scene::new().judge(NOTHING, |_| {});
    assert_eq!(outcome(&ruling), (Decision::Deny, Reason::Denied));
    assert_eq!((ruling.mode, ruling.label), (Mode::Enforce, LabelUse::Chosen));
}

type Change = fn(&mut DecisionInput<'_>);

#[rstest]
#[case::works(
    |m: &mut DecisionInput<'_>| { m.verdict = Verdict::Works; m.cause = None; },
    Decision::Allow,
    Reason::Works
)]
#[case::works_and_will_not_run(
    |m: &mut DecisionInput<'_>| { m.verdict = Verdict::Works; m.cause = Some(Cause::PlatformMismatch); },
    Decision::Warn,
    Reason::Works
)]
#[case::cannot_tell(|m: &mut DecisionInput<'_>| m.verdict = Verdict::CannotTell, Decision::Allow, Reason::CannotTell)]
#[case::cannot_tell_in_trouble(
    |m: &mut DecisionInput<'_>| { m.verdict = Verdict::CannotTell; m.registry_in_trouble = true; },
    Decision::Warn, Reason::CannotTell
)]
#[case::escape(|m: &mut DecisionInput<'_>| m.escapes = &[Escape::NodeMirror], Decision::Warn, Reason::OpenEscapes)]
#[case::learning(|m: &mut DecisionInput<'_>| m.history_current = false, Decision::Warn, Reason::Learning)]
#[case::history_hidden(|m: &mut DecisionInput<'_>| m.history_hidden = true, Decision::Warn, Reason::HistoryHidden)]
#[case::trouble(|m: &mut DecisionInput<'_>| m.registry_in_trouble = true, Decision::Warn, Reason::RegistryInTrouble)]
#[case::unknown_namespace(|m: &mut DecisionInput<'_>| m.facts = None, Decision::Warn, Reason::ModeWarn)]
#[case::workload(|m: &mut DecisionInput<'_>| m.is_pod = false, Decision::Warn, Reason::NotEnforcedHere)]
#[case::no_cause(|m: &mut DecisionInput<'_>| m.cause = None, Decision::Warn, Reason::CannotTell)]
#[case::passing_cause(|m: &mut DecisionInput<'_>| m.cause = Some(Cause::Timeout), Decision::Warn, Reason::CannotTell)]
#[case::unparsable(
    |m: &mut DecisionInput<'_>| { m.cause = Some(Cause::InvalidReference); m.reference = None; },
    Decision::Deny, Reason::Denied
)]
fn without_a_word_in_the_policy(
    #[case] change: Change,
    #[case] decision: Decision,
    #[case] reason: Reason,
) {
    assert_eq!(outcome(&Scene::new().judge(NOTHING, change)), (decision, reason));
}

#[rstest]
#[case::workload(false, [true, false], Cause::Unauthorized, Reason::SecretToCome)]
#[case::nothing_missing(false, [false, false], Cause::Unauthorized, Reason::Denied)]
#[case::pods_are_made_now(true, [true, true], Cause::Unauthorized, Reason::Denied)]
#[case::no_secret_helps(false, [true, true], Cause::InvalidReference, Reason::Denied)]
#[case::about_to_be_replaced(false, [false, true], Cause::AccessDeniedOrMissing, Reason::SecretToCome)]
#[case::about_to_be_mended(false, [false, true], Cause::BrokenPullSecret, Reason::SecretToCome)]
#[case::another_login_brings_no_tag(false, [false, true], Cause::TagNotFound, Reason::Denied)]
fn a_workload_whose_secret_may_still_come_is_not_denied(
    #[case] is_pod: bool,
    #[case] secret: [bool; 2],
    #[case] cause: Cause,
    #[case] reason: Reason,
) {
    let ruling = Scene::new().judge("  enforceOn: [pods, workloads]\n", |matter| {
        (matter.is_pod, matter.cause) = (is_pod, Some(cause));
        [matter.secret_missing, matter.secret_refused] = secret;
    });
    assert_eq!(ruling.reason, reason);
}

/// A Deployment at zero, a suspended Job: its controller pulls nothing now.
#[rstest]
#[case::makes_none(Cause::TagNotFound, true, Reason::NoPodsNow)]
#[case::makes_some(Cause::TagNotFound, false, Reason::Denied)]
#[case::name_of_no_image(Cause::InvalidReference, true, Reason::NoPodsNow)]
fn a_workload_that_makes_no_pods_now_is_not_denied(
    #[case] cause: Cause,
    #[case] makes_no_pods: bool,
    #[case] reason: Reason,
) {
    let ruling = Scene::new().judge("  enforceOn: [pods, workloads]\n", |matter| {
        (matter.is_pod, matter.makes_no_pods, matter.cause) = (false, makes_no_pods, Some(cause));
    });
    assert_eq!(ruling.reason, reason);
}

#[test]
fn a_namespace_that_is_not_known_yet_is_never_denied() {
    let ruling = Scene::new().judge("  defaultMode: enforce\n", |m| m.facts = None);
    assert_eq!(outcome(&ruling), (Decision::Warn, Reason::NamespaceUnknown));
}

#[test]
fn escapes_that_hold_a_denial_back_are_told_for_workloads_too() {
    let ruling = Scene::new().judge(NOTHING, |m| {
        m.is_pod = false;
        m.escapes = &[Escape::NodeCredentials];
    });
    assert!(ruling.escapes_hold_back());
    let ruling = Scene::new().judge(NOTHING, |m| m.is_pod = false);
    assert!(ruling.pods_will_be_denied(false) && !ruling.escapes_hold_back());
}

#[rstest]
#[case("warn", "  allowedModes: [off, warn, enforce]\n", Mode::Warn, LabelUse::Chosen)]
#[case("off", "  {}\n", Mode::Off, LabelUse::Chosen)]
#[case("off", "  allowedModes: [warn, enforce]\n", Mode::Warn, LabelUse::NotAllowed)]
#[case("off", "  {allowedModes: [], defaultMode: enforce}\n", Mode::Enforce, LabelUse::NotAllowed)]
#[case("warn", "  allowedModes: []\n", Mode::Warn, LabelUse::Chosen)]
#[case("enforced", "  {}\n", Mode::Warn, LabelUse::Unknown)]
#[case("off", "  rules: [{allowedModes: [warn]}]\n", Mode::Warn, LabelUse::NotAllowed)]
#[case(
    "off",
    "  rules: [{namespaceSelector: {matchLabels: {team: other}}, allowedModes: [warn]}]\n",
    Mode::Off,
    LabelUse::Chosen
)]
#[case(
    "off",
    "  {allowedModes: [], rules: [{images: [r.example.com], allowedModes: [off]}]}\n",
    Mode::Off,
    LabelUse::Chosen
)]
fn a_namespace_chooses_its_mode_where_the_policy_lets_it(
    #[case] label: &str,
    #[case] spec: &str,
    #[case] mode: Mode,
    #[case] used: LabelUse,
) {
    let mut scene = Scene::new();
    scene.facts = Some(labels(&[("pullgate.dev/mode", label)]));
    let ruling = scene.judge(spec, |_| {});
    assert_eq!((ruling.mode, ruling.label), (mode, used));
}

#[rstest]
#[case("  causes: {tag_not_found: allow}\n", Decision::Allow, Reason::CauseAction)]
#[case("  causes: {tag_not_found: warn}\n", Decision::Warn, Reason::CauseAction)]
#[case("  causes: {unauthorized: warn}\n", Decision::Deny, Reason::Denied)]
#[case(
    "  {causes: {tag_not_found: warn}, rules: [{images: [r.example.com/shop/*], causes: {tag_not_found: deny}}]}\n",
    Decision::Deny,
    Reason::Denied
)]
#[case(
    "  rules: [{images: [r.example.com/shop/*:2.*], causes: {tag_not_found: warn}}]\n",
    Decision::Deny,
    Reason::Denied
)]
#[case(
    "  rules: [{causes: {unauthorized: warn}}, {causes: {tag_not_found: warn}}, {causes: {tag_not_found: deny}}]\n",
    Decision::Warn,
    Reason::CauseAction
)]
fn the_first_rule_that_matches_and_names_the_cause_counts(
    #[case] spec: &str,
    #[case] decision: Decision,
    #[case] reason: Reason,
) {
    assert_eq!(outcome(&Scene::new().judge(spec, |_| {})), (decision, reason));
}

#[rstest]
#[case("  cannotTell: warn\n", false, Decision::Warn)]
#[case("  {cannotTell: warn, causes: {timeout: allow}}\n", false, Decision::Allow)]
#[case("  causes: {timeout: allow}\n", true, Decision::Allow)]
#[case("  causes: {timeout: deny}\n", false, Decision::Warn)]
#[case("  rules: [{images: [r.example.com], cannotTell: warn}]\n", false, Decision::Warn)]
fn what_cannot_be_told_warns_at_most(
    #[case] spec: &str,
    #[case] trouble: bool,
    #[case] decision: Decision,
) {
    let ruling = Scene::new().judge(spec, |m| {
        m.verdict = Verdict::CannotTell;
        m.cause = Some(Cause::Timeout);
        m.registry_in_trouble = trouble;
    });
    assert_eq!(outcome(&ruling), (decision, Reason::CannotTell));
}

#[rstest]
#[case::young("10m", "2026-06-01T11:51:00Z", Cause::TagNotFound, Decision::Warn)]
#[case::old("10m", "2026-06-01T11:49:00Z", Cause::TagNotFound, Decision::Deny)]
#[case::forbidden("10m", "2026-06-01T11:59:00Z", Cause::Forbidden, Decision::Warn)]
#[case::unauthorized("10m", "2026-06-01T11:59:00Z", Cause::Unauthorized, Decision::Warn)]
#[case::forbidden_for_long("10m", "2026-06-01T11:49:00Z", Cause::Forbidden, Decision::Deny)]
#[case::one_platform_after_the_other(
    "10m",
    "2026-06-01T11:59:00Z",
    Cause::PlatformMismatch,
    Decision::Warn
)]
#[case::filled_in_later("10m", "2026-06-01T11:59:00Z", Cause::BrokenPullSecret, Decision::Warn)]
#[case::pulled_by_another("10m", "2026-06-01T11:59:00Z", Cause::ImageNeverPull, Decision::Warn)]
#[case::a_name_stays("10m", "2026-06-01T11:59:00Z", Cause::InvalidReference, Decision::Deny)]
#[case::clock_behind("10m", "2026-06-01T12:05:00Z", Cause::TagNotFound, Decision::Warn)]
#[case::two_minutes_if_nothing_is_said(
    "",
    "2026-06-01T11:58:30Z",
    Cause::TagNotFound,
    Decision::Warn
)]
#[case::no_more_if_nothing_is_said("", "2026-06-01T11:57:59Z", Cause::TagNotFound, Decision::Deny)]
#[case::none("0s", "2026-06-01T12:00:00Z", Cause::TagNotFound, Decision::Deny)]
fn what_comes_late_has_its_grace(
    #[case] grace: &str,
    #[case] since: &str,
    #[case] cause: Cause,
    #[case] decision: Decision,
) {
    let since: Timestamp = since.parse().unwrap();
    let spec = match grace {
        "" => NOTHING.to_owned(),
        grace => format!("  latePush: {{grace: {grace}}}\n"),
    };
    let ruling = Scene::new().judge(&spec, |m| {
        m.wanted_since = Some(since);
        m.cause = Some(cause);
    });
    assert_eq!(ruling.decision, decision);
}

#[test]
fn what_was_never_seen_is_wanted_since_now() {
    let young: Change = |m| m.wanted_since = None;
    let with_grace = Scene::new().judge(NOTHING, young);
    assert_eq!(outcome(&with_grace), (Decision::Warn, Reason::Grace));
    let without = Scene::new().judge("  latePush: {grace: 0s}\n", young);
    assert_eq!(without.decision, Decision::Deny);
}

#[test]
fn one_refusal_only_warns() {
    let once: Change = |m| (m.cause, m.refused_once) = (Some(Cause::Unauthorized), true);
    let ruling = Scene::new().judge(NOTHING, once);
    assert_eq!(outcome(&ruling), (Decision::Warn, Reason::RefusedOnce));
}

#[rstest]
#[case::access(Cause::Unauthorized, Decision::Warn)]
#[case::missing(Cause::TagNotFound, Decision::Warn)]
#[case::nothing_to_do_with_it(Cause::Timeout, Decision::Allow)]
fn what_a_secret_to_come_may_bring_is_said(#[case] cause: Cause, #[case] decision: Decision) {
    let ruling = Scene::new().judge(NOTHING, |m| {
        (m.verdict, m.cause) = (Verdict::CannotTell, Some(cause));
        m.secret_missing = true;
    });
    assert_eq!(outcome(&ruling), (decision, Reason::CannotTell));
}

#[rstest]
#[case::in_force("2026-07-01", Decision::Allow, Reason::Exception, (false, false))]
#[case::soon("2026-06-05", Decision::Warn, Reason::Exception, (true, false))]
#[case::last_day("2026-06-01", Decision::Warn, Reason::Exception, (true, false))]
#[case::over("2026-05-31", Decision::Deny, Reason::Denied, (false, true))]
fn an_exception_ends_when_it_says(
    #[case] expires: &str,
    #[case] decision: Decision,
    #[case] reason: Reason,
    #[case] soon_expired: (bool, bool),
) {
    let spec = format!(
        "  exceptions: [{{name: legacy, owner: shop, reason: x, expires: {expires}, \
         match: {{images: [r.example.com/shop/**], causes: [tag_not_found]}}}}]\n"
    );
    let ruling = Scene::new().judge(&spec, |_| {});
    assert_eq!(outcome(&ruling), (decision, reason));
    let used = ruling.exception.unwrap();
    assert_eq!((used.expiring_soon, used.expired), soon_expired);
    assert_eq!((&*used.name, &*used.owner), ("legacy", "shop"));

    let other_cause = Scene::new().judge(&spec, |m| m.cause = Some(Cause::Forbidden));
    assert_eq!((other_cause.decision, other_cause.exception), (Decision::Deny, None));
}

#[rstest]
#[case("  breakGlass: {users: [ann]}\n", "ann", "", Decision::Warn)]
#[case("  breakGlass: {users: [ann]}\n", "bob", "", Decision::Deny)]
#[case("  breakGlass: {groups: [sre]}\n", "ann", "", Decision::Warn)]
#[case("  breakGlass: {annotation: true}\n", "bob", "INC-7", Decision::Warn)]
#[case("  breakGlass: {annotation: true}\n", "bob", " ", Decision::Deny)]
#[case("  {}\n", "bob", "INC-7", Decision::Deny)]
fn the_glass_breaks_where_the_policy_lets_it(
    #[case] spec: &str,
    #[case] user: &str,
    #[case] reason: &str,
    #[case] decision: Decision,
) {
    let mut scene = Scene::new();
    scene.user =
        UserInfo { username: user.into(), groups: vec!["sre".into()], ..UserInfo::default() };
    scene.annotations = vec![("pullgate.dev/break-glass".into(), reason.into())];
    assert_eq!(scene.judge(spec, |_| {}).decision, decision);
}

#[rstest]
#[case::skipped(
    "  registries: {skip: [r.example.com]}\n",
    Verdict::Fails,
    Decision::Allow,
    Reason::RegistrySkipped
)]
#[case::refused_although_it_works(
    "  registries: {refuse: [r.example.com]}\n",
    Verdict::Works,
    Decision::Deny,
    Reason::RegistryRefused
)]
#[case::refused_beats_skipped(
    "  registries: {skip: [r.example.com], refuse: ['r.example.com/shop/**']}\n",
    Verdict::CannotTell,
    Decision::Deny,
    Reason::RegistryRefused
)]
#[case::other(
    "  registries: {refuse: [docker.io]}\n",
    Verdict::Works,
    Decision::Warn,
    Reason::Works
)]
fn registries_are_skipped_and_refused(
    #[case] spec: &str,
    #[case] verdict: Verdict,
    #[case] decision: Decision,
    #[case] reason: Reason,
) {
    assert_eq!(outcome(&Scene::new().judge(spec, |m| m.verdict = verdict)), (decision, reason));
}

#[test]
fn a_workload_is_denied_only_where_the_policy_says_so() {
    let workload: Change = |m| m.is_pod = false;
    let both = Scene::new().judge("  enforceOn: [pods, workloads]\n", workload);
    assert_eq!(both.decision, Decision::Deny);
    let workloads = Scene::new().judge("  enforceOn: [workloads]\n", |_| {});
    assert_eq!(outcome(&workloads), (Decision::Warn, Reason::NotEnforcedHere));
}

#[test]
fn rules_vouch_for_what_they_match_and_leave_the_rest() {
    let policy = policy(
        "  nodes: {mirrors: none}
  rules:
  - {images: [r.example.com], nodes: {credentials: none}}
  - {namespaceSelector: {matchLabels: {team: shop}}, nodes: {credentials: listed, mirrors: unknown}}
",
    );
    let ours = ImageReference::parse("r.example.com/shop/api:1").unwrap();
    let facts = labels(&[("team", "shop")]);
    let nodes = policy.vouches(Some(&ours), "shop", Some(&facts), None);
    assert_eq!((nodes.credentials, nodes.mirrors), (Vouch::None, Vouch::Unknown));
    let nodes = policy.vouches(None, "else", None, None);
    assert_eq!((nodes.credentials, nodes.mirrors), (Vouch::Unknown, Vouch::None));
}

#[test]
fn only_named_accounts_are_told_more_than_their_own_namespace() {
    let policy = policy("  trustedServiceAccounts: [ci/reporter]\n");
    let user = |name: &str| UserInfo { username: name.into(), ..UserInfo::default() };
    assert!(policy.trusts(&user("ann")));
    assert!(policy.trusts(&user("system:serviceaccount:ci:reporter")));
    assert!(!policy.trusts(&user("system:serviceaccount:argocd:argocd-application-controller")));
}
