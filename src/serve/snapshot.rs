//! What keeps the memory of the cluster and the score of verdicts: the tasks beside the watches.

mod file;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::history::{Limits, Recheck, Rewrite, Snapshot};
use crate::node_config::RegistryHosts;
use crate::policy::PullgatePolicy;
use crate::pull::Cause;
use crate::review::{ProbeResult, Reviewer};
use crate::telemetry::{Metrics, clock};
use file::SnapshotFile;

/// Between two writes of the memory.
const WRITE_EVERY: Duration = Duration::from_secs(5 * 60);
/// How long the last write may take.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// How long denials wait for the memory of an earlier process, once watches are in.
const RECALL_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at what waits.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So long after a node's pull the registry is asked again: what was just pushed may show late.
const AFTER_PULL: Duration = Duration::from_secs(10);
/// How long one repeated look-up may take.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// Repeated look-ups at each look.
const AT_A_TIME: usize = 5;
/// Suspicions that wait; those beyond are forgotten.
const MAX_WAITING: usize = 256;
/// How often a suspicion is looked at, and the pause between.
const TRIES: u8 = 4;
const PAUSE: Duration = Duration::from_secs(60);

/// The bounds of what is remembered.
pub(super) fn limits(policy: &PullgatePolicy, hosts: Option<&RegistryHosts>) -> Limits {
    let aliases = hosts.map(RegistryHosts::aliases).unwrap_or_default();
    Limits {
        retention: policy.spec().history.retention.get(),
        rewrites: aliases.into_iter().map(|(from, to)| Rewrite { from, to }).collect(),
        ..Limits::default()
    }
}

/// Keeps to the policy's retention, whatever policy comes. Never ends.
pub(super) async fn follow_retention(cluster: Arc<Cluster>, policy: Arc<ArcSwap<PullgatePolicy>>) {
    loop {
        cluster.remember_for(policy.load().spec().history.retention.get());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The file in which the memory outlives this process.
pub(super) struct MemoryFile {
    kept: SnapshotFile,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    /// Whether the old content was taken in or given up; before, it must not be overwritten.
    recalled: AtomicBool,
    failing: AtomicBool,
}

impl MemoryFile {
    /// Nothing is read yet; the folder must be there. One that cannot be written is told at once,
    /// and tried again with every write: a gate without memory is better than none.
    pub(super) fn open(
        path: PathBuf,
        cluster: &Arc<Cluster>,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let kept = SnapshotFile::at(path)
            .with_context(|| format!("failed to use the snapshot {shown}"))?;
        let failing = kept.try_writing().err();
        if let Some(error) = &failing {
            metrics.snapshot("write", "failed");
            tracing::error!(
                file = shown,
                %error,
                "the snapshot cannot be written: what is observed from now on is forgotten at the \
                 next restart; let user 65532 (the chart's fsGroup) write to that volume"
            );
        }
        cluster.expect_memory();
        Ok(Self {
            kept,
            cluster: Arc::clone(cluster),
            metrics: Arc::clone(metrics),
            recalled: AtomicBool::new(false),
            failing: AtomicBool::new(failing.is_some()),
        })
    }

    /// Takes the old content in, and writes the memory again and again. Never ends.
    pub(super) async fn keep(self: Arc<Self>) {
        let (_, began) = clock();
        let id = loop {
            if let Some(id) = self.cluster.id() {
                break id.to_owned();
            }
            if began.elapsed() > RECALL_WITHIN {
                self.cluster.recall(None, clock().0);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        self.recall(id).await;
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            self.write().await;
        }
    }

    async fn recall(self: &Arc<Self>, id: String) {
        let this = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let bytes = this.kept.read()?;
            bytes.map(|bytes| Ok(Snapshot::decode(&bytes, &id)?)).transpose()
        });
        let snapshot = match read.await.map_err(anyhow::Error::from).and_then(|read| read) {
            Ok(Some(snapshot)) => {
                self.metrics.snapshot("read", "ok");
                tracing::info!(images = snapshot.images(), "read the history from the snapshot");
                Some(snapshot)
            }
            Ok(None) => {
                self.metrics.snapshot("read", "absent");
                None
            }
            Err(error) => {
                self.metrics.snapshot("read", "refused");
                let error = format!("{error:#}");
                tracing::warn!(error, "dropped the snapshot: the history begins empty");
                None
            }
        };
        self.cluster.recall(snapshot, clock().0);
        self.recalled.store(true, Ordering::Release);
    }

    /// Writes the memory now, unless the old content was not looked at yet.
    pub(super) async fn write(self: &Arc<Self>) {
        let Some(id) = self.cluster.id().map(str::to_owned) else { return };
        if !self.recalled.load(Ordering::Acquire) {
            return;
        }
        let this = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || {
            let snapshot = this.cluster.snapshot();
            this.kept.write(&snapshot.encode(&id)?)?;
            anyhow::Ok(())
        });
        let written = written.await.map_err(anyhow::Error::from).and_then(|written| written);
        self.metrics.snapshot("write", if written.is_ok() { "ok" } else { "failed" });
        let failed_before = self.failing.swap(written.is_err(), Ordering::Relaxed);
        match written {
            Err(error) if !failed_before => {
                let error = format!("{error:#}");
                tracing::warn!(error, "failed to write the snapshot; retrying");
            }
            Ok(()) if failed_before => tracing::info!("the snapshot can be written again"),
            _ => {}
        }
    }
}

/// A suspicion that waits for its look-up.
struct Suspicion {
    recheck: Recheck,
    not_before: Timestamp,
    tries: u8,
}

/// Looks again at what nodes pulled although it was called missing or forbidden. Never ends.
pub(super) async fn keep_score(cluster: Arc<Cluster>, reviewer: Arc<Reviewer>) {
    let mut waiting: VecDeque<Suspicion> = VecDeque::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let room = MAX_WAITING.saturating_sub(waiting.len());
        let new = cluster.take_rechecks().into_iter().take(room);
        waiting.extend(new.map(|recheck| Suspicion {
            not_before: recheck.pulled + AFTER_PULL,
            recheck,
            tries: 0,
        }));
        let now = clock().0;
        let (due, later): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(|suspicion| suspicion.not_before <= now);
        waiting = later;
        for (nth, mut suspicion) in due.into_iter().enumerate() {
            if nth >= AT_A_TIME {
                waiting.push_back(suspicion);
                continue;
            }
            let outcome = recheck(&reviewer, &suspicion.recheck).await;
            let now = clock().0;
            suspicion.tries += 1;
            if take(&cluster, &suspicion.recheck, outcome, now) && suspicion.tries < TRIES {
                suspicion.not_before = now + PAUSE;
                waiting.push_back(suspicion);
            }
        }
    }
}

/// One look-up, in a task of its own: whatever becomes of it, the next one is made.
async fn recheck(reviewer: &Arc<Reviewer>, recheck: &Recheck) -> Option<ProbeResult> {
    let (reviewer, recheck) = (Arc::clone(reviewer), recheck.clone());
    let looking = tokio::spawn(async move {
        let (now, begins) = clock();
        reviewer.recheck(&recheck, now, begins + LOOK_TIME).await
    });
    looking.await.unwrap_or(Some(ProbeResult::Unclear(Cause::UnknownNodes)))
}

/// Takes the answer into the score; whether it must be looked at again.
fn take(
    cluster: &Cluster,
    recheck: &Recheck,
    outcome: Option<ProbeResult>,
    now: Timestamp,
) -> bool {
    match outcome {
        Some(ProbeResult::Unclear(_)) => return true,
        // The pod's credentials are others now: nobody can tell any more.
        None => {}
        Some(ProbeResult::Pullable) => cluster.rechecked(recheck, false, now),
        Some(ProbeResult::Refused(_)) => {
            let registry = recheck.reference.host();
            tracing::warn!(
                registry,
                "a node pulled what the registry still refuses to Pullgate: nothing is denied for it for a while"
            );
            cluster.rechecked(recheck, true, now);
        }
    }
    false
}

/// Writes the memory a last time when the process was asked to stop.
pub(super) async fn last_write(memory: Option<Arc<MemoryFile>>) {
    let Some(memory) = memory else { return };
    if tokio::time::timeout(LAST_WRITE, memory.write()).await.is_err() {
        tracing::warn!("stopped before the snapshot was written");
    }
}
