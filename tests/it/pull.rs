//! The verdict map, row by row, and the escapes that each row leaves open.

use std::time::{Duration, Instant};

use pullgate::image::{ImageReference, Platform};
use pullgate::node_config::{FilesOf, MirrorFiles};
use pullgate::pull::{
    Attempt, Cause, Content, Doubt, ErrorCode, Escape, Found, HistoryFacts, Lookup, MediaKind,
    NetworkFault, NodeLogin, Observation, Outcome, RepositoryAccess, Runtime, SecretsState, Step,
    TlsFault, Verdict, Vouch, Vouches, assess,
};
use pullgate::workload::{Eligible, ImagePullPolicy, Node, Placement};
use rstest::rstest;

use crate::review::fakes::{index, missing, node};

use Verdict::{CannotTell, Fails, Works};

/// What is open where the registry was asked and did not find it.
const ALL: &[Escape] =
    &[Escape::NodeMirror, Escape::NodeCredentials, Escape::ImageOnNode, Escape::NodeNetwork];
/// What is open where it was read, and does not fit.
const CONTENT: &[Escape] =
    &[Escape::NodeMirror, Escape::ImageOnNode, Escape::NodeNetwork, Escape::NodePlatform];
const CODE: Option<ErrorCode> = Some(ErrorCode::ManifestUnknown);

#[expect(clippy::struct_excessive_bools, reason = "independent facts of a case")]
struct Case {
    image: &'static str,
    policy: ImagePullPolicy,
    secrets: SecretsState,
    outcomes: Vec<Outcome>,
    nodes: Vec<Node>,
    vouches: Vouches,
    history: HistoryFacts,
    nodes_unclear: bool,
    repository: RepositoryAccess,
    mirror_files: Option<MirrorFiles>,
    own_loopback: bool,
    mirror: Option<&'static str>,
    /// Whether it waits to be placed: the nodes are known, and none takes it yet.
    gated: bool,
    /// Whether it may have to wait for another node.
    needs_others: bool,
    /// Nodes that only a taint keeps it away from.
    kept_away: Vec<Node>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            image: "reg.example.com/app:1",
            policy: ImagePullPolicy::IfNotPresent,
            secrets: SecretsState::Read,
            outcomes: vec![missing()],
            nodes: vec![node("n", "linux/amd64")],
            vouches: Vouches::default(),
            history: HistoryFacts::default(),
            nodes_unclear: false,
            repository: RepositoryAccess::NotAsked,
            mirror_files: None,
            own_loopback: false,
            mirror: None,
            gated: false,
            needs_others: false,
            kept_away: Vec::new(),
        }
    }
}

impl Case {
    fn assess(self) -> pullgate::pull::Assessment {
        let reference = ImageReference::parse(self.image);
        let attempts: Vec<Attempt> = self
            .outcomes
            .into_iter()
            .map(|outcome| Attempt {
                source: None,
                lookup: Lookup {
                    outcome,
                    age: Duration::ZERO,
                    since: Instant::now(),
                    mirror: self.mirror.map(Into::into),
                    node_login: false,
                    refused_for: Duration::ZERO,
                },
            })
            .collect();
        let mut eligible = Placement::default().eligible(&self.nodes);
        eligible.may_need_others |= self.needs_others;
        eligible.kept_away.extend(&self.kept_away);
        if self.gated {
            eligible = Eligible { nodes: Vec::new(), ..eligible };
        }
        assess(&Observation {
            reference: reference.as_ref(),
            pull_policy: self.policy,
            secrets: self.secrets,
            attempts: &attempts,
            nodes_unclear: self.nodes_unclear,
            refused_login: None,
            repository: self.repository,
            eligible: &eligible,
            images_of_nodes: true,
            runtime: None,
            mirror_files: self.mirror_files,
            own_loopback: self.own_loopback,
            vouches: &|| self.vouches.clone(),
            history: self.history,
        })
    }
}

fn vouched() -> Vouches {
    Vouches {
        mirrors: Vouch::None,
        credentials: Vouch::None,
        preloaded_images: Vouch::None,
        same_network: true,
        platforms: vec![Platform::new("linux", "amd64")],
        listed_images_at_most: None,
    }
}

fn found(media: MediaKind, content: Content) -> Outcome {
    Outcome::Exists(Found { digest: None, media, content, head_refused: false })
}

#[rstest]
#[case(found(MediaKind::Manifest, Content::Unread), Works, None, &[])]
#[case(Outcome::TagMissing { code: CODE }, Fails, Some(Cause::TagNotFound), ALL)]
#[case(Outcome::TagMissing { code: None }, CannotTell, Some(Cause::TagNotFound), &[])]
#[case(Outcome::RepositoryMissing { code: CODE }, Fails, Some(Cause::RepositoryNotFound), ALL)]
#[case(Outcome::RepositoryMissing { code: None }, CannotTell, Some(Cause::RepositoryNotFound), &[])]
#[case(Outcome::MissingOrDenied, CannotTell, Some(Cause::AccessDeniedOrMissing), &[])]
#[case(Outcome::Unauthorized, CannotTell, Some(Cause::Unauthorized), &[])]
#[case(Outcome::Forbidden, CannotTell, Some(Cause::Forbidden), &[])]
#[case(Outcome::RefusedByStranger, CannotTell, Some(Cause::MalformedAnswer), &[])]
#[case(Outcome::RedirectRefused, CannotTell, Some(Cause::ForeignRealm), &[])]
#[case(Outcome::PasswordMissing, CannotTell, Some(Cause::Unauthorized), &[])]
#[case(Outcome::MirrorRefused, CannotTell, Some(Cause::Unauthorized), &[])]
#[case(Outcome::AddressRefused, CannotTell, Some(Cause::NetworkRestricted), &[])]
#[case(Outcome::Throttled { retry_after: None }, CannotTell, Some(Cause::RateLimited), &[])]
#[case(Outcome::RegistryError { status: 500 }, CannotTell, Some(Cause::RegistryError), &[])]
#[case(Outcome::Network(NetworkFault::Dns), CannotTell, Some(Cause::DnsFailure), &[])]
#[case(Outcome::Network(NetworkFault::Refused), CannotTell, Some(Cause::ConnectionRefused), &[])]
#[case(Outcome::Network(NetworkFault::Reset), CannotTell, Some(Cause::ConnectionRefused), &[])]
#[case(Outcome::Network(NetworkFault::Proxy), CannotTell, Some(Cause::ConnectionRefused), &[])]
#[case(Outcome::Tls(TlsFault::Expired), CannotTell, Some(Cause::TlsFailure), &[])]
#[case(Outcome::Timeout(Step::FirstByte), CannotTell, Some(Cause::Timeout), &[])]
#[case(Outcome::Malformed("html"), CannotTell, Some(Cause::MalformedAnswer), &[])]
#[case(Outcome::CorruptContent, CannotTell, Some(Cause::CorruptContent), &[])]
#[case(Outcome::ForbiddenAddress, CannotTell, Some(Cause::ForbiddenAddress), &[])]
#[case(Outcome::ForeignRealm("auth.example.net".into()), CannotTell, Some(Cause::ForeignRealm), &[])]
#[case(Outcome::TooLate, CannotTell, Some(Cause::TooLate), &[])]
#[case(Outcome::Overloaded, CannotTell, Some(Cause::Overloaded), &[])]
#[case(index(&["linux/arm64"]), Fails, Some(Cause::PlatformMismatch), CONTENT)]
#[case(index(&["linux/arm64", "linux/amd64"]), Works, None, &[])]
#[case(index(&["windows(10.0.1)/amd64"]), Fails, Some(Cause::PlatformMismatch), CONTENT)]
#[case(found(MediaKind::Manifest, Content::Config(Platform::new("linux", "arm64"), None)), Works, Some(Cause::PlatformMismatch), &[])]
#[case(found(MediaKind::Manifest, Content::Artifact), Works, Some(Cause::UnsupportedManifest), &[])]
#[case(
    found(MediaKind::Schema1, Content::Unread),
    Fails,
    Some(Cause::UnsupportedManifest),
    CONTENT
)]
#[case(found(MediaKind::Index, Content::Unread), CannotTell, Some(Cause::PlatformMismatch), &[])]
#[case(found(MediaKind::Other, Content::Unread), CannotTell, Some(Cause::UnsupportedManifest), &[])]
fn every_outcome_has_its_row(
    #[case] outcome: Outcome,
    #[case] verdict: Verdict,
    #[case] cause: Option<Cause>,
    #[case] escapes: &[Escape],
) {
    let assessment = Case { outcomes: vec![outcome], ..Case::default() }.assess();
    assert_eq!((assessment.verdict, assessment.cause), (verdict, cause));
    assert_eq!(assessment.escapes, escapes);
}

#[test]
fn what_is_vouched_for_closes_the_escapes() {
    let assessment = Case { vouches: vouched(), ..Case::default() }.assess();
    assert!(assessment.may_deny());
}

#[rstest]
#[case::it_ran_here(HistoryFacts { seen_here: true, ..HistoryFacts::default() }, &[Escape::ImageOnNode])]
#[case::nodes_log_in(HistoryFacts { node_login: NodeLogin::Proven, ..HistoryFacts::default() }, &[Escape::NodeCredentials])]
#[case::nodes_may_log_in(HistoryFacts { node_login: NodeLogin::Possible, ..HistoryFacts::default() }, &[Escape::NodeCredentials])]
#[case::score(HistoryFacts { escapes_reopened: true, ..HistoryFacts::default() }, &[Escape::NodeMirror, Escape::NodeCredentials, Escape::NodeNetwork])]
fn experience_reopens_what_was_vouched_for(
    #[case] history: HistoryFacts,
    #[case] escapes: &[Escape],
) {
    let assessment = Case { vouches: vouched(), history, ..Case::default() }.assess();
    assert_eq!(assessment.escapes, escapes);
}

#[test]
fn an_image_that_a_node_lists_keeps_its_escape_open() {
    let mut other = node("n2", "linux/amd64");
    other.images = ["reg.example.com/app:1".into()].into();
    let nodes = vec![node("n", "linux/amd64"), other];
    let assessment = Case { vouches: vouched(), nodes, ..Case::default() }.assess();
    assert_eq!(assessment.escapes, [Escape::ImageOnNode]);
}

/// containerd tries GET after a 405 alone; CRI-O asks by nothing else.
#[rstest]
#[case(&["containerd://2.1.8"], CannotTell)]
#[case(&["containerd://2.1.8", "cri-o://1.33.0"], CannotTell)]
#[case(&["cri-o://1.33.0"], Works)]
#[case(&[""], CannotTell)]
#[case(&[], CannotTell)]
fn what_is_refused_to_head_works_only_where_nodes_ask_by_get(
    #[case] runtimes: &[&str],
    #[case] verdict: Verdict,
) {
    let on = |runtime: &&str| Node { runtime: (*runtime).into(), ..node("n", "linux/amd64") };
    let nodes: Vec<Node> = runtimes.iter().map(on).collect();
    let found = Found {
        digest: None,
        media: MediaKind::Manifest,
        content: Content::NoPlatform,
        head_refused: true,
    };
    let outcomes = vec![Outcome::Exists(found)];
    let assessment = Case { outcomes, nodes, vouches: vouched(), ..Case::default() }.assess();
    assert_eq!(assessment.verdict, verdict);
}

#[rstest]
#[case(ImagePullPolicy::IfNotPresent, "v1.34.4", Works)]
#[case(ImagePullPolicy::Never, "v1.34.4", Works)]
#[case(ImagePullPolicy::Always, "v1.34.4", Fails)]
#[case(ImagePullPolicy::IfNotPresent, "v1.35.0", Fails)]
#[case(ImagePullPolicy::Never, "v1.36.3", Fails)]
fn an_image_on_every_eligible_node_needs_no_registry(
    #[case] policy: ImagePullPolicy,
    #[case] kubelet: &str,
    #[case] verdict: Verdict,
) {
    let mut node = node("n", "linux/amd64");
    node.images = ["reg.example.com/app:1".into()].into();
    node.kubelet = kubelet.into();
    let assessment = Case { policy, nodes: vec![node], ..Case::default() }.assess();
    assert_eq!(assessment.verdict, verdict);
}

#[test]
fn what_the_nodes_have_and_the_registry_has_not_starts_with_a_word() {
    let mut one = node("n", "linux/amd64");
    one.images = ["reg.example.com/app:1".into()].into();
    one.kubelet = "v1.34.4".into();
    let on_disk = |outcome| Case {
        outcomes: vec![outcome],
        policy: ImagePullPolicy::IfNotPresent,
        nodes: vec![one.clone()],
        vouches: vouched(),
        ..Case::default()
    };
    let gone = on_disk(Outcome::TagMissing { code: CODE }).assess();
    assert_eq!((gone.verdict, gone.cause), (Works, Some(Cause::TagNotFound)));
    for outcome in [Outcome::TagMissing { code: None }, Outcome::Unauthorized] {
        let assessment = on_disk(outcome).assess();
        assert_eq!((assessment.verdict, assessment.cause), (Works, None));
    }
    // Where another node may have to come, it has nothing.
    let more = Case { needs_others: true, ..on_disk(Outcome::TagMissing { code: CODE }) }.assess();
    assert_eq!((more.verdict, &*more.escapes), (Fails, &[Escape::ImageOnNode][..]));
}

#[test]
fn a_node_behind_a_taint_may_complete_short_names_by_its_own_list() {
    for (behind, verdict) in [("cri-o://1.33.0", CannotTell), ("containerd://2.1.8", Fails)] {
        let node = |runtime: &str| Node { runtime: runtime.into(), ..node("n", "linux/amd64") };
        let case = Case {
            image: "app:1",
            nodes: vec![node("containerd://2.1.8")],
            kept_away: vec![node(behind)],
            ..Case::default()
        };
        assert_eq!(case.assess().verdict, verdict, "{behind}");
    }
}

#[test]
fn never_asks_nobody_and_is_denied_only_when_vouched_for() {
    let never = || Case { policy: ImagePullPolicy::Never, outcomes: Vec::new(), ..Case::default() };
    let open = never().assess();
    assert_eq!(
        (open.cause, &*open.escapes),
        (Some(Cause::ImageNeverPull), &[Escape::ImageOnNode][..])
    );
    assert!(Case { vouches: vouched(), ..never() }.assess().may_deny());
    // CRI-O finds it under any registry that its own list of short names has.
    let node = |runtime: &str| Node { runtime: runtime.into(), ..node("n", "linux/amd64") };
    let short = |runtime| Case { image: "app:1", nodes: vec![node(runtime)], ..never() };
    assert_eq!(short("cri-o://1.33.0").assess().verdict, CannotTell);
    assert_eq!(short("containerd://2.1.8").assess().verdict, Fails);
}

/// Scheduling gates hold it, or no node takes it yet: what the known nodes list still counts.
#[rstest]
#[case::listed(true, false, false)]
#[case::names_cut(false, true, false)]
#[case::neither(false, false, true)]
fn what_nodes_have_counts_before_one_of_them_is_chosen(
    #[case] listed: bool,
    #[case] names_cut: bool,
    #[case] denied: bool,
    #[values(ImagePullPolicy::Never, ImagePullPolicy::IfNotPresent)] policy: ImagePullPolicy,
    #[values(true, false)] gated: bool,
) {
    let mut node = Node { names_cut, ..node("n", "linux/amd64") };
    if listed {
        // A kubelet that would ask again.
        (node.kubelet, node.images) = ("v1.36.0".into(), ["reg.example.com/app:1".into()].into());
    }
    let nodes = vec![node];
    let case = Case { policy, gated, nodes, vouches: vouched(), ..Case::default() };
    let assessment = case.assess();
    assert_eq!(assessment.may_deny(), denied, "{assessment:?}");
}

/// No kubelet reads names and secrets of pods that run on a virtual node.
#[rstest]
#[case::name("docker://ubuntu", ImagePullPolicy::Always, SecretsState::Read)]
#[case::never("reg.example.com/app:1", ImagePullPolicy::Never, SecretsState::Read)]
#[case::secret("reg.example.com/app:1", ImagePullPolicy::Always, SecretsState::Broken)]
#[case::missing("reg.example.com/app:1", ImagePullPolicy::Always, SecretsState::Read)]
fn nothing_fails_for_sure_on_a_virtual_node(
    #[case] image: &'static str,
    #[case] policy: ImagePullPolicy,
    #[case] secrets: SecretsState,
    #[values(true, false)] gated: bool,
) {
    let case = |labels: Vec<(Box<str>, Box<str>)>| {
        let nodes = vec![
            Node { labels: labels.into(), ..node("n", "linux/amd64") },
            node("m", "linux/amd64"),
        ];
        let vouches = vouched();
        Case { image, policy, secrets, nodes, vouches, gated, ..Case::default() }.assess()
    };
    assert!(case(Vec::new()).may_deny());
    for (key, value) in [("type", "virtual-kubelet"), ("liqo.io/type", "virtual-node")] {
        let assessment = case(vec![(key.into(), value.into())]);
        assert_eq!(assessment.verdict, CannotTell, "{key}");
    }
}

/// A registry at `localhost` is another one on each node; that whoever checks has one at the same port says
/// little.
#[test]
fn what_ones_own_loopback_lacks_a_node_may_have() {
    let verdict = |outcome, own_loopback| {
        let image = "localhost:5000/app:1";
        Case { image, outcomes: vec![outcome], own_loopback, ..Case::default() }.assess().verdict
    };
    assert_eq!(verdict(missing(), true), CannotTell);
    assert_eq!(verdict(missing(), false), Fails);
    assert_eq!(verdict(found(MediaKind::Manifest, Content::Unread), true), Works);
}

/// A runtime finds an image by its ID, as a pod's status has it, and the kubelet lists no IDs.
#[rstest]
#[case::never(ImagePullPolicy::Never, CannotTell)]
#[case::if_not_present(ImagePullPolicy::IfNotPresent, CannotTell)]
#[case::always(ImagePullPolicy::Always, Fails)]
fn an_id_of_an_image_is_found_on_the_node(
    #[case] policy: ImagePullPolicy,
    #[case] verdict: Verdict,
) {
    let image = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let mut node = node("n", "linux/amd64");
    node.runtime = "containerd://2.1.8".into();
    let case = |image| {
        let nodes = vec![node.clone()];
        Case { image, policy, nodes, vouches: vouched(), ..Case::default() }.assess().verdict
    };
    assert_eq!(case(image), verdict);
    assert_eq!(case("sha256:1.2.3"), Fails);
}

#[rstest]
#[case(vec![Outcome::Unauthorized, missing()], Fails, Cause::TagNotFound, 1)]
#[case(vec![missing(), Outcome::Unauthorized], Fails, Cause::TagNotFound, 0)]
#[case(vec![Outcome::Unauthorized, Outcome::Forbidden], CannotTell, Cause::Forbidden, 1)]
#[case(vec![missing(), Outcome::TooLate], CannotTell, Cause::TooLate, 1)]
fn several_credentials_are_weighed(
    #[case] outcomes: Vec<Outcome>,
    #[case] verdict: Verdict,
    #[case] cause: Cause,
    #[case] decisive: usize,
) {
    let assessment = Case { outcomes, ..Case::default() }.assess();
    assert_eq!(assessment.verdict, verdict);
    assert_eq!((assessment.cause, assessment.decisive), (Some(cause), Some(decisive)));
}

#[test]
fn secrets_that_could_not_be_read_leave_it_open() {
    let assessment = Case { secrets: SecretsState::Unread, ..Case::default() }.assess();
    assert_eq!(assessment.verdict, CannotTell);
}

#[rstest]
#[case(ImagePullPolicy::Always, "v1.34.4", &[])]
#[case(ImagePullPolicy::IfNotPresent, "v1.34.4", &[Escape::ImageOnNode])]
// Anybody on the node may use what was pulled without a secret, and then no secret is read.
#[case(ImagePullPolicy::IfNotPresent, "v1.36.0", &[Escape::ImageOnNode])]
fn a_broken_secret_stops_every_pull(
    #[case] policy: ImagePullPolicy,
    #[case] kubelet: &str,
    #[case] escapes: &[Escape],
) {
    let mut node = node("n", "linux/amd64");
    node.kubelet = kubelet.into();
    let secrets = SecretsState::Broken;
    let case = Case { policy, secrets, outcomes: Vec::new(), nodes: vec![node], ..Case::default() };
    let assessment = case.assess();
    assert_eq!(assessment.cause, Some(Cause::BrokenPullSecret));
    assert_eq!(assessment.escapes, escapes);
}

#[rstest]
#[case("containerd://1.7.20", Works)]
#[case("containerd://2.0.1", CannotTell)]
#[case("containerd://2.1.0", Fails)]
#[case("cri-o://1.33.0", Works)]
#[case("docker://27", CannotTell)]
fn schema_1_depends_on_the_runtime(#[case] runtime: &str, #[case] verdict: Verdict) {
    let mut node = node("n", "linux/amd64");
    node.runtime = runtime.into();
    let outcomes = vec![found(MediaKind::Schema1, Content::Unread)];
    let assessment = Case { outcomes, nodes: vec![node], ..Case::default() }.assess();
    assert_eq!(assessment.verdict, verdict);
}

#[rstest]
#[case("nginx:1", "containerd://2.1.8", Fails)]
#[case("nginx:1", "cri-o://1.33.0", CannotTell)]
#[case("nginx:1", "something", CannotTell)]
#[case("docker.io/library/nginx:1", "cri-o://1.33.0", Fails)]
#[case("foo_bar.com/app:1", "containerd://2.1.8", CannotTell)]
#[case("registry.infra.svc:5000/app:1", "containerd://2.1.8", CannotTell)]
#[case("registry.infra.svc.cluster.local/app:1", "containerd://2.1.8", CannotTell)]
#[case("registry.svc.example.com/app:1", "containerd://2.1.8", Fails)]
fn names_that_runtimes_read_differently(
    #[case] image: &'static str,
    #[case] runtime: &str,
    #[case] verdict: Verdict,
) {
    let mut node = node("n", "linux/amd64");
    node.runtime = runtime.into();
    let assessment = Case { image, nodes: vec![node], ..Case::default() }.assess();
    assert_eq!(assessment.verdict, verdict);
}

const CONTAINERD: &str = "containerd://2.1.8";
const CRI_O: &str = "cri-o://1.36.3";

fn on(runtimes: &[&str]) -> Vec<Node> {
    let on = |runtime: &&str| Node { runtime: (*runtime).into(), ..node("n", "linux/amd64") };
    runtimes.iter().map(on).collect()
}

/// containerd pulls from IPv6 addresses and by long names; CRI-O's library refuses both.
#[rstest]
#[case("[2001:db8::1]:5000/app:1", &[CONTAINERD], Fails)]
#[case("[2001:db8::1]:5000/app:1", &[CRI_O], CannotTell)]
#[case("[2001:db8::1]:5000/app:1", &[CONTAINERD, CRI_O], CannotTell)]
#[case("[2001:db8::1]:5000/app:1", &[], CannotTell)]
#[case("reg.example.com/app:1", &[CONTAINERD, CRI_O], Fails)]
fn names_that_cri_o_refuses(
    #[case] image: &'static str,
    #[case] runtimes: &[&str],
    #[case] verdict: Verdict,
) {
    let assessment = Case { image, nodes: on(runtimes), ..Case::default() }.assess();
    assert_eq!(assessment.verdict, verdict);
}

fn files(of: FilesOf, routes: bool) -> MirrorFiles {
    MirrorFiles { of, routes, credential_helpers: false, since_2_2: false }
}

/// `referrers` is a capability since containerd 2.2; earlier ones drop the whole file for it.
#[rstest]
#[case::knows_it("containerd://2.2.0", Fails)]
#[case::drops_it("containerd://2.1.8", CannotTell)]
#[case::drops_it_of_old("containerd://1.7.29", CannotTell)]
fn a_file_that_an_older_containerd_drops(#[case] runtime: &str, #[case] verdict: Verdict) {
    let case = Case {
        policy: ImagePullPolicy::Always,
        nodes: on(&[runtime]),
        vouches: Vouches { mirrors: Vouch::Listed, ..vouched() },
        mirror_files: Some(MirrorFiles { since_2_2: true, ..files(FilesOf::Containerd, true) }),
        ..Case::default()
    };
    assert_eq!(case.assess().verdict, verdict);
}

/// The mirrors of one runtime say nothing of where a node of the other one pulls from.
#[rstest]
#[case::its_own(FilesOf::CriO, true, &[CRI_O], missing(), Fails, true)]
#[case::mixed(FilesOf::CriO, true, &[CRI_O, CONTAINERD], missing(), CannotTell, false)]
#[case::mixed_the_other_way(FilesOf::Containerd, true, &[CRI_O, CONTAINERD], missing(), CannotTell, false)]
#[case::only_the_other(FilesOf::CriO, true, &[CONTAINERD], missing(), CannotTell, false)]
#[case::nothing_listed_for_it(FilesOf::CriO, false, &[CRI_O, CONTAINERD], missing(), Fails, false)]
#[case::on_a_mirror(FilesOf::CriO, true, &[CRI_O, CONTAINERD], index(&["linux/amd64"]), CannotTell, false)]
#[case::on_its_own_mirror(FilesOf::CriO, true, &[CRI_O], index(&["linux/amd64"]), Works, false)]
fn mirrors_of_another_runtime(
    #[case] of: FilesOf,
    #[case] routes: bool,
    #[case] runtimes: &[&str],
    #[case] outcome: Outcome,
    #[case] verdict: Verdict,
    #[case] may_deny: bool,
) {
    let case = Case {
        policy: ImagePullPolicy::Always,
        outcomes: vec![outcome],
        nodes: on(runtimes),
        vouches: Vouches { mirrors: Vouch::Listed, ..vouched() },
        mirror_files: Some(files(of, routes)),
        mirror: Some("m.example.com"),
        ..Case::default()
    };
    let assessment = case.assess();
    assert_eq!((assessment.verdict, assessment.may_deny()), (verdict, may_deny));
    let open: &[Escape] = if verdict == Fails && !may_deny { &[Escape::NodeMirror] } else { &[] };
    assert_eq!(assessment.escapes, open);
}

/// A pod that waits to be placed may land on any node that is known.
#[rstest]
#[case::its_own(&[CRI_O], Fails)]
#[case::mixed(&[CRI_O, CONTAINERD], CannotTell)]
#[case::only_the_other(&[CONTAINERD], CannotTell)]
#[case::none_is_known(&[], CannotTell)]
fn mirrors_of_another_runtime_where_no_node_takes_it_yet(
    #[case] runtimes: &[&str],
    #[case] verdict: Verdict,
) {
    let case = Case {
        nodes: on(runtimes),
        vouches: Vouches { mirrors: Vouch::Listed, ..vouched() },
        mirror_files: Some(files(FilesOf::CriO, true)),
        gated: true,
        ..Case::default()
    };
    assert_eq!(case.assess().verdict, verdict);
}

/// What the registry itself has is there for every node.
#[test]
fn what_the_registry_itself_has_works_on_nodes_of_both_runtimes() {
    let case = Case {
        outcomes: vec![index(&["linux/amd64"])],
        nodes: on(&[CONTAINERD, CRI_O]),
        mirror_files: Some(files(FilesOf::CriO, true)),
        ..Case::default()
    };
    assert_eq!(case.assess().verdict, Works);
}

#[test]
fn no_eligible_node_leaves_an_index_open_but_not_a_lone_manifest() {
    let nodes = Vec::new;
    let outcomes = vec![index(&["linux/arm64"])];
    assert_eq!(Case { outcomes, nodes: nodes(), ..Case::default() }.assess().verdict, CannotTell);
    let outcomes = vec![found(MediaKind::Manifest, Content::Unread)];
    assert_eq!(Case { outcomes, nodes: nodes(), ..Case::default() }.assess().verdict, Works);
}

#[test]
fn windows_nodes_are_never_sure() {
    let outcomes = vec![index(&["windows(10.0.20348.1)/amd64"])];
    let nodes = vec![node("w", "windows/amd64")];
    assert_eq!(Case { outcomes, nodes, ..Case::default() }.assess().verdict, CannotTell);
}

#[test]
fn registry_trouble_softens_every_cause_that_an_outage_can_have() {
    let history = HistoryFacts { registry_in_trouble: true, ..HistoryFacts::default() };
    for outcome in
        [Outcome::Unauthorized, Outcome::Forbidden, Outcome::RegistryError { status: 503 }]
    {
        let assessment = Case { outcomes: vec![outcome], history, ..Case::default() }.assess();
        assert_eq!(assessment.doubt, Some(Doubt::RegistryTrouble));
        assert_eq!(assessment.verdict, CannotTell);
    }
    let assessment = Case { history, ..Case::default() }.assess();
    assert_eq!((assessment.doubt, assessment.verdict), (None, Fails));
}

#[test]
fn a_runtime_is_read_from_what_nodes_report() {
    assert_eq!(Runtime::parse("containerd://2.1.8"), Runtime::Containerd(2, 1, Some(8)));
    assert_eq!(Runtime::parse("containerd://1.7.0-rc.1~ds1"), Runtime::Containerd(1, 7, Some(0)));
    assert_eq!(Runtime::parse("cri-o://1.30.1"), Runtime::CriO);
    assert_eq!(Runtime::parse("cri-o"), Runtime::CriO);
    assert_eq!(Runtime::parse("junk"), Runtime::Other);
}

#[rstest]
#[case(Vouch::Unknown, false, true)]
#[case(Vouch::None, false, false)]
#[case(Vouch::None, true, false)]
#[case(Vouch::Listed, false, false)]
#[case(Vouch::Listed, true, true)]
fn listed_credentials_close_the_escape_only_when_all_could_be_asked(
    #[case] credentials: Vouch,
    #[case] nodes_unclear: bool,
    #[case] open: bool,
) {
    let vouches = Vouches { credentials, ..vouched() };
    let assessment = Case { vouches, nodes_unclear, ..Case::default() }.assess();
    assert_eq!(assessment.escapes.contains(&Escape::NodeCredentials), open);
}
