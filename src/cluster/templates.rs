//! What has no pods now and will pull images some day: Deployments scaled to zero, CronJobs between
//! runs, `DaemonSets` for nodes to come, suspended Jobs. Of each object only its images are kept, with
//! whose pull secrets count; whatever has pods is known by these.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::feeds::SharedIndex;
use super::shapes::Text;
use super::watch::{Feed, Source};
use crate::review::ImageUse;
use crate::risk::When;
use crate::workload::{ContainerKind, ImagePullPolicy, Workload, extract, pod_path};

/// Objects that are kept; of a larger cluster the others are not looked at.
const MAX_TEMPLATES: usize = 20_000;
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
    pub(super) spec: Option<RestSpec<'a>>,
    #[serde(borrow, default)]
    status: Option<RestStatus<'a>>,
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
    known: BTreeMap<Key, Box<[ImageUse]>>,
    /// Those of a list that has begun and not ended, by kind.
    listing: BTreeMap<TemplateKind, BTreeSet<Key>>,
}

impl Templates {
    /// A whole list of this kind begins: what is not in it is gone when it ends.
    pub(super) fn begin(&mut self, kind: TemplateKind) {
        self.listing.insert(kind, BTreeSet::new());
    }

    pub(super) fn end(&mut self, kind: TemplateKind) {
        if let Some(listed) = self.listing.remove(&kind) {
            self.known.retain(|key, _| key.0 != kind || listed.contains(key));
        }
    }

    /// Takes in an object as it is now. One that cannot be read needs nothing.
    pub(super) fn apply(&mut self, kind: TemplateKind, object: &str) {
        let Some((key, images)) = read(kind, object) else { return };
        if let Some(listed) = self.listing.get_mut(&kind) {
            listed.insert(key.clone());
        }
        if images.is_empty() {
            self.known.remove(&key);
        } else if self.known.len() < MAX_TEMPLATES || self.known.contains_key(&key) {
            self.known.insert(key, images);
        }
    }

    pub(super) fn delete(&mut self, kind: TemplateKind, object: &str) {
        if let Some((key, _)) = read(kind, object) {
            self.known.remove(&key);
        }
    }

    /// Each image with the pull secrets that count for it, once.
    pub(super) fn uses(&self) -> Vec<ImageUse> {
        let mut seen = HashSet::new();
        let mut uses = Vec::new();
        for used in self.known.values().flatten() {
            let ImageUse { image, namespace, pull_secrets, service_account, .. } = used;
            if seen.insert((image, namespace, pull_secrets, service_account)) {
                uses.push(used.clone());
            }
        }
        uses
    }
}

/// What an object is called, and the images that it will pull; none if its pods show them, or if it
/// makes none any more.
fn read(kind: TemplateKind, object: &str) -> Option<(Key, Box<[ImageUse]>)> {
    let raw: &RawValue = serde_json::from_str(object).ok()?;
    let path = pod_path(kind.group(), kind.as_str())?;
    let workload = extract(raw, &path).ok()?;
    let key = (kind, workload.object.namespace.clone(), workload.object.name.clone());
    let rest: RestView<'_> = serde_json::from_str(object).ok()?;
    // What a CronJob makes is as its template says.
    let made = kind == TemplateKind::Job && workload.controller.is_some();
    let rests = rest.when(kind.as_str()).is_some_and(|when| when != When::Runs) && !made;
    let images = if rests { uses(&workload) } else { Box::default() };
    Some((key, images))
}

fn uses(workload: &Workload) -> Box<[ImageUse]> {
    let pulled = workload.images.iter().filter(|image| {
        image.kind != ContainerKind::Ephemeral && image.pull_policy != ImagePullPolicy::Never
    });
    let account = workload.service_account.clone().filter(|_| workload.pull_secrets.is_empty());
    pulled
        .take(MAX_IMAGES)
        .map(|image| ImageUse {
            image: image.image.clone(),
            namespace: workload.object.namespace.clone(),
            pull_secrets: workload.pull_secrets.clone(),
            service_account: account.clone(),
            placement: workload.placement.clone(),
            loaded: false,
        })
        .collect()
}

/// Takes in what is watched for its template alone.
pub(super) struct TemplateFeed(pub(super) SharedIndex, pub(super) TemplateKind);

impl Feed for TemplateFeed {
    fn source(&self) -> Source {
        let path = match self.1 {
            TemplateKind::StatefulSet => "/apis/apps/v1/statefulsets",
            TemplateKind::DaemonSet => "/apis/apps/v1/daemonsets",
            TemplateKind::Deployment => "/apis/apps/v1/deployments",
            // These are watched for what they build, too.
            TemplateKind::CronJob => "/apis/batch/v1/cronjobs",
            TemplateKind::Job => "/apis/batch/v1/jobs",
        };
        Source { path, metadata_only: false, fields: None }
    }

    fn list_begins(&mut self) {
        self.0.lock().templates.begin(self.1);
    }

    fn listed(&mut self, object: &str) -> Result<(), serde_json::Error> {
        self.applied(object)
    }

    fn list_ends(&mut self) {
        self.0.lock().templates.end(self.1);
    }

    fn applied(&mut self, object: &str) -> Result<(), serde_json::Error> {
        self.0.lock().templates.apply(self.1, object);
        Ok(())
    }

    fn deleted(&mut self, object: &str) -> Result<(), serde_json::Error> {
        self.0.lock().templates.delete(self.1, object);
        Ok(())
    }
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

    #[test]
    fn only_what_rests_is_kept_and_a_list_forgets_what_is_gone() {
        let kind = TemplateKind::Deployment;
        let mut templates = Templates::default();
        for (name, replicas) in [("a", 0), ("b", 0), ("c", 2)] {
            templates.apply(kind, &deployment(name, replicas));
        }
        assert_eq!(templates.known.len(), 2);
        let uses = templates.uses();
        assert_eq!(uses.len(), 1, "the same image for the same account is one question");
        assert_eq!(
            (&*uses[0].image, uses[0].service_account.as_deref()),
            ("r.io/app:1", Some("default"))
        );
        templates.apply(kind, &deployment("a", 1));
        assert_eq!(templates.known.len(), 1, "its pods show it now");
        templates.apply(TemplateKind::StatefulSet, &deployment("b", 0));
        templates.begin(kind);
        templates.apply(kind, &deployment("d", 0));
        templates.end(kind);
        let names: Vec<&str> = templates.known.keys().map(|key| &*key.2).collect();
        assert_eq!(names, ["d", "b"], "of other kinds nothing was said");
        templates.delete(kind, &deployment("d", 0));
        assert_eq!(templates.known.len(), 1);
    }
}
