//! The four questions in full: what `explain` shows. Slower than a review's question, since it
//! walks over the pods, and bound by the same rights.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;

use super::HealthIndex;
use super::images::{Image, Repository};
use super::interner::Visible;
use super::interner::{Id, NONE};
use super::pull_times::PullTimes;
use super::record::{ContainerRecord, PodRecord, Seconds, State, timestamp};
use super::workloads::Workload;
use crate::history::facts::{Freshness, Visibility};
use crate::history::report::{
    CauseLine, FailurePattern, NamedCount, RegistryReport, Report, ReportTarget, Scope, Spread,
    TagLine, WorkloadLine,
};
use crate::kube_views::Uid;
use crate::pull::Cause;

/// Most lines of each kind in a report.
const MAX_LINES: usize = 50;
/// Most pods named in a report.
const MAX_PODS: usize = 20;

/// Which containers a report is about.
pub(super) struct Selection {
    images: Vec<Id>,
    /// If only those that run this digest count.
    digest: Option<Id>,
}

impl Selection {
    /// Those of one image.
    pub(super) fn of(image: Id) -> Self {
        Self { images: vec![image], digest: None }
    }
}

impl HealthIndex {
    /// Answers the four questions about an image or a registry. While the
    /// index is learning or stale the report says that and nothing else.
    pub fn report(
        &self,
        subject: &ReportTarget,
        visibility: &Visibility,
        now: Timestamp,
    ) -> Report {
        let mut report = Report::empty(subject, self.freshness, visibility);
        if self.freshness != Freshness::Current {
            return report;
        }
        let visible = Visible::new(self, visibility);
        let selection = self.select(subject);
        self.walk(&selection, &visible, &mut report);
        report.remembered = self.remembered(&selection.images, &visible);
        report.remembered.retain(|gone| {
            let mut now = report.scope.workloads.iter();
            !now.any(|line| {
                (&line.kind, &line.namespace, &line.name)
                    == (&gone.kind, &gone.namespace, &gone.name)
            })
        });
        report.remembered.truncate(MAX_LINES);
        for image in selection.images.iter().filter_map(|image| self.images.get(*image)) {
            let at = image.last_success();
            if at > 0 && visibility == &Visibility::Cluster {
                report.last_success = report.last_success.max(Some(timestamp(at)));
            }
        }
        if visibility == &Visibility::Cluster {
            let images = selection.images.iter().filter_map(|image| self.images.get(*image));
            let times = images.filter_map(|image| image.times.as_deref());
            report.pulls = PullTimes::summary(times, |node| self.text(node).to_owned());
        }
        report.digests = self.digests_of(subject, &visible);
        // Nobody knows whose pod it was that a node pulled it for.
        if let (ReportTarget::Image(reference), Visible::All) = (subject, &visible) {
            report.scope.nodes_listing = self.nodes_listing(reference);
        }
        let repository = match subject {
            ReportTarget::Image(reference) => {
                self.images.repository_named(&self.images.repository_name(reference))
            }
            ReportTarget::Registry(_) => None,
        };
        if let Some(repository) = repository {
            report.tags = self.tags(repository, &selection, &visible);
            report.last_good = report
                .tags
                .iter()
                .find(|tag| !tag.asked && tag.running > 0 && tag.failing == 0)
                .map(|tag| tag.reference.clone());
        }
        report.registry = self.registry_for(&self.host_of(subject, repository), &visible, now);
        report
    }

    fn host_of(&self, subject: &ReportTarget, repository: Option<&Repository>) -> String {
        match (subject, repository) {
            (ReportTarget::Registry(host), _) => host.to_string(),
            (_, Some(repository)) => repository.name.split('/').next().unwrap_or_default().into(),
            (ReportTarget::Image(reference), None) => {
                let name = self.images.repository_name(reference);
                name.split('/').next().unwrap_or_default().to_owned()
            }
        }
    }

    fn select(&self, subject: &ReportTarget) -> Selection {
        let in_repository = |name: &str| -> Vec<Id> {
            self.images.repository_named(name).map(|found| found.images.clone()).unwrap_or_default()
        };
        match subject {
            ReportTarget::Image(reference) => {
                let found: Vec<Id> = self.images.find(reference).into_iter().collect();
                // A digest is asked for, whatever tag it was pulled by.
                match reference.digest().and_then(|d| self.digests.0.find(d.as_str())) {
                    Some(digest) => Selection {
                        images: in_repository(&self.images.repository_name(reference)),
                        digest: Some(digest),
                    },
                    None => Selection { images: found, digest: None },
                }
            }
            ReportTarget::Registry(host) => {
                let registry = self.images.find_registry(host);
                let images = self
                    .images
                    .iter()
                    .filter(|(id, _)| {
                        registry.is_some() && self.images.registry_of(*id) == registry
                    })
                    .map(|(id, _)| id)
                    .collect();
                Selection { images, digest: None }
            }
        }
    }

    /// Fills in scope and failure pattern.
    pub(super) fn walk(&self, selection: &Selection, visible: &Visible, report: &mut Report) {
        let mut tally = Tally::default();
        let mut seen = HashSet::new();
        for &id in &selection.images {
            let Some(image) = self.images.get(id) else { continue };
            for &slot in &image.pods {
                let Some(pod) = self.pods.get(slot) else { continue };
                if !visible.includes(pod.namespace) {
                    continue;
                }
                for container in pod.containers.as_slice() {
                    let wanted = container.image == id
                        && selection.digest.is_none_or(|digest| {
                            container.digest == digest || self.pins(image, digest)
                        });
                    if wanted && seen.insert((slot, id, container.place)) {
                        tally.add(self, pod, container);
                    }
                }
            }
        }
        tally.fill(self, report);
    }

    fn pins(&self, image: &Image, digest: Id) -> bool {
        match (image.reference.digest(), self.digests.get(digest)) {
            (Some(pinned), Some(digest)) => pinned == digest,
            _ => false,
        }
    }

    fn tags(
        &self,
        repository: &Repository,
        selection: &Selection,
        visible: &Visible,
    ) -> Vec<TagLine> {
        let mut lines: Vec<(Seconds, TagLine)> = repository
            .images
            .iter()
            .filter_map(|id| Some((*id, self.images.get(*id)?)))
            .filter_map(|(id, image)| self.tag_line(id, image, selection, visible))
            .collect();
        lines.sort_by(|(a, left), (b, right)| b.cmp(a).then(left.reference.cmp(&right.reference)));
        lines.truncate(MAX_LINES);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn tag_line(
        &self,
        id: Id,
        image: &Image,
        selection: &Selection,
        visible: &Visible,
    ) -> Option<(Seconds, TagLine)> {
        let (mut running, mut failing, mut newest) = (0, 0, 0);
        let mut any = false;
        for space in visible.namespaces(image) {
            any = true;
            running += space.running;
            failing += space.failing;
            newest = newest.max(space.newest);
        }
        // Whose pods are gone nobody knows any more: that is told to those only who may see all.
        let all = matches!(visible, Visible::All);
        let remembered = all && image.last_success() > 0;
        if !any && !remembered {
            return None;
        }
        let last = if all { image.last_success().max(newest) } else { newest };
        let (digests, in_use) = if all {
            let in_use = image.digests.iter().filter(|used| used.containers > 0).count();
            (image.digests.iter().map(|used| used.digest).collect::<BTreeSet<Id>>(), in_use)
        } else {
            let own = self.visible_containers(image, id, visible).map(|(digest, _)| digest);
            let own: BTreeSet<Id> = own.filter(|digest| *digest != NONE).collect();
            let in_use = own.len();
            (own, in_use)
        };
        let digests = digests.into_iter().filter_map(|digest| self.digests.get(digest));
        let digests: Vec<String> = digests.map(|digest| digest.as_str().to_owned()).collect();
        let line = TagLine {
            reference: image.reference.canonical(),
            tag: image.reference.tag().map(Into::into),
            asked: selection.images.contains(&id),
            running,
            failing,
            last_seen: (last > 0).then(|| timestamp(last)),
            differs: in_use > 1,
            digests,
        };
        Some((last, line))
    }

    /// A registry as a whole; with its numbers in the whole cluster where everything may be seen.
    pub(super) fn registry_for(
        &self,
        host: &str,
        visible: &Visible,
        now: Timestamp,
    ) -> RegistryReport {
        let mut health = self.health_for(host, visible, now);
        let host_name = crate::image::registry_of_host(host).to_owned();
        if matches!(visible, Visible::Some(_)) {
            // That others use it, and how they fare, is theirs.
            if health.healthy + health.failing == 0 {
                return RegistryReport { host: host_name, ..RegistryReport::default() };
            }
            health.main_cause = self.main_cause_within(host, visible, health.failing);
        }
        let mut report = RegistryReport { host: host_name, health, ..RegistryReport::default() };
        if let Some(score) = self.score.registry(host) {
            report.disagreements = score.disagreements;
            report.escapes_open_until = score.open_until(now);
        }
        let Some(id) = self.images.find_registry(host) else { return report };
        let Some(registry) = self.images.registry(id) else { return report };
        if let Some(trouble) = registry.trouble {
            report.trouble = Some(trouble.kind);
            report.trouble_since = Some(timestamp(trouble.since));
        }
        if !matches!(visible, Visible::All) {
            return report;
        }
        report.causes = sorted(&registry.causes);
        report.last_fresh_pull = (registry.pulled > 0).then(|| timestamp(registry.pulled));
        report.trend = registry.trend();
        if let Some(trouble) = registry.trouble
            && let Some((_, spread)) =
                self.spread(id).into_iter().find(|(kind, _)| *kind == trouble.kind)
        {
            report.repositories = spread.repositories;
            report.namespaces = spread.namespaces;
            report.nodes = spread.nodes;
        }
        report
    }

    /// The cause that more than half of the failing containers share, in namespaces that may be seen.
    fn main_cause_within(&self, host: &str, visible: &Visible, failing: u32) -> Option<Cause> {
        let registry = self.images.find_registry(host)?;
        let own = self.images.iter().filter(|(id, image)| {
            image.failing > 0 && self.images.registry_of(*id) == Some(registry)
        });
        let mut counts: BTreeMap<Cause, u32> = BTreeMap::new();
        for cause in own.flat_map(|(_, image)| &image.causes) {
            if visible.includes(cause.namespace) {
                *counts.entry(cause.cause).or_default() += cause.containers;
            }
        }
        let (cause, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (count * 2 > failing).then_some(cause)
    }

    pub(super) fn text(&self, name: Id) -> &str {
        self.names.get(name).map_or("", |name| &**name)
    }

    pub(super) fn pod_name(&self, pod: &PodRecord) -> String {
        use super::record::PodName;
        match pod.name {
            PodName::Whole(name) => self.text(name).to_owned(),
            PodName::Suffix(..) => {
                let owner = self.workloads.own(pod.workload).map_or("", |own| self.text(own.name));
                format!("{owner}-{}", pod.name.suffix())
            }
        }
    }

    fn top(&self, pod: &PodRecord) -> Option<Workload> {
        (pod.workload != NONE).then(|| self.workloads.top(pod.workload)).flatten()
    }
}

/// The most frequent first.
fn sorted(causes: &[(Cause, u32)]) -> Vec<(Cause, u32)> {
    let mut causes = causes.to_vec();
    causes.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    causes
}

/// What is counted while walking over containers.
#[derive(Default)]
struct Tally {
    scope: Scope,
    pods: HashSet<Uid>,
    workloads: BTreeMap<Workload, WorkloadCount>,
    bare: BTreeMap<Uid, (Id, String, WorkloadCount)>,
    namespaces: BTreeMap<Id, u32>,
    nodes: BTreeSet<Id>,
    causes: BTreeMap<Cause, CauseCount>,
    /// The first of them by name: the same whatever order they came in.
    failing_pods: BTreeSet<String>,
    since: Seconds,
}

#[derive(Default, Clone, Copy)]
struct WorkloadCount {
    containers: u32,
    running: u32,
    failing: u32,
}

#[derive(Default)]
struct CauseCount {
    containers: u32,
    since: Seconds,
    workloads: BTreeSet<Workload>,
}

impl Tally {
    fn add(&mut self, index: &HealthIndex, pod: &PodRecord, container: &ContainerRecord) {
        if self.pods.insert(pod.uid) {
            *self.namespaces.entry(pod.namespace).or_default() += 1;
            if pod.node != NONE {
                self.nodes.insert(pod.node);
            }
        }
        let top = index.top(pod);
        let count = if let Some(top) = top {
            self.workloads.entry(top).or_default()
        } else {
            let bare = || (pod.namespace, index.pod_name(pod), WorkloadCount::default());
            &mut self.bare.entry(pod.uid).or_insert_with(bare).2
        };
        count.containers += 1;
        match container.state {
            State::Running => {
                self.scope.running += 1;
                count.running += 1;
            }
            State::Crashing => self.scope.crashing += 1,
            State::Waiting => self.scope.waiting += 1,
            State::Done => self.scope.done += 1,
            State::Failing => {
                self.scope.failing += 1;
                count.failing += 1;
                self.since = earlier(self.since, container.at);
                let name = index.pod_name(pod);
                self.failing_pods.insert(format!("{}/{name}", index.text(pod.namespace)));
                if self.failing_pods.len() > MAX_PODS {
                    self.failing_pods.pop_last();
                }
            }
        }
        if let Some(cause) = container.cause() {
            let entry = self.causes.entry(cause).or_default();
            entry.containers += 1;
            entry.since = earlier(entry.since, container.at);
            entry.workloads.extend(top);
        }
    }

    /// A line for each workload and each pod of none, the worst first.
    fn workload_lines(&self, index: &HealthIndex) -> Vec<WorkloadLine> {
        let line = |kind: &str, namespace, name: &str, count: &WorkloadCount| WorkloadLine {
            kind: kind.to_owned(),
            namespace: index.text(namespace).to_owned(),
            name: name.to_owned(),
            containers: count.containers,
            running: count.running,
            failing: count.failing,
        };
        let owned = self.workloads.iter().map(|(workload, count)| {
            line(index.text(workload.kind), workload.namespace, index.text(workload.name), count)
        });
        let bare = self.bare.values();
        let bare = bare.map(|(namespace, name, count)| line("Pod", *namespace, name, count));
        let mut lines: Vec<WorkloadLine> = owned.chain(bare).collect();
        lines.sort_by(|a, b| {
            let worst = (b.failing, b.containers).cmp(&(a.failing, a.containers));
            worst.then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
        });
        lines
    }

    fn fill(self, index: &HealthIndex, report: &mut Report) {
        let workloads = self.workload_lines(index);
        let mut namespaces: Vec<NamedCount> = self
            .namespaces
            .iter()
            .map(|(id, pods)| NamedCount { name: index.text(*id).to_owned(), pods: *pods })
            .collect();
        namespaces.sort_by(|a, b| b.pods.cmp(&a.pods).then_with(|| a.name.cmp(&b.name)));
        let spread = match (workloads.len(), namespaces.len()) {
            (0, _) => Spread::Nowhere,
            (1, _) => Spread::OneWorkload,
            (_, 1) => Spread::OneNamespace,
            _ => Spread::Widespread,
        };
        let mut lines: Vec<CauseLine> = self
            .causes
            .into_iter()
            .map(|(cause, count)| CauseLine {
                cause,
                containers: count.containers,
                workloads: count.workloads.len(),
                since: (count.since > 0).then(|| timestamp(count.since)),
            })
            .collect();
        lines.sort_by(|a, b| b.containers.cmp(&a.containers).then(a.cause.cmp(&b.cause)));
        report.failures = FailurePattern {
            consistent: lines.len() == 1,
            causes: lines,
            since: (self.since > 0).then(|| timestamp(self.since)),
            pods: self.failing_pods.into_iter().collect(),
        };
        report.scope = Scope {
            pods: u32::try_from(self.pods.len()).unwrap_or(u32::MAX),
            spread,
            nodes: u32::try_from(self.nodes.len()).unwrap_or(u32::MAX),
            more_workloads: workloads.len().saturating_sub(MAX_LINES),
            workloads: workloads.into_iter().take(MAX_LINES).collect(),
            namespaces: namespaces.into_iter().take(MAX_LINES).collect(),
            ..self.scope
        };
    }
}

/// The earlier of two times, of which zero is none.
fn earlier(a: Seconds, b: Seconds) -> Seconds {
    match (a, b) {
        (0, time) | (time, 0) => time,
        (a, b) => a.min(b),
    }
}
