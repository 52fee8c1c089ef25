//! What has no pods now and will pull images some day: Deployments scaled to zero, CronJobs between
//! runs, `DaemonSets` for nodes to come, suspended Jobs. Of each object only its images are kept, with
//! whose pull secrets count; whatever has pods is known by these.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::kube_views::{Listed, Text, Uid};
use crate::review::ImageUse;
use crate::risk::When;
use crate::workload::{ContainerKind, ImagePullPolicy, Placement, Workload, extract, pod_path};

/// Objects that are kept; of a larger cluster the others are not looked at.
const MAX_TEMPLATES: usize = 20_000;
/// The same of one namespace: nobody takes the room of all others.
const MAX_OF_ONE: usize = 500;
/// Images of one object.
const MAX_IMAGES: usize = 32;

/// The kinds with templates that are watched for them alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TemplateKind {
    Deployment,
    StatefulSet,
    DaemonSet,
    CronJob,
    Job,
}

impl TemplateKind {
    const fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps",
            Self::CronJob | Self::Job => "batch",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::CronJob => "CronJob",
            Self::Job => "Job",
        }
    }
}

/// What decides whether, and when, an object makes pods.
#[derive(Deserialize, Default)]
pub(super) struct RestView<'a> {
    #[serde(borrow, default)]
    metadata: Option<RestMeta<'a>>,
    #[serde(borrow, default)]
    pub(super) spec: Option<RestSpec<'a>>,
    #[serde(borrow, default)]
    status: Option<RestStatus<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestMeta<'a> {
    #[serde(borrow, default)]
    deletion_timestamp: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct RestSpec<'a> {
    #[serde(default)]
    replicas: Option<i64>,
    #[serde(default)]
    suspend: Option<bool>,
    #[serde(borrow, default)]
    pub(super) node_name: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
struct RestStatus<'a> {
    #[serde(borrow, default)]
    phase: Option<Text<'a>>,
    #[serde(borrow, default)]
    conditions: Option<Vec<RestCondition<'a>>>,
}

#[derive(Deserialize)]
struct RestCondition<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
}

impl RestView<'_> {
    /// When an object of this kind would pull again; nothing if it never will.
    pub(super) fn when(&self, kind: &str) -> Option<When> {
        if self.metadata.as_ref().is_some_and(|metadata| metadata.deletion_timestamp.is_some()) {
            return None;
        }
        let none = RestSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&none);
        match kind {
            "Pod" => (!self.has_ended()).then_some(When::Runs),
            "DaemonSet" => Some(When::NodesToCome),
            "CronJob" if spec.suspend == Some(true) => Some(When::Suspended),
            "CronJob" => Some(When::BetweenRuns),
            "Job" if self.is_complete() => None,
            "Job" if spec.suspend == Some(true) => Some(When::Suspended),
            "Job" => Some(When::Runs),
            _ if spec.replicas == Some(0) => Some(When::AtZero),
            _ => Some(When::Runs),
        }
    }

    /// A pod in its last phase is started nowhere again; what owns it may make another.
    fn has_ended(&self) -> bool {
        let phase = self.status.as_ref().and_then(|status| status.phase.as_ref());
        phase.is_some_and(|phase| matches!(&*phase.0, "Succeeded" | "Failed"))
    }

    fn is_complete(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|one| matches!(&*one.kind.0, "Complete" | "Failed") && &*one.status.0 == "True")
    }
}

/// An object's kind, namespace and name.
type Key = (TemplateKind, Box<str>, Box<str>);

/// The objects that will pull some day.
#[derive(Default)]
pub(super) struct Templates {
    known: BTreeMap<Key, Known>,
    /// How many of them each namespace has.
    of_namespace: HashMap<Box<str>, usize>,
}

struct Known {
    uid: Uid,
    images: Box<[ImageUse]>,
}

impl Templates {
    /// A complete list of this kind was taken in: what it did not show is gone.
    pub(super) fn retain(&mut self, kind: TemplateKind, listed: &Listed) {
        let gone = |(key, known): &(&Key, &Known)| key.0 == kind && !listed.contains(known.uid);
        let gone: Vec<Key> = self.known.iter().filter(gone).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.forget(key);
        }
    }

    /// Takes in an object as it was read.
    pub(super) fn apply(&mut self, read: Template) {
        let Template { key, known } = read;
        if known.images.is_empty() {
            self.forget(&key);
        } else if let Some(before) = self.known.get_mut(&key) {
            *before = known;
        } else if self.known.len() < MAX_TEMPLATES {
            let taken = self.of_namespace.entry(key.1.clone()).or_default();
            if *taken < MAX_OF_ONE {
                *taken += 1;
                self.known.insert(key, known);
            }
        }
    }

    pub(super) fn delete(&mut self, kind: TemplateKind, namespace: &str, name: &str) {
        self.forget(&(kind, namespace.into(), name.into()));
    }

    fn forget(&mut self, key: &Key) {
        if self.known.remove(key).is_none() {
            return;
        }
        if let Some(taken) = self.of_namespace.get_mut(&key.1) {
            *taken -= 1;
            if *taken == 0 {
                self.of_namespace.remove(&key.1);
            }
        }
    }

    /// Each image with the pull secrets that count for it, once.
    pub(super) fn uses(&self) -> Vec<ImageUse> {
        let mut seen = HashSet::new();
        let mut uses = Vec::new();
        for used in self.known.values().flat_map(|known| &known.images) {
            let ImageUse { image, namespace, pull_secrets, service_account, .. } = used;
            if seen.insert((image, namespace, pull_secrets, service_account)) {
                uses.push(used.clone());
            }
        }
        uses
    }
}

/// An object, reduced to the images that it will pull: none if its pods show them, or if it makes
/// none any more.
pub(super) struct Template {
    key: Key,
    known: Known,
}

impl Template {
    /// Reads an object; nothing if it cannot be read. Not to be done under a lock: objects are large.
    pub(super) fn read(kind: TemplateKind, uid: Uid, object: &str) -> Option<Self> {
        let raw: &RawValue = serde_json::from_str(object).ok()?;
        let path = pod_path(kind.group(), kind.as_str())?;
        let workload = extract(raw, &path).ok()?;
        let key = (kind, workload.object.namespace.clone(), workload.object.name.clone());
        let rest: RestView<'_> = serde_json::from_str(object).ok()?;
        // What a CronJob makes is as its own template says.
        let made = workload.controller.as_ref().is_some_and(|owner| &*owner.kind == "CronJob");
        let rests = rest.when(kind.as_str()).is_some_and(|when| when != When::Runs) && !made;
        let images = if rests { uses(&workload) } else { Box::default() };
        Some(Self { key, known: Known { uid, images } })
    }
}

/// Longer names no runtime reads.
const LONGEST_IMAGE: usize = 1024;

fn uses(workload: &Workload) -> Box<[ImageUse]> {
    let pulled = workload.images.iter().filter(|image| {
        image.kind != ContainerKind::Ephemeral
            && image.pull_policy != ImagePullPolicy::Never
            && image.image.len() <= LONGEST_IMAGE
    });
    let account = workload.service_account.clone().filter(|_| workload.pull_secrets.is_empty());
    pulled
        .take(MAX_IMAGES)
        .map(|image| ImageUse {
            image: image.image.clone(),
            namespace: workload.object.namespace.clone(),
            pull_secrets: workload.pull_secrets.clone(),
            service_account: account.clone(),
            // How large one is only the object's own limit says.
            placement: Placement::not_yet_known(),
            loaded: false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::runs("Deployment", json!({"spec": {"replicas": 2}}), Some(When::Runs))]
    #[case::by_default("StatefulSet", json!({"spec": {}}), Some(When::Runs))]
    #[case::zero("Deployment", json!({"spec": {"replicas": 0}}), Some(When::AtZero))]
    #[case::daemons("DaemonSet", json!({}), Some(When::NodesToCome))]
    #[case::cron("CronJob", json!({"spec": {"suspend": false}}), Some(When::BetweenRuns))]
    #[case::held_cron("CronJob", json!({"spec": {"suspend": true}}), Some(When::Suspended))]
    #[case::held_job("Job", json!({"spec": {"suspend": true}}), Some(When::Suspended))]
    #[case::job("Job", json!({"status": {"conditions": [{"type": "Suspended", "status": "True"}]}}),
        Some(When::Runs))]
    #[case::done("Job", json!({"spec": {"suspend": true},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]}}), None)]
    #[case::pod("Pod", json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Pending"}}),
        Some(When::Runs))]
    #[case::leaving("Pod", json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}}), None)]
    #[case::ended("Pod", json!({"status": {"phase": "Failed"}}), None)]
    fn when_it_pulls_again(
        #[case] kind: &str,
        #[case] object: serde_json::Value,
        #[case] when: Option<When>,
    ) {
        let text = object.to_string();
        assert_eq!(serde_json::from_str::<RestView<'_>>(&text).unwrap().when(kind), when);
    }

    fn deployment(name: &str, replicas: u32) -> String {
        json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"replicas": replicas,
            "template": {"spec": {"containers": [
                {"name": "a", "image": "r.io/app:1"},
                {"name": "n", "image": "r.io/never:1", "imagePullPolicy": "Never"}]}}}})
        .to_string()
    }

    fn read(kind: TemplateKind, name: &str, replicas: u32) -> Template {
        Template::read(kind, Uid::of(name), &deployment(name, replicas)).unwrap()
    }

    #[test]
    fn only_what_rests_is_kept_and_a_list_forgets_what_is_gone() {
        let kind = TemplateKind::Deployment;
        let mut templates = Templates::default();
        for (name, replicas) in [("a", 0), ("b", 0), ("c", 2)] {
            templates.apply(read(kind, name, replicas));
        }
        assert_eq!(templates.known.len(), 2);
        let uses = templates.uses();
        assert_eq!(uses.len(), 1, "the same image for the same account is one question");
        assert_eq!(
            (&*uses[0].image, uses[0].service_account.as_deref()),
            ("r.io/app:1", Some("default"))
        );
        templates.apply(read(kind, "a", 1));
        assert_eq!(templates.known.len(), 1, "its pods show it now");
        templates.apply(read(TemplateKind::StatefulSet, "b", 0));
        templates.apply(read(kind, "d", 0));
        let listed = Listed::from_iter([Uid::of("d")]);
        templates.retain(kind, &listed);
        let names: Vec<&str> = templates.known.keys().map(|key| &*key.2).collect();
        assert_eq!(names, ["d", "b"], "of other kinds nothing was said");
        templates.delete(kind, "shop", "d");
        assert_eq!(templates.known.len(), 1);
    }

    #[test]
    fn one_namespace_does_not_take_the_room_of_all() {
        let mut templates = Templates::default();
        for nth in 0..MAX_OF_ONE + 9 {
            templates.apply(read(TemplateKind::Deployment, &format!("d{nth}"), 0));
        }
        assert_eq!(templates.known.len(), MAX_OF_ONE);
        templates.delete(TemplateKind::Deployment, "shop", "d0");
        templates.apply(read(TemplateKind::Deployment, "another", 0));
        assert_eq!(templates.known.len(), MAX_OF_ONE);
    }
}
