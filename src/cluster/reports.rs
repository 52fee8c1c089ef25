//! Reports about images in use, one object a namespace, in the kinds that report UIs show.

use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::Value;

use super::client::{CALL_TIME, Connection};
use super::error::{ApiError, CallError};
use crate::kube_views::is_namespace_name;

/// The name of each report, and of its writer.
const NAME: &str = "pullgate";

/// The kinds of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportKind {
    /// `PolicyReport` of the Kubernetes policy working group.
    #[value(name = "wgpolicyk8s.io", help = "PolicyReport of the Kubernetes policy working group")]
    PolicyReport,
    /// `Report` of `OpenReports`, which follows it.
    #[value(name = "openreports.io", help = "Report of OpenReports, which follows it")]
    OpenReport,
}

impl ReportKind {
    /// Group and version.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::PolicyReport => "wgpolicyk8s.io/v1alpha2",
            Self::OpenReport => "openreports.io/v1alpha1",
        }
    }

    /// The kind of the object.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::PolicyReport => "PolicyReport",
            Self::OpenReport => "Report",
        }
    }

    const fn resource(self) -> &'static str {
        match self {
            Self::PolicyReport => "policyreports",
            Self::OpenReport => "reports",
        }
    }
}

/// Writes reports.
#[derive(Debug, Clone)]
pub(crate) struct ReportWriter {
    connection: Connection,
    kind: ReportKind,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The API server refused it, or could not be asked.
    #[error("failed to write the report")]
    Api(#[source] ApiError),
    /// The API server did not answer in time.
    #[error("the API server did not answer in time")]
    Late,
}

impl ReportWriter {
    /// A writer of reports of this kind.
    pub(crate) fn new(connection: &Connection, kind: ReportKind) -> Self {
        Self { connection: connection.clone(), kind }
    }

    /// Puts a namespace's report in the place of the one before: its summary and its results.
    pub(crate) async fn write(
        &self,
        namespace: &str,
        summary: &Value,
        results: &Value,
    ) -> Result<(), ReportError> {
        if !is_namespace_name(namespace) {
            return Ok(());
        }
        let body = serde_json::json!({
            "apiVersion": self.kind.api_version(), "kind": self.kind.kind(),
            "metadata": {"name": NAME, "namespace": namespace,
                         "labels": {"app.kubernetes.io/managed-by": NAME}},
            "summary": summary, "results": results,
        });
        let parameters = PatchParams::apply(NAME).force();
        let request = self.at(namespace).patch(NAME, &parameters, &Patch::Apply(&body));
        self.call(request).await
    }

    /// Takes a namespace's report away; that there is none is no error.
    pub(crate) async fn remove(&self, namespace: &str) -> Result<(), ReportError> {
        if !is_namespace_name(namespace) {
            return Ok(());
        }
        let gone = self.call(self.at(namespace).delete(NAME, &kube::api::DeleteParams::default()));
        match gone.await {
            Err(ReportError::Api(error)) if error.status() == Some(404) => Ok(()),
            other => other,
        }
    }

    fn at(&self, namespace: &str) -> Request {
        let (version, resource) = (self.kind.api_version(), self.kind.resource());
        Request::new(format!("/apis/{version}/namespaces/{namespace}/{resource}"))
    }

    async fn call(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<(), ReportError> {
        match self.connection.call(request, CALL_TIME).await {
            Ok(_object) => Ok(()),
            Err(CallError::Api(error)) => Err(ReportError::Api(error)),
            Err(CallError::Late) => Err(ReportError::Late),
        }
    }
}
