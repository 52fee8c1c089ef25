//! `pullgate risk`: which images something in the cluster would have to pull again, and cannot.

mod look;
mod page;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::context::{Answer, ask_each};
use super::{CANNOT_JUDGE, exit_code};
use crate::policy::API_VERSION;
use crate::risk::RiskReport;
pub(super) use look::{Answers, Look, LookFlags};
pub(super) use page::{markdown, page};

/// Something is at risk.
pub(super) const AT_RISK: u8 = 1;

/// What the long help says beside the flags.
const ABOUT: &str = "\
List images in use that could not be pulled again today: those of running pods, should one have to start \
on another node, and those of templates of which pods will be made: Deployments scaled to zero, CronJobs \
between runs, DaemonSets for nodes to come, suspended Jobs.

For each it says why, who needs it, which nodes still have it, and where a new pod could start without \
a pull. With --node it says what breaks if that node goes, and of which images it has the last copy.

Everything is listed once, with your own rights; each image is asked about once, with the pull secrets \
of those who need it, as far as you may read them. Pods that start an image that is on the node \
already may have its credentials checked first, where the kubelet is set so.

Exit codes: 0 nothing is at risk, 1 something is, 2 some of it is unknown.";

/// What one types.
const EXAMPLES: &str = "\
Examples:
  pullgate risk
  pullgate risk -n shop -o markdown
  pullgate risk --node worker-7 && kubectl drain worker-7 --ignore-daemonsets";

/// Flags of `pullgate risk`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "List images in use that could not be pulled again",
    long_about = ABOUT,
    after_help = EXAMPLES
)]
pub(super) struct RiskFlags {
    /// What breaks if this node goes
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t)]
    output: RiskFormat,

    #[command(flatten)]
    look: LookFlags,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum RiskFormat {
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
    let json = flags.output == RiskFormat::Json;
    let ask = |context| risk(&flags, context);
    exit_code(ask_each(&flags.look.context, json, ask).await.map(ExitCode::from))
}

async fn risk(flags: &RiskFlags, context: Option<String>) -> anyhow::Result<Answer> {
    let reviewer = flags.look.reviewer()?;
    let look = Look::new(&flags.look, context).await?;
    look.check_node(flags.node.as_deref())?;
    let answers = look.answers(&reviewer, look.nodes(), look.questions()).await;
    let report = look.report(&answers, look.nodes(), flags.node.as_deref());
    let text = match flags.output {
        RiskFormat::Text => page(&report, None, look.now),
        RiskFormat::Markdown => markdown(&report, None),
        RiskFormat::Json => {
            let (api_version, kind) = (API_VERSION, "RiskReport");
            let body = RiskBody { api_version, kind, left_out: &look.left_out, report: &report };
            serde_json::to_string_pretty(&body)? + "\n"
        }
    };
    let all_told = report.unclear.is_empty() && report.not_looked_at == 0;
    let code = match report.at_risk.is_empty() {
        false => AT_RISK,
        true if all_told => 0,
        true => CANNOT_JUDGE,
    };
    Ok((text, code))
}
