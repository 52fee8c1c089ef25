//! `docs/messages.md` is generated from the code; this keeps it current.
//! `UPDATE_DOCS=1 cargo test --test it messages` writes it anew.

use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pullgate::advice::{
    Advice, AdviceKind, Nearness, SecretFault, certificate_expires, fitting_nodes, fix_secret,
    secret_expires,
};
use pullgate::builds::{BuildJob, BuildKind, BuildState, ContainerEnd, JobRerun};
use pullgate::credential::{CredentialOrigin, CredentialSource};
use pullgate::failure::{Classified, known_messages, next_step};
use pullgate::history::{
    AllowedSources, Freshness, KnownTag, PodTrouble, RegistryService, SelectingNetworkPolicy,
    ServiceState,
};
use pullgate::image::{Digest, ImageReference, Platform};
use pullgate::message::{
    DETAILS, DigestDrift, FailureStats, Finding, MAX_HEAD, MAX_WARNING, NodesFailing,
    QuotaForecast, StatsScope, denied_by, escape_words, evidence, fit_warnings, held_back_by,
    history_hidden, ignored_label, lines, reopened, sentence, still_learning, tls_words,
};
use pullgate::policy::{Decision, ExceptionUse, LabelUse, LatePush, Mode, Reason, Ruling};
use pullgate::pull::{
    Assessment, Attempt, Cause, Content, Doubt, ErrorCode, Escape, Found, Lookup, MediaKind,
    Outcome, PullsLeft, TlsFault, Verdict,
};
use pullgate::workload::{Placement, Rollout};

use crate::review::fakes::node;

const IMAGE: &str = "registry.example.com/shop/app:1.2.3";
static REFERENCE: LazyLock<ImageReference> = LazyLock::new(|| IMAGE.parse().unwrap());

fn assessment(verdict: Verdict, cause: Cause) -> Assessment {
    Assessment {
        verdict,
        cause: Some(cause),
        escapes: Vec::new(),
        decisive: Some(0),
        digest: None,
        unfit_nodes: Vec::new(),
        node_platforms: Vec::new(),
        doubt: None,
    }
}

fn ruling() -> Ruling {
    Ruling {
        decision: Decision::Warn,
        mode: Mode::Warn,
        label: LabelUse::Absent,
        exception: None,
        reason: Reason::ModeWarn,
        refused: false,
        grace: None,
    }
}

fn attempt(origin: Option<CredentialOrigin>, outcome: Outcome) -> Attempt {
    let source = origin.map(|origin| CredentialSource {
        origin,
        written: Box::default(),
        key: Box::default(),
    });
    Attempt {
        source,
        lookup: Lookup {
            outcome,
            age: Duration::ZERO,
            since: Instant::now(),
            mirror: None,
            node_login: false,
            refused_for: Duration::ZERO,
        },
    }
}

fn secret() -> CredentialOrigin {
    CredentialOrigin::Secret("regcred".into())
}

fn finding<'a>(
    assessment: &'a Assessment,
    attempts: &'a [Attempt],
    ruling: &'a Ruling,
) -> Finding<'a> {
    Finding {
        image: IMAGE,
        reference: Ok(&REFERENCE),
        assessment,
        attempts,
        advice: &[],
        broken_secret: Some(("regcred", "its docker configuration does not parse")),
        missing_secret: None,
        secrets_unread: false,
        ruling,
        is_pod: false,
        pods_rewritten: false,
        seen_here: true,
        stats: None,
        nodes_failing: None,
        drift: None,
        quota: None,
    }
}

/// The verdicts with which a cause is given.
fn verdicts(cause: Cause) -> &'static [Verdict] {
    match cause {
        Cause::TagNotFound
        | Cause::RepositoryNotFound
        | Cause::PlatformMismatch
        | Cause::UnsupportedManifest => &[Verdict::Fails, Verdict::CannotTell, Verdict::Works],
        Cause::ImageNeverPull => &[Verdict::Fails, Verdict::CannotTell],
        Cause::InvalidReference
        | Cause::BrokenPullSecret
        | Cause::AccessDeniedOrMissing
        | Cause::Unauthorized
        | Cause::Forbidden => &[Verdict::Fails],
        _ => &[Verdict::CannotTell],
    }
}

fn causes(page: &mut String) {
    for &cause in Cause::ALL {
        let step = next_step(&Classified {
            cause,
            registry: None,
            credential_problem: None,
            address: None,
            advice: None,
        });
        writeln!(page, "\n### `{cause}`\n").unwrap();
        let error = ImageReference::parse("Shop/App").err();
        for &verdict in verdicts(cause) {
            let assessment = assessment(verdict, cause);
            let ruling = ruling();
            let mut said = finding(&assessment, &[], &ruling);
            if let Some(error) = &error {
                said.reference = Err(error);
            }
            let with_login = [attempt(Some(secret()), Outcome::Unauthorized)];
            for attempts in [&with_login[..], &[]] {
                let mut line = Finding { attempts, ..said }.line();
                line.truncate(line.find("; ").unwrap_or(line.len()));
                line.truncate(line.find(DETAILS).unwrap_or(line.len()));
                let entry = format!("- *{verdict}*: `{line}`\n");
                if !page.ends_with(&entry) {
                    page.push_str(&entry);
                }
            }
        }
        if cause == Cause::TlsFailure {
            for fault in [
                TlsFault::UnknownAuthority,
                TlsFault::WrongName,
                TlsFault::Expired,
                TlsFault::PlainHttp,
            ] {
                writeln!(page, "- *cannot_tell*: `image {IMAGE}: {}`", tls_words(fault)).unwrap();
            }
        }
        writeln!(page, "- Evidence: {}.", evidence(cause)).unwrap();
        writeln!(page, "- Next step: {step}.").unwrap();
        let mut told: Vec<&str> = known_messages()
            .filter(|known| known.cause == cause)
            .filter_map(|known| known.advice)
            .collect();
        told.sort_unstable();
        told.dedup();
        for advice in told {
            writeln!(page, "- Where a node's message says more: {advice}.").unwrap();
        }
    }
}

fn known(image: &str, pods: u32, in_namespace: bool) -> KnownTag {
    KnownTag {
        reference: ImageReference::parse(image).unwrap(),
        pods,
        in_namespace,
        last_started: Timestamp::UNIX_EPOCH,
        digest: None,
    }
}

/// Every message of every kind of advice.
fn samples() -> Vec<Advice> {
    let image = |text: &str| ImageReference::parse(text).unwrap();
    let mut samples = vec![
        Advice::correct_name(&image(IMAGE), "registry.example.com/shop/App:1.2.3"),
        Advice::known_tag(&known("registry.example.com/shop/app:1.2.2", 3, true)).unwrap(),
        Advice::known_tag(&known("registry.example.com/shop/app:1.2.2", 1, false)).unwrap(),
        Advice::last_digest(&Digest::of_sha256(b"")),
    ];
    for allowed in [AllowedSources::Nobody, AllowedSources::Some, AllowedSources::Everybody] {
        let fence = SelectingNetworkPolicy { name: "only-ci".into(), allowed };
        samples.push(Advice::network_policy("infra", &fence));
    }
    samples.push(Advice::meant_repository(&image("registry.example.com/shop/app:1.2.3")));
    samples.push(Advice::nobody_builds());
    samples.push(secret_expires("regcred", 5 * 60));
    samples.push(certificate_expires(5 * 60));
    samples.extend(Nearness::ALL.iter().map(|nearness| {
        let tag = match nearness {
            Nearness::VersionPrefix => "v1.2.3",
            Nearness::Case => "1.2.3-rc1",
            Nearness::Separator => "1.2.3_rc1",
            Nearness::Typo => "1.2.3-alpine",
            Nearness::Longer => "1.2.3-slim",
            Nearness::Shorter => "1.2",
            Nearness::OtherVersion | Nearness::Newest => "1.2.4",
            Nearness::OtherDate => "2026-01-02",
        };
        Advice::near_tag(tag, *nearness)
    }));
    samples.push(Advice::namesake(&known("registry.example.com/team/app:1.2.3", 3, false)));
    samples.push(Advice::secret_works("regcred", None));
    samples.push(Advice::secret_works("regcred", Some("builder")));
    samples.extend(
        SecretFault::ALL
            .iter()
            .map(|fault| fix_secret("regcred", "shop", "registry.example.com", *fault)),
    );
    samples.push(Advice::same_elsewhere(&image("mirror.example.com/shop/app:1.2.3"), false));
    samples.push(Advice::same_elsewhere(&image("mirror.example.com/shop/app:1.2.3"), true));
    samples.extend([Advice::already_on_nodes(1), Advice::already_on_nodes(3), Advice::pull_it()]);
    let arm = [Some(Platform::parse("linux/arm64").unwrap())];
    let nodes = [node("one", "linux/arm64"), node("two", "linux/amd64")];
    samples.extend(fitting_nodes(&arm, &Placement::default(), &nodes));
    samples.extend(fitting_nodes(&arm, &Placement::default(), &nodes[1..]));
    samples.extend([Advice::throttled(true), Advice::throttled(false)]);
    samples.extend(neighbours());
    samples
}

/// What is said of an image's neighbours.
fn neighbours() -> Vec<Advice> {
    let troubles = [
        PodTrouble::CannotPull(Cause::Unauthorized),
        PodTrouble::Crashing,
        PodTrouble::OutOfMemory,
        PodTrouble::ExitCode(1),
        PodTrouble::Evicted,
        PodTrouble::Unschedulable,
    ];
    let service = |state| {
        let (namespace, name) = ("infra".into(), "registry".into());
        Advice::registry_service(&RegistryService { namespace, name, state })
    };
    let mut samples: Vec<Advice> = [
        ServiceState::Missing,
        ServiceState::NoPods,
        ServiceState::NotReady { pods: 2, trouble: None },
        ServiceState::NotReady { pods: 2, trouble: Some(PodTrouble::Crashing) },
    ]
    .into_iter()
    .filter_map(service)
    .collect();
    let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let at = Some(now - Duration::from_secs(720));
    let job = |kind, pushes, state, trouble| {
        let (namespace, name) = ("ci".into(), "build-app".into());
        let remade = || JobRerun { cron_job: "build-app".into(), name: "build-app-again".into() };
        let rerun_as = (kind == BuildKind::CronJob).then(remade);
        Advice::build_job(
            &BuildJob { kind, namespace, name, pushes, state, rerun_as },
            trouble,
            now,
        )
    };
    let failed = BuildState::Failed { at, too_long: false };
    samples.push(job(BuildKind::Job, true, failed, None));
    samples.extend(troubles.map(|trouble| job(BuildKind::Job, true, failed, Some(trouble))));
    samples.extend(
        [
            BuildState::Failed { at, too_long: true },
            BuildState::Running { since: at, failed: 0 },
            BuildState::Running { since: at, failed: 1 },
            BuildState::Running { since: at, failed: 2 },
            BuildState::NeverRun { suspended: false },
            BuildState::NeverRun { suspended: true },
            BuildState::Completed { at },
        ]
        .map(|state| job(BuildKind::Job, true, state, None)),
    );
    let running = BuildState::Running { since: at, failed: 0 };
    samples.push(job(BuildKind::Job, true, running, Some(PodTrouble::Unschedulable)));
    samples.push(job(BuildKind::Job, false, failed, None));
    let ran = BuildState::Ran { at: now - Duration::from_secs(720) };
    samples.push(job(BuildKind::CronJob, true, ran, None));
    for kind in [BuildKind::Pod, BuildKind::PipelineRun, BuildKind::TaskRun] {
        samples.push(job(kind, true, failed, None));
    }
    let build = BuildJob {
        kind: BuildKind::Job,
        namespace: "ci".into(),
        name: "build-app".into(),
        pushes: true,
        state: failed,
        rerun_as: None,
    };
    let end = ContainerEnd {
        container: "kaniko".into(),
        reason: "Error".into(),
        exit_code: 1,
        message: Some("no space left on device".into()),
    };
    samples.push(Advice::build_end(&build, &end));
    samples.push(Advice::build_end(&build, &ContainerEnd { message: None, ..end }));
    samples.push(job(BuildKind::CronJob, true, BuildState::NeverRun { suspended: true }, None));
    for (running, rollout) in [
        (3, Rollout::KeepsAll),
        (1, Rollout::KeepsAll),
        (4, Rollout::Stops(1)),
        (2, Rollout::Stops(1)),
        (3, Rollout::Stops(3)),
        (3, Rollout::StopsAll),
    ] {
        samples.extend(Advice::keeps_running(running, rollout));
    }
    let digest = Digest::of_sha256(b"");
    let left = PullsLeft { remaining: 7, window: Duration::from_secs(6 * 3600) };
    samples.extend([Advice::pull_quota(left, true), Advice::pull_quota(left, false)]);
    samples.extend([Advice::next_start_differs(&digest), Advice::some_nodes_differ(&digest)]);
    samples.extend([Advice::tag_differs("1.2.3", 2, &digest), Advice::tag_moves(&digest)]);
    samples
}

fn advice(page: &mut String) {
    let samples = samples();
    for &kind in AdviceKind::ALL {
        writeln!(page, "\n### `{}`\n", kind.as_str()).unwrap();
        for advice in samples.iter().filter(|advice| advice.kind == kind) {
            writeln!(page, "- `{}`", advice.message).unwrap();
            if let Some(command) = &advice.command {
                writeln!(page, "  - in reports: `{command}`").unwrap();
            }
        }
    }
}

/// The tails behind advice: who asked, what softened, what is open, what follows.
fn tails() -> Vec<String> {
    let (plain, gone) = (ruling(), assessment(Verdict::Fails, Cause::TagNotFound));
    let mut lines = Vec::new();
    let platform = |word: &str| Some(Platform::parse(word).unwrap());
    let content = Content::Platforms([platform("linux/arm64")].into());
    let found = Found { digest: None, media: MediaKind::Index, content, head_refused: false };
    let unfit = Assessment {
        node_platforms: vec![platform("linux/amd64")],
        ..assessment(Verdict::Fails, Cause::PlatformMismatch)
    };
    lines.push(finding(&unfit, &[attempt(None, Outcome::Exists(found))], &plain).line());
    let refused = assessment(Verdict::CannotTell, Cause::Unauthorized);
    let missing_secret = Some(("regcred", "shop"));
    lines.push(Finding { missing_secret, ..finding(&refused, &[], &plain) }.line());
    for origin in [
        None,
        Some(secret()),
        Some(CredentialOrigin::NodePlugin("ecr".into())),
        Some(CredentialOrigin::User),
    ] {
        lines.push(finding(&gone, &[attempt(origin, Outcome::Unauthorized)], &plain).line());
    }
    let trouble = Assessment {
        doubt: Some(Doubt::RegistryTrouble),
        ..assessment(Verdict::CannotTell, Cause::Unauthorized)
    };
    lines.push(finding(&trouble, &[], &plain).line());
    let stats = FailureStats {
        view: StatsScope::Cluster,
        failing_workloads: 2,
        failing_containers: 2,
        registry_failing: 2,
        registry_healthy: 7,
    };
    let with = |said, stats| Finding { stats: Some(stats), ..finding(said, &[], &plain) };
    lines.push(with(&trouble, FailureStats { registry_failing: 40, ..stats }).line());
    lines.push(with(&gone, stats).line());
    let partial = FailureStats { view: StatsScope::SomeNamespaces, registry_failing: 5, ..stats };
    lines.push(with(&gone, partial).line());
    let own = FailureStats { view: StatsScope::OwnNamespace, failing_workloads: 1, ..stats };
    lines.push(with(&gone, FailureStats { registry_healthy: 0, ..own }).line());
    let lately = Assessment { doubt: Some(Doubt::RecentSuccess), ..gone.clone() };
    lines.push(finding(&lately, &[], &plain).line());
    lines.push(Finding { seen_here: false, ..finding(&lately, &[], &plain) }.line());
    let rewritten = Finding { pods_rewritten: true, ..finding(&gone, &[], &plain) };
    lines.push(rewritten.line());
    for (doubt, cause) in
        [(Doubt::NodesMayLogIn, Cause::Unauthorized), (Doubt::MayBeHidden, Cause::TagNotFound)]
    {
        let untried = assessment(Verdict::CannotTell, cause);
        let untried = Assessment { doubt: Some(doubt), ..untried };
        lines.push(finding(&untried, &[], &plain).line());
    }
    for escapes in [&Escape::ALL[..1], Escape::ALL] {
        let open = Assessment { escapes: escapes.to_vec(), ..gone.clone() };
        lines.push(finding(&open, &[], &plain).line());
    }
    let works = Assessment { cause: None, ..assessment(Verdict::Works, Cause::TagNotFound) };
    let cause = Cause::TlsFailure;
    let failing = Some(NodesFailing { failing: 5, recent: 5, cause });
    lines.push(Finding { nodes_failing: failing, ..finding(&works, &[], &plain) }.line());
    let digest = Digest::of_sha256(b"");
    for (of_workload, advice) in
        [(true, Advice::next_start_differs(&digest)), (false, Advice::some_nodes_differ(&digest))]
    {
        let drift = Some(DigestDrift { pods: 2, of_workload });
        lines.push(Finding { drift, advice: &[advice], ..finding(&works, &[], &plain) }.line());
    }
    let left = PullsLeft { remaining: 7, window: Duration::from_secs(6 * 3600) };
    for of_account in [true, false] {
        let quota = Some(QuotaForecast { needed: 12, left: 7, of_account });
        let advice = [Advice::pull_quota(left, of_account)];
        lines.push(Finding { quota, advice: &advice, ..finding(&works, &[], &plain) }.line());
    }
    let moves = [Advice::tag_moves(&Digest::of_sha256(b""))];
    lines.push(Finding { advice: &moves, ..finding(&works, &[], &plain) }.line());
    let exception = |expired: bool| ExceptionUse {
        name: "legacy-images".into(),
        owner: "team-shop".into(),
        expires: "2027-02-01T00:00:00Z".parse().unwrap(),
        expiring_soon: !expired,
        expired,
    };
    for ruling in [
        Ruling { reason: Reason::NotEnforcedHere, ..ruling() },
        Ruling {
            reason: Reason::NotEnforcedHere,
            grace: Some(LatePush::default().grace),
            ..ruling()
        },
        Ruling { reason: Reason::BreakGlass, ..ruling() },
        Ruling { reason: Reason::Exception, exception: Some(exception(false)), ..ruling() },
        Ruling { exception: Some(exception(true)), ..ruling() },
        Ruling { refused: true, reason: Reason::RegistryRefused, ..ruling() },
    ] {
        lines.push(finding(&gone, &[], &ruling).line());
    }
    let once = Ruling { reason: Reason::RefusedOnce, ..ruling() };
    let harbor = Outcome::TagMissing { code: Some(ErrorCode::NotFound) };
    lines.push(finding(&gone, &[attempt(None, harbor)], &once).line());
    lines
}

fn answers() -> Vec<String> {
    let held_back = held_back_by("pullgate", "shop", Escape::ALL).unwrap();
    let mut all =
        vec![held_back, reopened("shop"), history_hidden("shop"), denied_by("pullgate", "shop")];
    all.extend([Freshness::Learning, Freshness::Stale].map(|one| still_learning(one, "shop")));
    let labels = [LabelUse::NotAllowed, LabelUse::Unknown];
    all.extend(labels.into_iter().filter_map(ignored_label).map(str::to_owned));
    let many: Vec<String> = (0..100).map(|n| format!("{n} {}", "x".repeat(300))).collect();
    all.extend(fit_warnings(&many).pop());
    all
}

fn page() -> String {
    let mut page = String::from(
        "# What Pullgate says\n\n\
         Generated from the code (`UPDATE_DOCS=1 cargo test --test it messages`): do not edit.\n\n\
         A line names the image, the cause, and what to do; image and cause are within the first \
         120 characters, all of it within 256. Behind a dash are details that do not change what to \
         do: with which credentials it was checked, which escapes are open, what follows. What does not fit is \
         left out; `pullgate check` shows everything. Every suggestion was tried with the \
         pod's own credentials before it was made.\n\n\
         ## Causes\n\n\
         *fails* is a confirmed registry response to exactly these credentials, or a fault that no node \
         gets past; *cannot_tell* is admitted; *works* with a cause can be pulled but will not run everywhere.\n",
    );
    causes(&mut page);
    page.push_str("\n## Advice\n");
    advice(&mut page);
    page.push_str("\n## How sure, and what follows\n\n");
    for line in tails() {
        writeln!(page, "- `{line}`").unwrap();
    }
    page.push_str("\n## Once in an answer\n\n");
    for line in answers() {
        writeln!(page, "- `{line}`").unwrap();
    }
    page
}

#[test]
fn the_page_of_messages_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/messages.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/messages.md is not what the code says; set UPDATE_DOCS=1 to write it"
    );
}

/// A terminal, an Event and a log show them as they are; what is to be copied stands at the end, or
/// is a command of its own.
#[test]
fn no_line_has_backticks() {
    let mut told: Vec<String> = samples().into_iter().map(|advice| advice.message).collect();
    told.extend(tails());
    told.extend(answers());
    told.extend(known_messages().filter_map(|known| known.advice).map(str::to_owned));
    for &cause in Cause::ALL {
        told.push(evidence(cause).to_owned());
        for verdict in [Verdict::Works, Verdict::Fails, Verdict::CannotTell] {
            let assessment = assessment(verdict, cause);
            let ruling = ruling();
            let tried = [attempt(Some(secret()), Outcome::Unauthorized)];
            for attempts in [&tried[..], &[]] {
                told.push(finding(&assessment, attempts, &ruling).message());
            }
        }
    }
    for line in told {
        assert!(!line.contains('`'), "{line}");
    }
}

#[test]
fn every_kind_of_advice_has_its_words() {
    let samples = samples();
    for kind in AdviceKind::ALL {
        assert!(samples.iter().any(|advice| advice.kind == *kind), "{kind:?}");
    }
    for advice in samples {
        let message = advice.message;
        assert!(message.chars().count() <= MAX_WARNING - MAX_HEAD - 2, "{message}");
        assert!(!message.ends_with('.') && !message.contains('\n'), "{message}");
    }
}

#[test]
fn image_and_cause_are_within_the_head() {
    let long = format!("registry.example.com/{}:1.2.3", "team/".repeat(40));
    for &cause in Cause::ALL {
        for &verdict in verdicts(cause) {
            let words = sentence(cause, verdict);
            assert!(words.len() <= 82, "{words}");
            let assessment = assessment(verdict, cause);
            let ruling = ruling();
            let line = Finding { image: &long, ..finding(&assessment, &[], &ruling) }.line();
            let head = line.split(DETAILS).next().unwrap().split("; ").next().unwrap();
            assert!(head.chars().count() <= MAX_HEAD, "{head}");
            assert!(head.contains(":1.2.3: "), "{head}");
        }
    }
    assert_eq!(escape_words(Escape::NodeMirror), "a mirror");
}

#[test]
fn images_with_the_same_problem_share_a_line() {
    let gone = assessment(Verdict::Fails, Cause::TagNotFound);
    let other = assessment(Verdict::Fails, Cause::Forbidden);
    let ruling = ruling();
    let one = finding(&gone, &[], &ruling);
    let findings = [
        Finding { image: "r.io/a:1", ..one },
        Finding { image: "r.io/b:1", ..one },
        Finding { image: "r.io/a:1", ..one },
        Finding { image: "r.io/c:1", ..finding(&other, &[], &ruling) },
    ];
    assert_eq!(
        lines(&findings),
        [
            "images r.io/a:1, r.io/b:1: tag not found in the registry",
            "image r.io/c:1: registry denies the credentials access (403)",
        ]
    );
    let many: Vec<String> = (0..20).map(|n| format!("registry.example.com/{n}:1")).collect();
    let findings: Vec<_> = many.iter().map(|image| Finding { image, ..one }).collect();
    assert_eq!(
        lines(&findings),
        ["image registry.example.com/0:1 and 19 more: tag not found in the registry"]
    );
}
