//! `pullgate check`: the review of the webhook on files, for people and pipelines.
//!
//! Everything is read and understood before any registry is asked; then objects are judged side by
//! side, and reported in the order of the files.

mod baseline;
mod credentials;
mod flags;
mod given;
mod input;
mod judge;
mod manifest;
mod observed;
mod policy;
mod reading;
mod render;
mod runner;
mod source;
mod wiring;

use std::process::ExitCode;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::OptionFuture;
use jiff::Timestamp;

use super::context::KubeContext;
use super::lock_file::LockFile;
use super::print::{Progress, check_requests, print_message, write_reports};
use crate::cluster::Connection;
use crate::history::RegistryScoreSummary;
use crate::pull::Detail;
use crate::report::{CheckReport, ImageEntry};
use crate::review::ClusterSource;
use crate::telemetry::now;
pub(super) use flags::{CheckFlags, RESULT_HEADING, SubjectFlags};
use given::{GivenSecrets, Logins};
use judge::Judge;
use manifest::Found;
use observed::Observed;
use reading::Reading;
use runner::TimedSource;
use source::FileSource;

/// Objects that are judged at a time: enough to keep many registries busy, each of which has a limit
/// of its own.
const AT_ONCE: usize = 256;

/// Runs the check. The exit code is that of the whole command.
pub(super) async fn run(flags: CheckFlags) -> ExitCode {
    match check(&flags).await.and_then(|report| {
        write_reports(&report, &flags.output)?;
        Ok(report)
    }) {
        // What could not be read might have failed.
        Ok(report) if !report.unread.is_empty() => ExitCode::from(super::CANNOT_JUDGE),
        Ok(report) => ExitCode::from(u8::from(report.fails())),
        Err(error) => {
            print_message(format_args!("{error:#}"));
            ExitCode::from(super::CANNOT_JUDGE)
        }
    }
}

async fn check(flags: &CheckFlags) -> anyhow::Result<CheckReport> {
    check_requests(&flags.output)?;
    let locked = flags.locked.as_deref().map(LockFile::read).transpose()?;
    let options = CheckOptions {
        as_enforced: flags.as_enforced,
        explain_credentials: flags.explain_credentials,
        ..CheckOptions::default()
    };
    let mut report = judged(&flags.subjects, options).await?;
    report.fail_on = flags.fail_on;
    if let Some(locked) = locked {
        locked.compare(&mut report);
    }
    match &flags.baseline {
        Some(path) if flags.write_baseline => baseline::write(&mut report, path)?,
        Some(path) => baseline::compare(&mut report, path)?,
        None => {}
    }
    Ok(report)
}

/// What a subcommand wants to know of the images.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CheckOptions {
    /// Decide as if every namespace were in mode `enforce`.
    pub(super) as_enforced: bool,
    /// Which credentials were tried.
    pub(super) explain_credentials: bool,
    /// What they are built for, also where no node is known to compare it with.
    pub(super) platforms: bool,
}

/// Reads everything that was named and judges it.
pub(super) async fn judged(
    asked: &SubjectFlags,
    options: CheckOptions,
) -> anyhow::Result<CheckReport> {
    let context = wiring::context(asked)?;
    let of_context = context.as_ref().and_then(KubeContext::namespace);
    let namespace = asked.namespace.as_deref().or(of_context).unwrap_or("default").to_owned();
    let connection = OptionFuture::from(context.map(KubeContext::connect)).await.transpose()?;
    let policy::Chosen { policy, score } =
        policy::read(asked, connection.as_ref(), wiring::patience()).await?;
    let Reading { mut manifests, unread } = reading::read(asked, &policy, &namespace)?;
    let mut subjects = std::mem::take(&mut manifests.workloads);
    subjects.extend(asked.image.iter().map(|image| input::alone(asked, image, &namespace)));
    let mut report = CheckReport { unread, ..CheckReport::default() };
    if subjects.is_empty() {
        if report.unread.is_empty() {
            print_message("no object with images in what was read");
        }
        return Ok(report);
    }
    let nodes = wiring::nodes(asked)?;
    let registry = wiring::registry(asked, &policy, nodes.clone())?;
    let given = GivenSecrets::read(&asked.pull_secret_file)?;
    let now = now();
    let seen = (namespace.as_str(), score, now);
    let (cluster, observed) = cluster_and_observed(connection.as_ref(), seen).await?;
    let files = FileSource::new(
        manifests,
        given,
        cluster,
        observed,
        &asked.platform,
        asked.nodes.runtime,
        options.as_enforced,
    );
    let least = if options.platforms { Detail::Platforms } else { Detail::Presence };
    let registry = TimedSource::new(&*registry, least);
    let judge = Judge {
        registry: &registry,
        files: &files,
        nodes: &*nodes,
        logins: &Logins::default(),
        login: asked.login,
        policy: &policy,
        as_enforced: options.as_enforced,
        runtime: asked.nodes.runtime,
        explain_credentials: options.explain_credentials,
        now,
    };
    let mut judged = in_turn(&judge, &subjects).await;
    if let (Some(connection), Some(observed), false) =
        (&connection, files.observed(), asked.no_memory)
    {
        for index in observed::query_serve(connection, observed, &subjects, &judged).await {
            if let (Some(entries), Some(subject)) = (judged.get_mut(index), subjects.get(index)) {
                *entries = judge.object(index, subject).await;
            }
        }
    }
    report.images = judged.into_iter().flatten().collect();
    Ok(report)
}

/// The cluster that was named, and what is seen of images in it.
async fn cluster_and_observed(
    connection: Option<&Connection>,
    (namespace, score, now): (&str, Vec<RegistryScoreSummary>, Timestamp),
) -> anyhow::Result<(Option<Arc<dyn ClusterSource>>, Option<Observed>)> {
    let Some(connection) = connection else { return Ok((None, None)) };
    let wiring::OfCluster { source, survey } = wiring::cluster(connection, namespace, now).await?;
    let observed = survey.map(|survey| Observed::new(source.clone(), survey, score));
    Ok((Some(source), observed))
}

/// Judges all, several at a time; in their order.
async fn in_turn(judge: &Judge<'_>, subjects: &[Found]) -> Vec<Vec<ImageEntry>> {
    let mut progress = Progress::of(subjects.len());
    let mut judged: Vec<_> = futures::stream::iter(subjects.iter().enumerate())
        .map(async |(index, subject)| (index, judge.object(index, subject).await))
        .buffer_unordered(AT_ONCE)
        .inspect(|_| progress.step())
        .collect()
        .await;
    drop(progress);
    judged.sort_by_key(|(index, _)| *index);
    judged.into_iter().map(|(_, entries)| entries).collect()
}
