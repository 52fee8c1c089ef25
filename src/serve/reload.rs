//! Files that are followed, and what became of their changes.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::server::WatchedFiles;
use crate::telemetry::Metrics;

/// Counts and logs what became of a changed file.
pub(super) fn log_reload(
    file: &'static str,
    metrics: &Metrics,
    error: Option<impl std::error::Error + 'static>,
) {
    metrics.reloaded(file, error.is_none());
    match error {
        None => tracing::info!(file, "took a changed file into use"),
        Some(error) => tracing::error!(
            file,
            error = &error as &dyn std::error::Error,
            "a changed file cannot be used, the old content stays in force"
        ),
    }
}

pub(super) fn open(what: &str, path: PathBuf) -> anyhow::Result<WatchedFiles> {
    let shown = path.display().to_string();
    WatchedFiles::open(path).with_context(|| format!("failed to read the {what} {shown}"))
}
