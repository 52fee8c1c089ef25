//! `pullgate check`: the review of the webhook on files, for people and pipelines.
//!
//! Everything is read and understood before any registry is asked; then objects are judged side by
//! side, and reported in the order of the files.

mod credentials;
mod document;
mod flags;
mod input;
mod judge;
mod login;
mod manifest;
mod source;
mod timed;
mod wiring;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures::StreamExt;
use jiff::Timestamp;

use super::context::KubeContext;
use super::output::say;
use super::output::{self, CheckReport, IMAGE_KIND};
use crate::policy::{PullgatePolicy, listed_words};
use crate::workload::{
    ContainerImage, ContainerKind, ImagePullPolicy, ObjectRef, Placement, Workload,
};

pub(super) use flags::CheckFlags;
use judge::Judge;
use login::Logins;
use manifest::{Found, Manifests, Reader};
use source::FileSource;
use timed::TimedSource;

/// Objects that are judged at a time.
const AT_ONCE: usize = 16;

/// Runs the check. The exit code is that of the whole command.
pub(super) async fn run(flags: CheckFlags) -> ExitCode {
    match check(&flags).await.and_then(|report| {
        output::write_reports(&report, &flags.output)?;
        Ok(report.fails())
    }) {
        Ok(fails) => ExitCode::from(u8::from(fails)),
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::from(super::CANNOT_JUDGE)
        }
    }
}

async fn check(flags: &CheckFlags) -> anyhow::Result<CheckReport> {
    output::check_requests(&flags.output)?;
    let policy = policy(flags)?;
    let context = wiring::context(flags)?;
    let of_context = context.as_ref().and_then(KubeContext::namespace);
    let namespace = flags.namespace.as_deref().or(of_context).unwrap_or("default").to_owned();
    let mut manifests = read(flags, &policy, &namespace)?;
    let mut subjects = std::mem::take(&mut manifests.workloads);
    subjects.extend(flags.image.iter().map(|image| alone(flags, image, &namespace)));
    if subjects.is_empty() {
        say("no object with images in what was read");
        return Ok(CheckReport { fail_on: flags.fail_on, ..CheckReport::default() });
    }
    let registry = wiring::registry(flags, &policy)?;
    let nodes = wiring::nodes(flags)?;
    let cluster = match context {
        Some(context) => Some(wiring::cluster(context).await?),
        None => None,
    };
    let files = FileSource::new(
        manifests,
        cluster,
        &flags.platform,
        flags.nodes.runtime,
        flags.as_enforced,
    );
    let registry = TimedSource::new(&*registry);
    let judge = Judge {
        registry: &registry,
        files: &files,
        nodes: &nodes,
        logins: &Logins::default(),
        policy: &policy,
        as_enforced: flags.as_enforced,
        runtime: flags.nodes.runtime,
        timeout: flags.timeout,
        explain_credentials: flags.explain_credentials,
        now: now(),
    };
    let judged: Vec<_> = futures::stream::iter(subjects.iter().enumerate())
        .map(|(index, subject)| judge.object(index, subject))
        .buffered(AT_ONCE)
        .collect()
        .await;
    Ok(CheckReport { images: judged.into_iter().flatten().collect(), fail_on: flags.fail_on })
}

#[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn policy(flags: &CheckFlags) -> anyhow::Result<PullgatePolicy> {
    let Some(path) = &flags.policy else { return Ok(PullgatePolicy::default()) };
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| origin.clone())?;
    let policy = PullgatePolicy::parse(&text, &origin)?;
    let (policy, without_files) = policy.without_files(wiring::given_files(flags));
    if !without_files.is_empty() {
        say(listed_words(&without_files));
    }
    Ok(policy)
}

/// Reads every file. All that cannot be read is told before it ends there.
fn read(flags: &CheckFlags, policy: &PullgatePolicy, namespace: &str) -> anyhow::Result<Manifests> {
    let extra_kinds: Vec<_> = policy
        .extra_kinds()
        .map(|kind| (kind.group.into(), kind.kind.into(), kind.place))
        .collect();
    let reader = Reader { namespace, extra_kinds: &extra_kinds };
    let mut manifests = Manifests::default();
    let mut faults = 0;
    for input in input::inputs(&flags.filename)? {
        let name: Arc<str> = input.name().into();
        let lenient = matches!(input, input::Input::Found(_));
        let read = input.read(&mut io::stdin().lock()).and_then(|bytes| {
            document::documents(&name, &bytes, |tree| {
                reader.add(&mut manifests, &name, &tree, lenient)
            })
        });
        if let Err(error) = read {
            say(error);
            faults += 1;
        }
    }
    if faults > 0 {
        bail!("nothing was checked, since {faults} of the files cannot be read");
    }
    if manifests.passed_over > 0 {
        let count = manifests.passed_over;
        say(format_args!("passed over {count} documents that are no objects of Kubernetes"));
    }
    Ok(manifests)
}

/// An image by itself, as a pod of that namespace would have it.
fn alone(flags: &CheckFlags, image: &str, namespace: &str) -> Found {
    let workload = Workload {
        object: ObjectRef { kind: IMAGE_KIND.into(), name: image.into(), ..ObjectRef::default() },
        uid: Box::default(),
        is_pod: true,
        is_mirror: false,
        controller: None,
        annotations: Vec::new(),
        images: vec![ContainerImage {
            kind: ContainerKind::Regular,
            container: Box::default(),
            image: image.into(),
            pull_policy: ImagePullPolicy::Always,
            pointer: Box::default(),
        }],
        pull_secrets: flags.pull_secret.iter().map(|name| name.as_str().into()).collect(),
        service_account: Some(flags.service_account.as_str().into()),
        placement: Placement::default(),
    };
    Found { workload, namespace: namespace.into(), file: None, places: Vec::new() }
}
