//! How many pods an object makes, for an estimate of what they pull.

use serde::Deserialize;
use serde_json::value::RawValue;

/// How many pods an object makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodCount {
    /// So many.
    Count(u32),
    /// One on each node that they may land on.
    OnePerNode,
    /// It does not say.
    #[default]
    Unknown,
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
}

impl SpecView {
    /// Pods of one run that succeeds: the kubelet's retries come on top.
    fn of_job(&self) -> u32 {
        let at_once = self.parallelism.unwrap_or(1);
        self.completions.unwrap_or(at_once).max(at_once.min(1))
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
    #[case("Deployment", json!({"replicas": 7, "strategy": {"rollingUpdate": {"maxSurge": 3}}}), PodCount::Count(7))]
    #[case("Deployment", json!({}), PodCount::Count(1))]
    #[case("StatefulSet", json!({"replicas": 0}), PodCount::Count(0))]
    #[case("DaemonSet", json!({}), PodCount::OnePerNode)]
    #[case("Job", json!({"completions": 9, "parallelism": 3}), PodCount::Count(9))]
    #[case("Job", json!({"parallelism": 3}), PodCount::Count(3))]
    #[case("Job", json!({}), PodCount::Count(1))]
    #[case("CronJob", json!({"jobTemplate": {"spec": {"completions": 2}}}), PodCount::Count(2))]
    #[case("PodTemplate", json!({}), PodCount::Unknown)]
    #[case("Deployment", json!({"replicas": "x"}), PodCount::Unknown)]
    fn what_an_object_makes(#[case] kind: &str, #[case] spec: Value, #[case] count: PodCount) {
        let object = serde_json::value::to_raw_value(&json!({"spec": spec})).unwrap();
        assert_eq!(PodCount::of(kind, &object), count);
    }
}
