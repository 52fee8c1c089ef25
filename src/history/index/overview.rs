//! The cluster at a glance: which registries are used, which images fail and where, how an image is
//! found by a part of its name, what a workload runs, and of which workloads pods fail now. Bound by the
//! same rights as a report.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use serde::Serialize;

use super::HealthIndex;
use super::interner::Visible;
use super::interner::{Id, NONE};
use super::record::{PodRecord, State, seconds};
use super::report::Selection;
use crate::history::facts::{Freshness, Visibility};
use crate::history::report::{FailurePattern, RegistryReport, Report, ReportTarget, Scope};
use crate::image::ImageReference;
use crate::pull::Cause;

/// An image of which containers wait in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailingImage {
    /// The whole reference.
    pub image: String,
    /// Who has it.
    pub scope: Scope,
    /// How it fails.
    pub failures: FailurePattern,
}

/// An image that containers have or want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KnownImage {
    /// The whole reference.
    pub image: String,
    /// Containers that run.
    pub running: u32,
    /// Containers that cannot get it.
    pub failing: u32,
}

impl HealthIndex {
    /// The registries of which containers want images, those with the most failing ones first.
    pub(crate) fn registries_seen(
        &self,
        visibility: &Visibility,
        now: Timestamp,
    ) -> Vec<RegistryReport> {
        if self.freshness != Freshness::Current {
            return Vec::new();
        }
        let visible = Visible::new(self, visibility);
        let used = self.images.registries().filter(|(_, registry)| {
            registry.namespaces.keys().any(|namespace| visible.includes(*namespace))
        });
        let hosts: BTreeSet<_> = used.map(|(_, registry)| registry.host.clone()).collect();
        let mut all: Vec<RegistryReport> =
            hosts.iter().map(|host| self.registry_for(host, &visible, now)).collect();
        all.sort_by(|a, b| {
            let rank = |one: &RegistryReport| (one.trouble.is_some(), one.health.failing);
            rank(b).cmp(&rank(a)).then_with(|| a.host.cmp(&b.host))
        });
        all
    }

    /// The images that fail, those of the most containers first: at most so many, and how many there
    /// are.
    pub(crate) fn failing_images(
        &self,
        visibility: &Visibility,
        most: usize,
    ) -> (Vec<FailingImage>, usize) {
        if self.freshness != Freshness::Current {
            return (Vec::new(), 0);
        }
        let visible = Visible::new(self, visibility);
        let mut failing: Vec<(u32, Id, String)> = self
            .images
            .iter()
            .filter(|(_, image)| image.failing > 0)
            .filter_map(|(id, image)| {
                let count = visible.namespaces(image).map(|space| space.failing).sum::<u32>();
                (count > 0).then(|| (count, id, image.reference.canonical()))
            })
            .collect();
        failing.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
        let all = failing.len();
        let shown = failing.into_iter().take(most).filter_map(|(_, id, image)| {
            let subject = ReportTarget::Image(self.images.get(id)?.reference.clone());
            let mut report = Report::empty(&subject, self.freshness, visibility);
            self.walk(&Selection::of(id), &visible, &mut report);
            Some(FailingImage { image, scope: report.scope, failures: report.failures })
        });
        (shown.collect(), all)
    }

    /// Who has an image; nobody, if it is not known.
    pub(crate) fn scope_of(&self, image: &ImageReference, visibility: &Visibility) -> Scope {
        let subject = ReportTarget::Image(image.clone());
        let mut report = Report::empty(&subject, self.freshness, visibility);
        if self.freshness == Freshness::Current
            && let Some(id) = self.images.find(image)
        {
            self.walk(&Selection::of(id), &Visible::new(self, visibility), &mut report);
        }
        report.scope
    }

    /// The images whose name has all these words in it, in any case; those that fail first, then by
    /// name. At most so many, and how many there are.
    pub(crate) fn images_named(
        &self,
        words: &str,
        visibility: &Visibility,
        most: usize,
    ) -> (Vec<KnownImage>, usize) {
        if self.freshness != Freshness::Current {
            return (Vec::new(), 0);
        }
        let visible = Visible::new(self, visibility);
        let words: Vec<String> = words.split_whitespace().map(str::to_ascii_lowercase).collect();
        let mut found: Vec<KnownImage> = self
            .images
            .iter()
            .filter_map(|(_, image)| {
                let mut spaces = visible.namespaces(image).peekable();
                spaces.peek()?;
                let (running, failing) =
                    spaces.fold((0, 0), |sum, one| (sum.0 + one.running, sum.1 + one.failing));
                let image = image.reference.canonical();
                let lower = image.to_ascii_lowercase();
                let fits = words.iter().all(|word| lower.contains(&**word));
                fits.then_some(KnownImage { image, running, failing })
            })
            .collect();
        let all = found.len();
        found.sort_by(|a, b| b.failing.cmp(&a.failing).then_with(|| a.image.cmp(&b.image)));
        found.truncate(most);
        (found, all)
    }

    /// The images that pods of a workload have or want, through its ReplicaSets or Jobs too; those of
    /// a single pod, if the kind is `Pod`. In the order of their names.
    pub(crate) fn images_of_workload(
        &self,
        [kind, namespace, name]: [&str; 3],
        visibility: &Visibility,
    ) -> Vec<ImageReference> {
        if self.freshness != Freshness::Current || !visibility.includes(namespace) {
            return Vec::new();
        }
        let Some(space) = self.names.find(namespace) else { return Vec::new() };
        let owned = self.owned_by([kind, namespace, name]);
        let is_wanted = |pod: &PodRecord| {
            pod.namespace == space
                && match kind {
                    "Pod" => self.pod_name(pod) == name,
                    _ => owned.contains(&pod.workload),
                }
        };
        let pods = self.pods.iter().map(|(_, pod)| pod).filter(|pod| is_wanted(pod));
        let ids: HashSet<Id> =
            pods.flat_map(|pod| pod.containers.as_slice()).map(|one| one.image).collect();
        let images = ids.iter().filter_map(|id| self.images.get(*id));
        let mut images: Vec<ImageReference> = images.map(|image| image.reference.clone()).collect();
        images.sort_by_key(ImageReference::canonical);
        images
    }
}

/// Pods that are looked at.
const MAX_LOOKED_AT: usize = 4096;

/// A workload of which pods fail to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailingWorkload {
    /// `Deployment`, `StatefulSet`, …, or `Pod` for one that nobody owns.
    pub kind: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// One of its pods that fail.
    pub pod: Box<str>,
    /// Why, as the nodes say.
    pub cause: Cause,
}

impl HealthIndex {
    /// The workloads of which a pod has failed to pull for at least so many seconds and says why;
    /// each once.
    pub(crate) fn failing_now(&self, at_least: u32, now: Timestamp) -> Vec<FailingWorkload> {
        if self.freshness != Freshness::Current {
            return Vec::new();
        }
        let then = seconds(now).saturating_sub(at_least);
        let mut found: BTreeMap<[Box<str>; 3], FailingWorkload> = BTreeMap::new();
        let registries = self.images.registries();
        let slots = registries.flat_map(|(_, registry)| registry.failing_pods.keys());
        for pod in slots.take(MAX_LOOKED_AT).filter_map(|slot| self.pods.get(*slot)) {
            let fails = pod
                .containers
                .as_slice()
                .iter()
                .filter(|container| container.state == State::Failing && container.at <= then);
            let said = fails.filter_map(super::record::ContainerRecord::cause);
            let Some(cause) = said.into_iter().find(|cause| *cause != Cause::BackOff) else {
                continue;
            };
            let [kind, namespace, name] = self.who(pod);
            let key = [kind.clone(), namespace.clone(), name.clone()];
            found.entry(key).or_insert_with(|| FailingWorkload {
                pod: self.pod_name(pod).into(),
                kind,
                namespace,
                name,
                cause,
            });
        }
        found.into_values().collect()
    }

    fn who(&self, pod: &PodRecord) -> [Box<str>; 3] {
        let top = (pod.workload != NONE).then(|| self.workloads.top(pod.workload)).flatten();
        match top {
            Some(top) => [top.kind, top.namespace, top.name].map(|id| self.text(id).into()),
            None => ["Pod".into(), self.text(pod.namespace).into(), self.pod_name(pod).into()],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kube_views::PodView;

    fn pod(uid: &str, namespace: &str, image: &str, runs: bool) -> PodView {
        let state = if runs {
            json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}})
        } else {
            json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}})
        };
        serde_json::from_value(json!({
            "metadata": {"name": format!("p-{uid}"), "namespace": namespace, "uid": uid},
            "spec": {"containers": [{"name": "a", "image": image}]},
            "status": {"containerStatuses": [{"name": "a", "ready": runs, "state": state}]},
        }))
        .unwrap()
    }

    fn index() -> HealthIndex {
        let mut index = HealthIndex::default();
        let now = Timestamp::UNIX_EPOCH;
        for (uid, namespace, image, runs) in [
            ("1", "shop", "r.io/shop/app:1", false),
            ("2", "shop", "r.io/shop/app:1", false),
            ("3", "till", "q.io/till/app:2", false),
            ("4", "till", "q.io/till/ok:3", true),
        ] {
            index.apply_pod(&pod(uid, namespace, image, runs), now);
        }
        index.settle(now);
        index.set_freshness(Freshness::Current);
        index
    }

    fn only(namespace: &str) -> Visibility {
        Visibility::Namespaces(vec![namespace.into()])
    }

    #[test]
    fn nothing_is_told_of_namespaces_that_may_not_be_seen() {
        let index = index();
        let names = |visibility: &Visibility| -> (Vec<String>, Vec<String>, Vec<String>) {
            (
                index
                    .registries_seen(visibility, Timestamp::UNIX_EPOCH)
                    .into_iter()
                    .map(|r| r.host)
                    .collect(),
                index.failing_images(visibility, 9).0.into_iter().map(|f| f.image).collect(),
                index.images_named("app", visibility, 9).0.into_iter().map(|i| i.image).collect(),
            )
        };
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let both = list(&["r.io/shop/app:1", "q.io/till/app:2"]);
        let all = (list(&["r.io", "q.io"]), both.clone(), both);
        assert_eq!(names(&Visibility::Cluster), all);
        let till = list(&["q.io/till/app:2"]);
        assert_eq!(names(&only("till")), (list(&["q.io"]), till.clone(), till));
        assert_eq!(names(&Visibility::nobody()), (Vec::new(), Vec::new(), Vec::new()));
        let hidden = index.images_of_workload(["Pod", "shop", "p-1"], &only("till"));
        assert!(hidden.is_empty());
    }

    #[test]
    fn a_report_tells_nothing_of_what_others_have() {
        let mut index = index();
        let now = Timestamp::UNIX_EPOCH;
        for (uid, namespace, digest) in [("5", "shop", "a"), ("6", "till", "b")] {
            let mut running = pod(uid, namespace, "r.io/base:1", true);
            running.status.container_statuses[0].image_id =
                format!("r.io/base@sha256:{}", digest.repeat(64)).into();
            index.apply_pod(&running, now);
        }
        index.set_freshness(Freshness::Current);
        let report = |image: &str, seen: &Visibility| {
            index.report(&ReportTarget::Image(image.parse().unwrap()), seen, now)
        };
        let tag = |seen: &Visibility| report("r.io/base:1", seen).tags[0].clone();
        assert!(tag(&Visibility::Cluster).differs && !tag(&only("till")).differs);
        assert_eq!(
            (tag(&Visibility::Cluster).digests.len(), tag(&only("till")).digests.len()),
            (2, 1)
        );
        // A registry that only others use is as one that nobody uses.
        let registry = |host: &str, seen: &Visibility| {
            let mut report = index.report(&ReportTarget::Registry(host.into()), seen, now).registry;
            report.host.clear();
            report
        };
        assert_eq!(registry("r.io", &only("bank")), registry("nobody.example", &only("bank")));
        assert_ne!(registry("r.io", &only("shop")), registry("nobody.example", &only("shop")));
    }

    #[test]
    fn what_fails_is_counted_and_cut() {
        let index = index();
        let (shown, all) = index.failing_images(&Visibility::Cluster, 1);
        assert_eq!((shown.len(), all), (1, 2));
        assert_eq!((shown[0].scope.failing, shown[0].scope.workloads.len()), (2, 2));
        assert_eq!(shown[0].failures.causes[0].containers, 2);
        let images = index.images_of_workload(["Pod", "till", "p-4"], &Visibility::Cluster);
        assert_eq!(images[0].canonical(), "q.io/till/ok:3");
        let pods = |seen: &Visibility| index.scope_of(&images[0], seen).workloads.len();
        assert_eq!(
            (pods(&Visibility::Cluster), pods(&only("till")), pods(&only("shop"))),
            (1, 1, 0)
        );
    }
}
