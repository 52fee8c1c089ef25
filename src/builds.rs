//! Which Jobs, CronJobs, pods and runs of Tekton name which images in their arguments, environment and
//! parameters, and how far they are: the answer to "who was to push it?".
//!
//! Of a spec nothing is kept but image names that are not those of its own containers,
//! within bounds. Whoever may not see a namespace must not be told of its jobs; that is the
//! caller's to see to.

mod destinations;
mod job;
mod read;
mod tekton;

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::image::ImageReference;
use crate::kube_views::{Listed, Uid, controller};
use destinations::{Destination, destinations};
pub use job::{BuildJob, BuildKind, BuildState, BuildView, ContainerEnd, JobRerun};

/// Jobs that are kept at most; the oldest go first.
const MAX_JOBS: usize = 4096;
/// Jobs in one answer.
const MAX_TOLD: usize = 8;
/// Letters of a CronJob's name in that of a Job made of it: a Job's name has 63.
const MAX_CRON: usize = 52;

type Key = (BuildKind, Box<str>, Box<str>);

/// Every job that names an image that it does not run.
#[derive(Debug, Clone, Default)]
pub struct Builds {
    jobs: HashMap<Key, BuildRecord>,
}

#[derive(Debug, Clone)]
struct BuildRecord {
    destinations: Vec<Destination>,
    state: BuildState,
    created: Timestamp,
    cron_job: Option<Box<str>>,
    uid: Uid,
}

impl Builds {
    /// A complete list of this kind was taken in: what it did not show is gone.
    pub fn retain(&mut self, kind: BuildKind, listed: &Listed) {
        self.jobs.retain(|(one, ..), kept| *one != kind || listed.contains(kept.uid));
    }

    /// A job was listed, added or changed.
    pub fn apply(&mut self, kind: BuildKind, job: &BuildView) {
        let Some(key) = key(kind, &job.metadata) else { return };
        let destinations = destinations(&job.steps);
        if destinations.is_empty() {
            self.jobs.remove(&key);
            return;
        }
        if self.jobs.len() >= MAX_JOBS && !self.jobs.contains_key(&key) {
            self.forget_oldest();
        }
        let created = job.metadata.creation_timestamp.as_ref();
        let kept = BuildRecord {
            destinations,
            state: job.state,
            created: created.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            cron_job: controller(&job.metadata)
                .filter(|owner| owner.kind == "CronJob")
                .map(|owner| owner.name.as_str().into()),
            uid: Uid::of_object(&job.metadata),
        };
        self.jobs.insert(key, kept);
    }

    /// A job is gone.
    pub fn delete(&mut self, kind: BuildKind, job: &ObjectMeta) {
        if let Some(key) = key(kind, job) {
            self.jobs.remove(&key);
        }
    }

    /// The jobs that name this image, the one that tells most first: those that push it before
    /// those that only name it, Jobs before CronJobs, the youngest first.
    pub fn of(&self, image: &ImageReference) -> Vec<BuildJob> {
        let wanted = image.canonical();
        self.found(|named| *named == *wanted).into_iter().map(|(job, _)| job).collect()
    }

    /// The jobs that push another tag of this image's repository, each with that tag; in the same
    /// order.
    pub(crate) fn of_other_tags(&self, image: &ImageReference) -> Vec<(BuildJob, Box<str>)> {
        let wanted = image.canonical();
        let other = |named: &str| {
            let tag = named.strip_prefix(image.name()).and_then(|rest| rest.strip_prefix(':'));
            *named != *wanted && tag.is_some()
        };
        let found = self.found(other).into_iter().filter(|(job, _)| job.pushes);
        let tag = |named: Box<str>| named.rsplit_once(':').map(|(_, tag)| tag.into());
        found.filter_map(|(job, named)| Some((job, tag(named)?))).collect()
    }

    /// The jobs with a destination that is wanted, and the first such destination.
    fn found(&self, wanted: impl Fn(&str) -> bool) -> Vec<(BuildJob, Box<str>)> {
        let mut found: Vec<(Timestamp, BuildJob, Box<str>)> = self
            .jobs
            .iter()
            .filter_map(|((kind, namespace, name), kept)| {
                let named = || kept.destinations.iter().filter(|one| wanted(&one.image));
                let pushes = named().map(|one| one.pushed).max()?;
                let image = named().find(|one| one.pushed == pushes)?.image.clone();
                let cron_job = match kind {
                    BuildKind::CronJob => Some(name),
                    _ => kept.cron_job.as_ref(),
                };
                let rerun_as = cron_job.map(|cron_job| self.rerun(namespace, cron_job));
                let (kind, state) = (*kind, kept.state);
                let (namespace, name) = (namespace.clone(), name.clone());
                let job = BuildJob { kind, namespace, name, pushes, state, rerun_as };
                Some((kept.created, job, image))
            })
            .collect();
        found.sort_by(|(one_created, one, _), (two_created, two, _)| {
            (two.pushes, one.kind, two_created, &one.namespace, &one.name).cmp(&(
                one.pushes,
                two.kind,
                one_created,
                &two.namespace,
                &two.name,
            ))
        });
        found.into_iter().map(|(_, job, image)| (job, image)).take(MAX_TOLD).collect()
    }

    /// How a Job is made of a CronJob under a name that no kept one has.
    fn rerun(&self, namespace: &str, cron_job: &str) -> JobRerun {
        let start: String = cron_job.chars().take(MAX_CRON).collect();
        let start = start.trim_end_matches(['-', '.']);
        let mut name: Box<str> = format!("{start}-again").into();
        let mut nth = 2;
        while self.jobs.contains_key(&(BuildKind::Job, namespace.into(), name.clone())) {
            name = format!("{start}-again-{nth}").into();
            nth += 1;
        }
        JobRerun { cron_job: cron_job.into(), name }
    }

    /// How many jobs are kept.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn forget_oldest(&mut self) {
        let oldest = self.jobs.iter().min_by_key(|(_, kept)| kept.created);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.jobs.remove(&key);
        }
    }
}

fn key(kind: BuildKind, meta: &ObjectMeta) -> Option<Key> {
    Some((kind, meta.namespace.as_deref()?.into(), meta.name.as_deref()?.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(name: &str, created: &str, args: &[&str], status: &Value) -> BuildView {
        let job = json!({
            "metadata": {"name": name, "namespace": "ci", "uid": name, "creationTimestamp": created},
            "spec": {"template": {"spec": {"containers": [
                {"name": "kaniko", "image": "gcr.io/kaniko-project/executor:v1", "args": args},
            ]}}},
            "status": status,
        });
        BuildView::read(BuildKind::Job, &job.to_string()).unwrap().unwrap()
    }

    fn image(text: &str) -> ImageReference {
        ImageReference::parse(text).unwrap()
    }

    #[test]
    fn the_youngest_job_that_pushes_comes_first() {
        let mut builds = Builds::default();
        let push = ["--context=git://example.com/x", "--destination=reg.example.com/app:1"];
        let failed = json!({"failed": 1, "conditions": [{"type": "Failed", "status": "True",
            "reason": "BackoffLimitExceeded", "lastTransitionTime": "2026-01-02T00:00:00Z"}]});
        builds.apply(BuildKind::Job, &job("old", "2026-01-01T00:00:00Z", &push, &failed));
        let running = json!({"active": 1, "startTime": "2026-01-03T00:00:00Z"});
        builds.apply(BuildKind::Job, &job("new", "2026-01-03T00:00:00Z", &push, &running));
        let mention = ["echo", "reg.example.com/app:1"];
        builds.apply(BuildKind::Job, &job("says", "2026-01-04T00:00:00Z", &mention, &json!({})));
        let other = ["--destination=reg.example.com/app:2"];
        builds.apply(BuildKind::Job, &job("other", "2026-01-05T00:00:00Z", &other, &json!({})));
        let told = builds.of(&image("reg.example.com/app:1"));
        let names: Vec<_> = told.iter().map(|job| (&*job.name, job.pushes)).collect();
        assert_eq!(names, [("new", true), ("old", true), ("says", false)]);
        let at = "2026-01-02T00:00:00Z".parse().ok();
        assert_eq!(told[1].state, BuildState::Failed { at, too_long: false });
        let since = "2026-01-03T00:00:00Z".parse().ok();
        assert_eq!(told[0].state, BuildState::Running { since, failed: 0 });
        assert!(builds.of(&image("reg.example.com/app:3")).is_empty());
        let others = builds.of_other_tags(&image("reg.example.com/app:3"));
        let others: Vec<_> = others.iter().map(|(job, tag)| (&*job.name, &**tag)).collect();
        assert_eq!(
            others,
            [("other", "2"), ("new", "1"), ("old", "1")],
            "and not who only says so"
        );
    }

    #[test]
    fn what_is_made_again_has_a_name_that_no_other_job_has() {
        let mut builds = Builds::default();
        let push = ["--destination=reg.example.com/app:1"];
        let made = |name: &str, at: &str| {
            let mut view = job(name, at, &push, &json!({}));
            let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "build",
                "uid": "1", "controller": true}]);
            view.metadata.owner_references = serde_json::from_value(owner).unwrap();
            view
        };
        for (name, at) in [("build-29", "2026-01-01T00:00:00Z"), ("x", "2026-01-02T00:00:00Z")] {
            builds.apply(BuildKind::Job, &made(name, at));
        }
        let again = |builds: &Builds| {
            let told = builds.of(&image("reg.example.com/app:1"));
            let rerun = told[0].rerun_as.clone().unwrap();
            assert_eq!(&*rerun.cron_job, "build");
            rerun.name
        };
        assert_eq!(&*again(&builds), "build-again");
        builds.apply(BuildKind::Job, &made("build-again", "2026-01-03T00:00:00Z"));
        assert_eq!(&*again(&builds), "build-again-2");
        builds.apply(BuildKind::Job, &made("build-again-2", "2026-01-04T00:00:00Z"));
        assert_eq!(&*again(&builds), "build-again-3");
    }

    #[test]
    fn a_list_replaces_and_jobs_that_build_nothing_are_not_kept() {
        let mut builds = Builds::default();
        let push = ["--destination", "reg.example.com/app:1"];
        let at = "2026-01-01T00:00:00Z";
        builds.apply(BuildKind::Job, &job("a", at, &push, &json!({})));
        builds.apply(BuildKind::Job, &job("b", at, &push, &json!({})));
        builds.apply(BuildKind::Job, &job("c", at, &["sleep", "1"], &json!({})));
        assert_eq!(builds.len(), 2);
        let listed = Listed::from_iter([Uid::of("b")]);
        builds.retain(BuildKind::CronJob, &listed);
        assert_eq!(builds.len(), 2);
        builds.retain(BuildKind::Job, &listed);
        assert_eq!(builds.len(), 1);
        builds.delete(BuildKind::Job, &job("b", at, &push, &json!({})).metadata);
        assert!(builds.is_empty());
    }

    #[test]
    fn the_number_of_jobs_is_bounded_and_the_oldest_go() {
        let mut builds = Builds::default();
        for number in 0..MAX_JOBS + 10 {
            let created = format!(
                "2026-01-01T{:02}:{:02}:{:02}Z",
                number / 3600,
                number / 60 % 60,
                number % 60
            );
            let push = ["--destination=reg.example.com/app:1"];
            builds.apply(BuildKind::Job, &job(&format!("j{number}"), &created, &push, &json!({})));
        }
        assert_eq!(builds.len(), MAX_JOBS);
        let told = builds.of(&image("reg.example.com/app:1"));
        assert_eq!((told.len(), &*told[0].name), (MAX_TOLD, "j4105"));
    }
}
