//! How many pods an object makes, and what a changed one does to those that run already, should the new
//! ones never start.

use serde::Deserialize;
use serde_json::value::RawValue;

/// How a workload replaces its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollout {
    /// It replaces none by itself, and makes none.
    KeepsAll,
    /// It replaces none by itself, and makes others beside them.
    Adds,
    /// It stops at most so many before the first new one is ready.
    Stops(u32),
    /// It stops all before it starts a new one.
    StopsAll,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectView {
    spec: SpecView,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecView {
    replicas: Option<u32>,
    parallelism: Option<u32>,
    completions: Option<u32>,
    job_template: Option<Box<ObjectView>>,
    suspend: Option<bool>,
    managed_by: Option<Box<str>>,
    paused: Option<bool>,
    strategy: Option<StrategyView>,
    update_strategy: Option<StrategyView>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StrategyView {
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
    rolling_update: Option<RollingView>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RollingView {
    max_unavailable: Option<Amount>,
    max_surge: Option<Amount>,
    partition: Option<u32>,
}

/// A number, or a share such as `25%`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(u32),
    Share(Box<str>),
}

impl Rollout {
    /// How this object replaces its pods, which may get more by the same change; nothing for kinds that
    /// do not, and for objects that cannot be read.
    pub fn of(kind: &str, object: &RawValue, grows: impl FnOnce() -> bool) -> Option<Self> {
        let spec = serde_json::from_str::<ObjectView>(object.get()).ok()?.spec;
        let word = |strategy: &Option<StrategyView>| {
            strategy.as_ref().and_then(|strategy| strategy.kind.clone()).unwrap_or_default()
        };
        match (kind, &*word(&spec.strategy), &*word(&spec.update_strategy)) {
            ("Deployment", ..) if spec.paused == Some(true) => Some(Self::KeepsAll),
            ("Deployment", "Recreate", _) => Some(Self::StopsAll),
            ("Deployment", ..) => Some(Self::Stops(deployment(&spec))),
            ("StatefulSet" | "DaemonSet", _, "OnDelete")
            | ("ReplicaSet" | "ReplicationController", ..) => {
                Some(if grows() { Self::Adds } else { Self::KeepsAll })
            }
            ("StatefulSet", ..) => Some(stateful_set(&spec)),
            ("DaemonSet", ..) => Some(daemon_set(&spec)),
            _ => None,
        }
    }

    /// How many of so many running pods go on running.
    pub const fn kept(self, running: u32) -> u32 {
        match self {
            Self::KeepsAll | Self::Adds => running,
            Self::Stops(most) => running.saturating_sub(most),
            Self::StopsAll => 0,
        }
    }
}

/// `ResolveFenceposts` in `pkg/controller/deployment/util` of kubernetes: shares of unavailable
/// pods are rounded down, of surplus ones up, and both cannot be none.
fn deployment(spec: &SpecView) -> u32 {
    let replicas = spec.replicas.unwrap_or(1);
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let quarter = Amount::Share("25%".into());
    let unavailable = unavailable.unwrap_or(&quarter).of(replicas, false);
    let surge = surge.unwrap_or(&quarter).of(replicas, true);
    if surge == 0 && unavailable == 0 { 1 } else { unavailable }
}

/// One after the other, from the last one down to the partition; those below it are made as they were
/// before, however many there are (`newVersionedStatefulSetPod` in `pkg/controller/statefulset`).
fn stateful_set(spec: &SpecView) -> Rollout {
    let replicas = spec.replicas.unwrap_or(1);
    let rolling = spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or_default();
    if partition >= replicas {
        return Rollout::KeepsAll;
    }
    let most = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    Rollout::Stops(most.map_or(1, |most| most.of(replicas, true)).clamp(1, replicas.max(1)))
}

/// One at a time unless it says otherwise. A share of nodes is not known here: all of it may stop.
fn daemon_set(spec: &SpecView) -> Rollout {
    let rolling = spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    match rolling.and_then(|rolling| rolling.max_unavailable.as_ref()) {
        None => Rollout::Stops(1),
        Some(Amount::Number(most)) => Rollout::Stops(*most),
        Some(Amount::Share(_)) => Rollout::Stops(u32::MAX),
    }
}

impl Amount {
    fn of(&self, total: u32, up: bool) -> u32 {
        match self {
            Self::Number(number) => *number,
            Self::Share(text) => {
                let percent: u64 = text.trim_end_matches('%').parse().unwrap_or(100);
                let parts = u64::from(total) * percent;
                let share = if up { parts.div_ceil(100) } else { parts / 100 };
                u32::try_from(share).unwrap_or(u32::MAX)
            }
        }
    }
}

/// `JobControllerName` in `k8s.io/api/batch/v1`.
const JOB_CONTROLLER: &str = "kubernetes.io/job-controller";

/// How many pods an object makes, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodCount {
    /// So many; none while it is scaled to zero or suspended.
    Count(u32),
    /// None of its template while it is paused: those that it has stay as they are.
    Paused,
    /// One on each node that they may land on.
    OnePerNode,
    /// It does not say.
    #[default]
    Unknown,
}

impl SpecView {
    /// Pods of one run that succeeds: the kubelet's retries come on top.
    fn of_job(&self) -> u32 {
        let at_once = self.parallelism.unwrap_or(1);
        if at_once == 0 || self.rests() {
            return 0;
        }
        self.completions.unwrap_or(at_once).max(1)
    }

    /// Whether its controller makes no pods until somebody changes it. Controllers of others have
    /// taken these words over from Kubernetes.
    fn rests(&self) -> bool {
        self.replicas == Some(0) || self.suspend == Some(true) || self.is_managed_elsewhere()
    }

    /// Whether a Job is left to a controller of somebody else's, which may make its pods in another cluster
    /// (`spec.managedBy`, KEP-4368).
    fn is_managed_elsewhere(&self) -> bool {
        self.managed_by.as_ref().is_some_and(|name| **name != *JOB_CONTROLLER)
    }
}

impl PodCount {
    /// What this object says; a surge makes pods earlier, and none more.
    pub fn of(kind: &str, object: &RawValue) -> Self {
        if kind == "DaemonSet" {
            return Self::OnePerNode;
        }
        let Ok(ObjectView { spec }) = serde_json::from_str(object.get()) else {
            return Self::Unknown;
        };
        match kind {
            // It is there for others to copy.
            "PodTemplate" => Self::Count(0),
            _ if spec.rests() => Self::Count(0),
            // It changes the number of the pods that it has, and begins nothing new (`sync` in
            // `pkg/controller/deployment` of kubernetes).
            _ if spec.paused == Some(true) => Self::Paused,
            "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => {
                Self::Count(spec.replicas.unwrap_or(1))
            }
            "Job" => Self::Count(spec.of_job()),
            "CronJob" => {
                spec.job_template.map_or(Self::Unknown, |job| Self::Count(job.spec.of_job()))
            }
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case("Deployment", json!({"replicas": 3}), 3, 3)]
    #[case("Deployment", json!({"replicas": 4}), 4, 3)]
    #[case("Deployment", json!({"replicas": 4, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}}), 4, 4)]
    #[case("Deployment", json!({"replicas": 4, "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}}), 4, 3)]
    #[case("Deployment", json!({"replicas": 4, "strategy": {"type": "Recreate"}}), 4, 0)]
    #[case("Deployment", json!({"replicas": 4, "paused": true}), 4, 4)]
    #[case("StatefulSet", json!({"replicas": 3}), 3, 2)]
    #[case("StatefulSet", json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}}), 3, 3)]
    #[case("StatefulSet", json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 3}}}), 3, 3)]
    #[case("DaemonSet", json!({}), 5, 4)]
    #[case("DaemonSet", json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}), 5, 0)]
    fn what_is_kept(
        #[case] kind: &str,
        #[case] spec: Value,
        #[case] running: u32,
        #[case] kept: u32,
    ) {
        let object = serde_json::value::to_raw_value(&json!({"spec": spec})).unwrap();
        assert_eq!(Rollout::of(kind, &object, || false).unwrap().kept(running), kept);
        assert_eq!(Rollout::of("Job", &object, || true), None);
    }

    #[rstest]
    #[case("Deployment", json!({"replicas": 7, "strategy": {"rollingUpdate": {"maxSurge": 3}}}), PodCount::Count(7))]
    #[case("Deployment", json!({}), PodCount::Count(1))]
    #[case("StatefulSet", json!({"replicas": 0}), PodCount::Count(0))]
    #[case("DaemonSet", json!({}), PodCount::OnePerNode)]
    #[case("Job", json!({"completions": 9, "parallelism": 3}), PodCount::Count(9))]
    #[case("Job", json!({"parallelism": 3}), PodCount::Count(3))]
    #[case("Job", json!({}), PodCount::Count(1))]
    #[case("CronJob", json!({"jobTemplate": {"spec": {"completions": 2}}}), PodCount::Count(2))]
    #[case("PodTemplate", json!({}), PodCount::Count(0))]
    #[case("Deployment", json!({"replicas": 7, "paused": true}), PodCount::Paused)]
    #[case("Job", json!({"suspend": true, "completions": 9}), PodCount::Count(0))]
    #[case("Job", json!({"parallelism": 0, "completions": 9}), PodCount::Count(0))]
    #[case("CronJob", json!({"suspend": true, "jobTemplate": {"spec": {}}}), PodCount::Count(0))]
    #[case("CronJob", json!({"jobTemplate": {"spec": {"suspend": true}}}), PodCount::Count(0))]
    #[case("Deployment", json!({"replicas": 0, "paused": true}), PodCount::Count(0))]
    #[case("Job", json!({"managedBy": "kueue.x-k8s.io/multikueue"}), PodCount::Count(0))]
    #[case("Job", json!({"managedBy": "kubernetes.io/job-controller"}), PodCount::Count(1))]
    #[case("Rollout", json!({"replicas": 0}), PodCount::Count(0))]
    #[case("Rollout", json!({"replicas": 2}), PodCount::Unknown)]
    #[case("Deployment", json!({"replicas": "x"}), PodCount::Unknown)]
    fn what_an_object_makes(#[case] kind: &str, #[case] spec: Value, #[case] count: PodCount) {
        let object = serde_json::value::to_raw_value(&json!({"spec": spec})).unwrap();
        assert_eq!(PodCount::of(kind, &object), count);
    }
}
