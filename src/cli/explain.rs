//! `pullgate explain`: what a message of the kubelet means, and what was observed of an
//! image in a cluster, as far as the person at the command line may see.

mod audit;
mod ask;
mod enforcement;
mod explanation;
mod messages;
mod object;
mod page;
mod published;
mod score;
mod steps;
mod subject;
mod web;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde::Serialize;

use super::context::{Answer, KubeContext, ask_each, survey};
use super::print::{OutputFormat, print, print_message};
use super::{CANNOT_JUDGE, exit_code};
use crate::cli::context::list_deadline;
use crate::history::{RegistryScoreSummary, ReportTarget, Visibility};
use crate::policy::API_VERSION;
use crate::serve::{NODES_HEADING, NodeFlags, REGISTRY_HEADING, RegistryFlags};
use crate::telemetry::now;
pub(super) use ask::{NodesAround, RegistryReviewer};
pub(super) use audit::{host_of, in_turns};
use explanation::{Explained, Named, Sources};
use object::ChosenObject;
use subject::Target;

/// Columns of a page.
const WIDTH: usize = 96;

/// What the long help says beside the flags.
const ABOUT: &str = "\
Explain why an image cannot be pulled, and what to do: from a message of the kubelet, or from what was \
observed in a cluster.

With --message or --messages no cluster is asked. Otherwise pods, their owners and events, and \
nodes are listed once with your own kubeconfig (KUBECONFIG or ~/.kube/config, if --kubeconfig is \
not given): of the whole cluster if you may, else of one namespace.

A running pullgate serve adds its history: it is queried through the API server, by the dry run of a \
Deployment in the namespace, and shows what you may see. If that fails, the answer says so.

The registry is asked, too, with the pull secrets of a pod that has the image, as far as you may \
read them; --offline asks none. The first lines say what is wrong and what to do about it, as \
commands to paste.";

/// What one types.
const EXAMPLES: &str = "\
Examples:
  pullgate explain deployment/cart -n shop
  pullgate explain registry.example.com/shop/app:1.2.3
  pullgate explain --registry registry.example.com";

/// Flags of `pullgate explain`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(
    about = "Explain why an image cannot be pulled, and what to do",
    long_about = ABOUT,
    after_help = EXAMPLES,
    group = ArgGroup::new("question").required(true)
)]
pub(super) struct ExplainFlags {
    /// An image, the name of a pod, or an object such as deployment/NAME
    #[arg(value_name = "IMAGE|POD|KIND/NAME", group = "question")]
    subject: Option<String>,

    /// A whole registry, by its host
    #[arg(long, value_name = "HOST", group = "question")]
    registry: Option<String>,

    /// Show what enforcement would have denied in the last 30 days, how much of it wrongly, and what is
    /// not vouched for (needs a PullgatePolicy object: policyFrom.kind in the chart)
    #[arg(long, group = "question")]
    enforcement: bool,

    /// Show everything as a page in a browser on this machine, until Ctrl-C
    #[arg(long, group = "question")]
    web: bool,

    /// Port of the page on 127.0.0.1 (any that is free, if not given)
    #[arg(long, value_name = "PORT", requires = "web", default_value_t = 0)]
    web_port: u16,

    /// A message as kubectl describe shows it
    #[arg(long, value_name = "TEXT", group = "question")]
    message: Option<String>,

    /// File with messages, or -: JSON Lines with message and, where known, reason and id;
    /// each is answered with a line of JSON
    #[arg(long, value_name = "FILE|-", group = "question")]
    messages: Option<PathBuf>,

    /// The waiting or event reason that stands with --message
    #[arg(long, value_name = "REASON", requires = "message")]
    reason: Option<String>,

    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; several are asked one after the other
    #[arg(long, value_name = "NAME")]
    context: Vec<String>,

    /// Namespace of the pod or object, and where to look if you may not list the whole cluster
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// Do not query a running pullgate serve for its history
    #[arg(long)]
    no_memory: bool,

    /// Ask no registry: show only what was observed in the cluster
    #[arg(long)]
    offline: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,

    #[command(flatten, next_help_heading = REGISTRY_HEADING)]
    registries: RegistryFlags,

    #[command(flatten, next_help_heading = NODES_HEADING)]
    nodes: NodeFlags,
}

/// The answer for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    left_out: &'a [&'static str],
    reports: &'a [Explained],
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<&'a RegistryScoreSummary>,
    /// Why a running Pullgate cannot reach the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    blind: Option<&'a str>,
}

impl ExplainBody<'_> {
    /// The same for people.
    fn pages(&self, heading: Option<String>, now: Timestamp) -> String {
        let pages: Vec<String> =
            self.reports.iter().map(|report| report.to_page(now, WIDTH)).collect();
        let heading = heading.map(|heading| heading + "\n\n").unwrap_or_default();
        let score = self.score.map(|score| score::page(score, now)).unwrap_or_default();
        let blind = self.blind.map(|why| format!("\nBlind       {why}\n"));
        heading + &pages.join("\n") + &blind.unwrap_or_default() + &score
    }
}

/// Runs it. The exit code is that of the whole command.
pub(super) async fn run(flags: ExplainFlags) -> ExitCode {
    exit_code(explain(flags).await)
}

async fn explain(flags: ExplainFlags) -> anyhow::Result<ExitCode> {
    if flags.reason.is_some() && flags.message.is_none() {
        // clap does not ask for it where another question stands.
        bail!("--reason stands with --message");
    }
    if let Some(message) = &flags.message {
        messages::one(flags.reason.as_deref(), message, flags.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = &flags.messages {
        let all = messages::many(file)?;
        return Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(CANNOT_JUDGE) });
    }
    if flags.context.len() > 1 && (flags.enforcement || flags.web) {
        bail!("--enforcement and --web take one --context");
    }
    if flags.enforcement {
        would_deny(flags).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if flags.web {
        web::serve(flags).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let asked = match (&flags.registry, &flags.subject) {
        (Some(host), _) => Target::registry(host)?,
        (None, Some(subject)) => Target::parse(subject)?,
        (None, None) => bail!("name an image, a pod or an object"),
    };
    let json = flags.output == OutputFormat::Json;
    let ask = |context| cluster(flags.clone(), asked.clone(), context);
    ask_each(&flags.context, json, ask).await.map(ExitCode::from)
}

/// Answers from the policies of a cluster.
async fn would_deny(flags: ExplainFlags) -> anyhow::Result<()> {
    let context = flags.context.into_iter().next();
    let connection = KubeContext::read(flags.kubeconfig, context)?.connect().await?;
    let report = enforcement::read(&connection, list_deadline()).await?;
    let text = match flags.output {
        OutputFormat::Json => serde_json::to_string_pretty(&report)? + "\n",
        OutputFormat::Text => report.page(),
    };
    print(&text).context("failed to write the answer")
}

/// Answers from the lists of a cluster.
async fn cluster(
    flags: ExplainFlags,
    asked: Target,
    context: Option<String>,
) -> anyhow::Result<Answer> {
    let context = KubeContext::read(flags.kubeconfig, context)?;
    let namespace =
        flags.namespace.as_deref().or(context.namespace()).unwrap_or("default").to_owned();
    let connection = context.connect().await?;
    let (now, deadline) = (now(), list_deadline());
    let (object, subjects) = asked.resolve(&connection, &namespace, deadline).await?;
    let (cluster, survey) = survey(connection.clone(), &namespace, now, deadline).await?;
    if let Visibility::Namespaces(_) = &survey.visibility {
        print_message(format_args!(
            "you may not list pods of all namespaces: only namespace {namespace} is counted"
        ));
    }
    if !survey.left_out.is_empty() {
        print_message(format_args!(
            "you may not list {}: details are missing",
            survey.left_out.join(", ")
        ));
    }
    let registries = reviewer(flags.offline, flags.registries, flags.nodes)?;
    let sources = Sources {
        connection: &connection,
        cluster: &cluster,
        visibility: &survey.visibility,
        reviewer: registries.as_ref(),
        recalls: !flags.no_memory,
        namespace: &namespace,
        now,
        deadline,
    };
    let reports = explanations(&sources, object.as_ref(), &subjects).await;
    let heading = object.map(|object| {
        format!("{} {}/{}", object.kind, object.namespace, crate::text::clean(&object.name))
    });
    let (published, blind) = match subjects.as_slice() {
        [ReportTarget::Registry(host)] => (
            score::read(&connection, host, deadline).await,
            score::blind(&connection, host, deadline).await,
        ),
        _ => (None, None),
    };
    let body = ExplainBody {
        api_version: API_VERSION,
        kind: "ExplainReport",
        left_out: &survey.left_out,
        reports: &reports,
        score: published.as_ref(),
        blind: blind.as_deref(),
    };
    let text = match flags.output {
        OutputFormat::Json => serde_json::to_string_pretty(&body)? + "\n",
        OutputFormat::Text => body.pages(heading, now),
    };
    Ok((text, 0))
}

/// What registries are asked with, unless none may be.
fn reviewer(
    offline: bool,
    registries: RegistryFlags,
    nodes: NodeFlags,
) -> anyhow::Result<Option<RegistryReviewer>> {
    if offline {
        return Ok(None);
    }
    RegistryReviewer::new(registries.into(), nodes.into()).map(Some)
}

/// What there is to say about each subject.
async fn explanations(
    sources: &Sources<'_>,
    object: Option<&ChosenObject>,
    subjects: &[ReportTarget],
) -> Vec<Explained> {
    let review = match object {
        Some(object) => sources.review(object).await,
        None => None,
    };
    let mut explained = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let report =
            sources.cluster.index(|index| index.report(subject, sources.visibility, sources.now));
        let named = Named { object, review: review.as_ref() };
        explained.push(sources.explain(report, subject, named).await);
    }
    explained
}
