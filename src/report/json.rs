//! The report for programs: `CheckReport` of `pullgate.dev/v1alpha1`, one entry for each place of
//! an image.

use serde::Serialize;

use super::{AdviceEntry, CheckReport, CredentialReport, ImageEntry, LockFault};
use crate::history::ForecastBasis;
use crate::image::Digest;
use crate::policy::API_VERSION;
use crate::pull::{Cause, Escape, Verdict};
use crate::text::clean;
use crate::workload::ObjectRef;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    images: Vec<ImageBody<'a>>,
    unread: Vec<UnreadBody<'a>>,
    summary: SummaryBody,
}

/// What could not be read.
#[derive(Serialize)]
struct UnreadBody<'a> {
    file: &'a str,
    line: Option<u32>,
    column: Option<u32>,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageBody<'a> {
    object: &'a ObjectRef,
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    path: &'a str,
    container: &'a str,
    image: &'a str,
    reference: Option<&'a str>,
    verdict: Verdict,
    cause: Option<Cause>,
    /// What is worth knowing of an image that works.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    escapes: &'a [Escape],
    message: String,
    advice: &'a [AdviceEntry],
    decision: &'static str,
    known: bool,
    lock: Option<&'static str>,
    locked_digest: Option<&'a str>,
    digest: Option<&'a str>,
    platforms: Vec<String>,
    pulled_with: Option<String>,
    seconds: Option<f64>,
    /// How long nodes will pull it, by what was seen in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_forecast: Option<ForecastBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<&'a CredentialReport>,
}

#[derive(Serialize)]
struct ForecastBody {
    /// For each of the nodes.
    seconds: u32,
    /// Those that may get it and lack it.
    nodes: usize,
    /// `image`, `repository` or `registry`.
    basis: ForecastBasis,
    /// How many tell so.
    pulls: usize,
}

/// Counts of entries in `images`, and of objects that have any.
#[derive(Serialize)]
struct SummaryBody {
    objects: usize,
    images: usize,
    verdicts: VerdictCounts,
    decisions: DecisionCounts,
}

#[derive(Serialize)]
struct VerdictCounts {
    works: usize,
    fails: usize,
    cannot_tell: usize,
}

#[derive(Serialize)]
struct DecisionCounts {
    allow: usize,
    warn: usize,
    deny: usize,
}

/// The whole report, with a line end.
pub(super) fn check_report(report: &CheckReport) -> serde_json::Result<String> {
    let summary = report.summary();
    let body = ReportBody {
        api_version: API_VERSION,
        kind: "CheckReport",
        images: report.images.iter().map(image).collect(),
        unread: report
            .unread
            .iter()
            .map(|error| UnreadBody {
                file: &error.file,
                line: error.at.known_line(),
                column: error.at.known_column(),
                message: &error.problem,
            })
            .collect(),
        summary: SummaryBody {
            objects: summary.objects,
            images: summary.images,
            verdicts: VerdictCounts {
                works: summary.works,
                fails: summary.fails,
                cannot_tell: summary.cannot_tell,
            },
            decisions: DecisionCounts {
                allow: summary.allow,
                warn: summary.warn,
                deny: summary.deny,
            },
        },
    };
    let mut text = serde_json::to_string_pretty(&body)?;
    text.push('\n');
    Ok(text)
}

fn image(entry: &ImageEntry) -> ImageBody<'_> {
    let finding = &entry.finding;
    ImageBody {
        object: &entry.object,
        file: entry.file(),
        line: entry.position().known_line(),
        column: entry.position().known_column(),
        path: &entry.path,
        container: &entry.container,
        image: &entry.image,
        reference: finding.reference.as_deref(),
        verdict: finding.verdict,
        cause: finding.cause,
        note: finding.noted,
        escapes: &finding.escapes,
        message: entry.line(),
        advice: &finding.advice,
        decision: finding.decision.as_str(),
        known: entry.known,
        lock: entry.lock.as_ref().map(|fault| match fault {
            LockFault::Moved { .. } => "moved",
            LockFault::Missing => "missing",
        }),
        locked_digest: match &entry.lock {
            Some(LockFault::Moved { locked }) => Some(&**locked),
            Some(LockFault::Missing) | None => None,
        },
        digest: finding.pull.digest.as_ref().map(Digest::as_str),
        platforms: finding.pull.platforms.iter().map(|one| clean(&one.to_string())).collect(),
        pulled_with: finding.pull.pulled_with.as_deref().map(clean),
        seconds: finding.pull.took.map(|took| took.as_secs_f64()),
        pull_forecast: finding.pull.forecast.map(|forecast| ForecastBody {
            seconds: forecast.expected.milliseconds.div_ceil(1000).max(1),
            nodes: forecast.nodes,
            basis: forecast.expected.basis,
            pulls: forecast.expected.pulls,
        }),
        credentials: finding.credentials.as_ref(),
    }
}
