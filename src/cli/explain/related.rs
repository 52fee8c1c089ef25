//! What stands beside an image that is explained: its registry's Service, the jobs that build it,
//! and the command that would mend a missing login.

use std::fmt::Write as _;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use crate::advice::{Advice, AdviceKind, login_command};
use crate::cluster::Survey;
use crate::history::{BuildKind, BuildState, Report, ReportTarget};
use crate::pull::Cause;
use crate::review::ClusterSource;

/// Jobs that are told of.
const MAX_JOBS: usize = 3;
/// Width of the labels on the left, as in a report.
const LABEL: usize = 12;

/// A report and what to do.
#[derive(Serialize)]
pub(super) struct Explained {
    #[serde(flatten)]
    pub(super) report: Report,
    advice: Vec<Told>,
}

/// One thing to do or to know.
#[derive(Serialize)]
struct Told {
    kind: AdviceKind,
    value: Box<str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

impl From<Advice> for Told {
    fn from(advice: Advice) -> Self {
        let Advice { kind, value, message, command } = advice;
        Self { kind, value, message, command }
    }
}

impl Explained {
    /// Adds to a report what stands beside its subject.
    pub(super) async fn of(
        report: Report,
        subject: &ReportTarget,
        survey: &Survey,
        cluster: &dyn ClusterSource,
        now: Timestamp,
        deadline: Instant,
    ) -> Self {
        let host = match subject {
            ReportTarget::Image(image) | ReportTarget::Repository(image) => image.host(),
            ReportTarget::Registry(host) => host,
            ReportTarget::Digest(_) => "",
        };
        let mut advice: Vec<Told> = Vec::new();
        let service = cluster.registry_service(host, deadline).await;
        advice.extend(service.as_ref().and_then(Advice::registry_service).map(Told::from));
        if let ReportTarget::Image(image) = subject {
            for job in survey.builds.of(image).iter().take(MAX_JOBS) {
                let unfinished =
                    matches!(job.state, BuildState::Failed { .. } | BuildState::Running { .. });
                let trouble = if unfinished && job.kind == BuildKind::Job {
                    cluster.job_trouble(&job.namespace, &job.name, deadline).await
                } else {
                    None
                };
                advice.push(Advice::build_job(job, trouble, now).into());
            }
        }
        advice.extend(login(&report, host));
        Self { report, advice }
    }

    /// The page of the report with lines for the rest.
    pub(super) fn to_page(&self, now: Timestamp, width: usize) -> String {
        let mut page = self.report.to_page(now, width);
        for told in &self.advice {
            let label = match told.kind {
                AdviceKind::RegistryService => "Service",
                AdviceKind::BuildJob => "Build",
                _ => "Fix",
            };
            let words = told.command.as_ref().unwrap_or(&told.message);
            let _ = write!(page, "\n{label:<LABEL$}{words}\n");
        }
        page
    }
}

/// The command that makes a pull secret, where a namespace has pods that want one.
fn login(report: &Report, host: &str) -> Option<Told> {
    let cause = report.failures.causes.first()?.cause;
    let wants_login =
        matches!(cause, Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing);
    let failing = report.scope.workloads.iter().find(|line| line.failing > 0 && wants_login)?;
    let command = login_command(&failing.namespace, host)?;
    Some(Told {
        kind: AdviceKind::FixSecret,
        value: host.into(),
        message: "a pull secret with a good login would do".to_owned(),
        command: Some(command),
    })
}
