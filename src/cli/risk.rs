//! `pullgate risk`: which images something in the cluster would have to pull again, and cannot.

mod markdown;
mod page;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::CANNOT_JUDGE;
use super::context::KubeContext;
use super::explain::{Asker, host_of, in_turns};
use super::output::{count, print, say};
use crate::cluster::{Cluster, WatchTuning};
use crate::history::{ReportTarget, Visibility};
use crate::policy::API_VERSION;
use crate::pull::{Cause, Verdict};
use crate::review::{ClusterSource as _, ImageUse, ProbeResult};
use crate::risk::{NeedKey, Needs, Question, RiskReport};
use crate::serve::{NodeFlags, RegistryFlags};
use crate::telemetry::Metrics;
use crate::text::clean;
use crate::workload::Placement;

/// How long everything that is listed may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Something is at risk.
const AT_RISK: u8 = 1;

/// What the long help says beside the flags.
const ABOUT: &str = "\
Says which images could not be pulled again today: those of running pods, should one have to start on \
another node, and those of templates of which pods will be made: Deployments scaled to zero, CronJobs \
between runs, DaemonSets for nodes to come, suspended Jobs.

For each it says why, who needs it, which nodes still have it, and where a new pod could start without \
a pull. With --node it says what breaks if that node goes, and of which images it has the last copy.

Everything is listed once, with your own rights; each image is asked about once, with the pull secrets \
of those who need it, as far as you may read them. Pods that start an image that is on the node \
already may have its credentials checked first, where the kubelet is set so.

Exit codes: 0 nothing is at risk, 1 something is, 2 it could not be found out.";

/// Flags of `pullgate risk`.
#[derive(Debug, Clone, Args)]
#[command(about = "Say which images could not be pulled again", long_about = ABOUT)]
pub(super) struct RiskFlags {
    /// What breaks if this node goes
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Look in this namespace only; without it in all of them, if you may, else in that of the context
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t)]
    output: RiskFormat,

    #[command(flatten)]
    registries: RegistryFlags,

    #[command(flatten)]
    nodes: NodeFlags,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum RiskFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For a comment or a summary
    Markdown,
}

/// The answer for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RiskBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    left_out: &'a [&'static str],
    #[serde(flatten)]
    report: &'a RiskReport,
}

/// Runs it. The exit code is that of the whole command.
pub(super) async fn run(flags: RiskFlags) -> ExitCode {
    match risk(flags).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

async fn risk(flags: RiskFlags) -> anyhow::Result<u8> {
    let asker = Asker::new(flags.registries.into(), flags.nodes.into())?;
    let context = KubeContext::read(flags.kubeconfig, flags.context)?;
    let home = flags.namespace.as_deref().or(context.namespace()).unwrap_or("default").to_owned();
    let connection = context.connect().await?;
    let (now, deadline) = clock();
    let cluster = Cluster::new(connection, WatchTuning::default(), &Arc::new(Metrics::new()));
    let survey = cluster.survey(&home, now, deadline).await;
    let mut survey = survey.context("failed to list the pods that you may see")?;
    match (&survey.visibility, flags.namespace) {
        (Visibility::Cluster, Some(namespace)) => {
            survey.visibility = Visibility::Namespaces(vec![namespace.into()]);
        }
        (Visibility::Namespaces(_), None) => {
            say(format_args!("you may not list pods of all namespaces: only {home} is looked at"));
        }
        _ => {}
    }
    let nodes_known = !survey.left_out.contains(&"nodes");
    let (needs, hidden) = cluster.needs(&survey.visibility, deadline).await?;
    let mut left_out = survey.left_out.clone();
    left_out.extend(hidden.into_iter().filter(|one| !survey.left_out.contains(one)));
    if !left_out.is_empty() {
        say(format_args!("you may not list {}: what they need is missing", left_out.join(", ")));
    }
    let nodes = cluster.nodes().filter(|_| nodes_known);
    if let (Some(node), Some(nodes)) = (&flags.node, &nodes)
        && !nodes.iter().any(|one| *one.name == **node)
    {
        bail!("there is no node {}", clean(node));
    }
    let answers = ask(&asker, &cluster, &survey.visibility, &needs, nodes_known).await;
    let report = RiskReport::new(
        &needs,
        &answers,
        nodes.as_deref().map(Vec::as_slice),
        flags.node.as_deref(),
        |image| {
            let subject = ReportTarget::Image(image.clone());
            cluster.report(&subject, &survey.visibility, now).last_success
        },
    );
    let text = match flags.output {
        RiskFormat::Text => page::page(&report, now),
        RiskFormat::Markdown => markdown::markdown(&report),
        RiskFormat::Json => {
            let (api_version, kind) = (API_VERSION, "RiskReport");
            let body = RiskBody { api_version, kind, left_out: &left_out, report: &report };
            serde_json::to_string_pretty(&body)? + "\n"
        }
    };
    print(&text).context("failed to write the answer")?;
    let blind = report.images > 0 && report.not_looked_at == report.images;
    Ok(match report.at_risk.is_empty() {
        false => AT_RISK,
        true if blind => CANNOT_JUDGE,
        true => 0,
    })
}

/// What the registries answer to each need; nothing for those that were not asked to the end.
async fn ask(
    asker: &Asker,
    cluster: &Cluster,
    visibility: &Visibility,
    needs: &Needs,
    nodes_known: bool,
) -> BTreeMap<Question, (Verdict, Option<Cause>)> {
    let answers = Mutex::new(BTreeMap::new());
    let all: Vec<(Question, ImageUse)> = needs
        .iter()
        .map(|(question, need)| {
            let known = nodes_known.then(|| need.placement.clone());
            let used = image_use(&question.0, known.unwrap_or_else(Placement::not_yet_known));
            (question, used)
        })
        .collect();
    say(format_args!("looking at {} …", count(needs.images().len(), "image")));
    let by_host = all.iter().map(|one| (host_of(&one.1.image), one));
    in_turns(by_host, |(question, used)| {
        let answers = &answers;
        async move {
            let Some(found) = asker.still_there(cluster, visibility, used).await else {
                return true;
            };
            let verdict = match found {
                ProbeResult::Pullable => Verdict::Works,
                ProbeResult::Unclear(_) => Verdict::CannotTell,
                ProbeResult::Refused(_) => Verdict::Fails,
            };
            lock(answers).insert(question.clone(), (verdict, found.cause()));
            // It has had enough: its others are not looked at.
            found.cause() != Some(Cause::RateLimited)
        }
    })
    .await;
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn image_use(key: &NeedKey, placement: Placement) -> ImageUse {
    ImageUse {
        image: key.image.clone(),
        namespace: key.namespace.clone(),
        pull_secrets: key.pull_secrets.clone(),
        service_account: key.service_account.clone(),
        placement,
        loaded: false,
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
fn clock() -> (Timestamp, Instant) {
    (Timestamp::now(), Instant::now() + PATIENCE)
}
