//! `pullgate check`: the review of the webhook on files, for people and pipelines.
//!
//! Everything is read and understood before any registry is asked; then objects are judged side by
//! side, and reported in the order of the files.

mod credentials;
mod document;
mod flags;
mod images;
mod input;
mod judge;
mod login;
mod manifest;
mod reading;
mod source;
mod stream;
mod timed;
mod wiring;

use std::process::ExitCode;

use anyhow::Context;
use futures::StreamExt;
use jiff::Timestamp;

use super::context::KubeContext;
use super::output::say;
use super::output::{self, CheckReport};
use crate::policy::{PullgatePolicy, listed_words};

pub(super) use flags::CheckFlags;
use judge::Judge;
use login::Logins;
use reading::Reading;
use source::FileSource;
use timed::TimedSource;

/// Objects that are judged at a time.
const AT_ONCE: usize = 16;

/// Runs the check. The exit code is that of the whole command.
pub(super) async fn run(flags: CheckFlags) -> ExitCode {
    match check(&flags).await.and_then(|report| {
        output::write_reports(&report, &flags.output)?;
        Ok(report)
    }) {
        // What could not be read might have failed.
        Ok(report) if !report.unread.is_empty() => ExitCode::from(super::CANNOT_JUDGE),
        Ok(report) => ExitCode::from(u8::from(report.fails())),
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
    let Reading { mut manifests, unread } = reading::read(flags, &policy, &namespace)?;
    let mut subjects = std::mem::take(&mut manifests.workloads);
    subjects.extend(flags.image.iter().map(|image| images::alone(flags, image, &namespace)));
    let mut report = CheckReport { unread, fail_on: flags.fail_on, ..CheckReport::default() };
    if subjects.is_empty() {
        say(match report.unread.len() {
            0 => "no object with images in what was read",
            _ => "nothing was checked: there is no object with images in what could be read",
        });
        return Ok(report);
    }
    let nodes = wiring::nodes(flags)?;
    let registry = wiring::registry(flags, &policy, nodes.clone())?;
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
        nodes: &*nodes,
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
    report.images = judged.into_iter().flatten().collect();
    Ok(report)
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
