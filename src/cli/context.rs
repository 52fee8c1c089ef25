//! The cluster that a person means: the context of a kubeconfig that they named, what they may list there
//! with their own rights, and the same question to several clusters, with the answers below each other.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::CANNOT_JUDGE;
use super::print::{print, print_message};
use crate::cluster::{
    Cluster, ClusterError, ClusterTarget, Connection, Survey, WatchTuning, read_kubeconfig,
};
use crate::policy::API_VERSION;
use crate::telemetry::{Metrics, instant};
use crate::text::clean;

/// A cluster, and the namespace that its context is in.
pub(super) struct KubeContext {
    path: Option<PathBuf>,
    context: Option<String>,
    namespace: Option<String>,
}

impl KubeContext {
    /// Reads what a kubeconfig says of a context: the file, else the customary ones; the context,
    /// else the current one. Asks nobody.
    pub(super) fn read(path: Option<PathBuf>, context: Option<String>) -> anyhow::Result<Self> {
        let kubeconfig = read_kubeconfig(path.as_deref()).map_err(|error| match path {
            Some(_) => anyhow!(error),
            None => anyhow!(error).context("no cluster (--kubeconfig FILE names one)"),
        })?;
        let name = context.as_ref().or(kubeconfig.current_context.as_ref());
        let namespace = kubeconfig
            .contexts
            .iter()
            .find(|one| Some(&one.name) == name)
            .and_then(|one| one.context.as_ref()?.namespace.clone())
            .filter(|namespace| !namespace.is_empty());
        Ok(Self { path, context, namespace })
    }

    /// The namespace of the context, if it is in one.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Sets up a connection; nothing is asked yet.
    pub(super) async fn connect(self) -> Result<Connection, ClusterError> {
        Connection::to(ClusterTarget::Kubeconfig { path: self.path, context: self.context }).await
    }
}

/// A cluster of which nothing is listed yet.
pub(super) fn unwatched(connection: Connection) -> Cluster {
    Cluster::new(connection, WatchTuning::default(), &Arc::new(Metrics::new()))
}

/// A cluster, and what was listed: of all namespaces if that may be, else of this one.
pub(super) async fn survey(
    connection: Connection,
    namespace: &str,
    now: Timestamp,
    deadline: Instant,
) -> anyhow::Result<(Cluster, Survey)> {
    let cluster = unwatched(connection);
    let survey = cluster.survey(namespace, now, deadline).await;
    let survey = survey.context("failed to list the pods that you may see")?;
    Ok((cluster, survey))
}

/// An answer, and the exit code that goes with it.
pub(super) type Answer = (String, u8);

/// The answers for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContextsBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    contexts: Vec<ContextBody<'a>>,
}

/// That of one cluster, or why there is none.
#[derive(Serialize)]
struct ContextBody<'a> {
    context: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Asks each context in turn, the current one if none is named, and writes what comes of it: one
/// answer as it is; of several first a line for each, then each with its name. A cluster that cannot
/// be asked keeps no other from being told of. The exit code is the highest.
pub(super) async fn ask_each<F>(
    contexts: &[String],
    json: bool,
    ask: impl Fn(Option<String>) -> F,
) -> anyhow::Result<u8>
where
    F: Future<Output = anyhow::Result<Answer>>,
{
    if contexts.len() < 2 {
        let (text, code) = ask(contexts.first().cloned()).await?;
        print(&text)?;
        return Ok(code);
    }
    let (mut answers, mut highest) = (Vec::new(), 0);
    for context in contexts {
        print_message(format_args!("{}:", clean(context)));
        let answer = ask(Some(context.clone())).await;
        let answer = answer.map(|(text, code)| {
            highest = highest.max(code);
            text
        });
        let answer = answer.map_err(|error| {
            highest = highest.max(CANNOT_JUDGE);
            format!("{error:#}")
        });
        answers.push((context.as_str(), answer));
    }
    print(&if json { as_json(answers)? } else { as_text(&answers) })?;
    Ok(highest)
}

fn as_json(answers: Vec<(&str, Result<String, String>)>) -> anyhow::Result<String> {
    let mut contexts = Vec::with_capacity(answers.len());
    for (context, answer) in answers {
        let (report, error) = match answer {
            Ok(text) => (Some(RawValue::from_string(text)?), None),
            Err(error) => (None, Some(error)),
        };
        contexts.push(ContextBody { context, report, error });
    }
    let body = ContextsBody { api_version: API_VERSION, kind: "ContextReports", contexts };
    Ok(serde_json::to_string_pretty(&body)? + "\n")
}

fn as_text(answers: &[(&str, Result<String, String>)]) -> String {
    let width = answers.iter().map(|(context, _)| clean(context).chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for (context, answer) in answers {
        let line = match answer {
            Ok(text) => gist(text),
            Err(error) => error.as_str(),
        };
        let _ = writeln!(text, "{:<width$}  {}", clean(context), clean(line));
    }
    for (context, answer) in answers {
        if let Ok(answer) = answer {
            let _ = write!(text, "\n== {}\n\n{answer}", clean(context));
        }
    }
    text
}

/// The line that says most: the cause, else the first.
fn gist(text: &str) -> &str {
    let cause = text.lines().find_map(|line| line.strip_prefix("Cause"));
    let first = || text.lines().find(|line| !line.trim().is_empty());
    cause.or_else(first).unwrap_or_default().trim().trim_start_matches("### Pullgate: ")
}

/// How long everything that is listed of a cluster may take.
const LIST_TIME: Duration = Duration::from_secs(120);

/// Until when lists of a cluster are waited for.
pub(super) fn list_deadline() -> Instant {
    instant() + LIST_TIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_stands_before_the_answers() {
        let answers = [
            ("prod", Ok("deployment shop/web\n\nCause       Tag not found.\n".to_owned())),
            ("staging", Err("no answer".to_owned())),
        ];
        let text = as_text(&answers);
        assert!(text.starts_with("prod     Tag not found.\nstaging  no answer\n\n== prod\n\n"));
        let json = as_json(vec![("a", Ok("{\"x\":1}".to_owned())), ("b", Err("no".to_owned()))]);
        let json: serde_json::Value = serde_json::from_str(&json.unwrap()).unwrap();
        assert_eq!(json["contexts"][0]["report"]["x"], 1);
        assert_eq!(json["contexts"][1]["error"], "no");
    }
}
