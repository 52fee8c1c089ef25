//! What a review asks: the few facts about one image, its repository and its registry.

use std::cmp::Reverse;
use std::collections::HashSet;

use jiff::Timestamp;

use super::HealthIndex;
use super::events::LISTED_WITHIN;
use super::images::{Image, ImageNamespace};
use super::interner::Visible;
use super::interner::{Id, NONE};
use super::record::{ContainerRecord, Seconds, State, seconds, timestamp};
use super::registries::Registry;
use crate::history::facts::{
    Freshness, History, HistoryQuestion, KnownTag, RegistryHealth, Success,
};
use crate::image::{Digest, ImageReference};
use crate::pull::{Cause, NodeLogin};

/// Images of a repository that are looked at for one answer.
pub(super) const MAX_LOOKED_AT: usize = 512;
/// Pods of an image that are looked at to find out whose they are.
pub(super) const MAX_PODS: usize = 2048;
/// Most other tags in one answer.
const MAX_TAGS: usize = 32;
/// A start this long after a fresh pull, in seconds, is still that pull's.
const PULL_TO_START: Seconds = 600;

impl HealthIndex {
    /// What is known of an image, at once. While the index is learning or stale the answer holds
    /// that and nothing else: silence is not health.
    pub fn history(&self, question: &HistoryQuestion<'_>, now: Timestamp) -> History {
        let mut history = History { freshness: self.freshness, ..History::default() };
        if self.freshness != Freshness::Current {
            return history;
        }
        let visible = Visible::new(self, question.visibility);
        let found = self.images.find(question.reference);
        let image = found.and_then(|image| self.images.get(image));
        if let (Some(id), Some(image)) = (found, image) {
            history.last_success = self.success(image);
            let lately = seconds(now).saturating_sub(LISTED_WITHIN);
            history.claimed_lately = image.claimed > 0 && image.claimed >= lately;
            if !visible.is_empty() {
                history.failures = failures(image, &visible);
            }
            if !history.failures.is_empty() {
                history.failing_workloads = self.failing_workloads(id, &visible);
            }
            if matches!(visible, Visible::All) {
                history.contents = image.contents_in_use();
            }
        }
        // An image that is known leads to its repository without a name.
        let known = image.and_then(|image| self.images.repository(image.repository));
        if let Some(repository) = known.or_else(|| {
            self.images.repository_named(&self.images.repository_name(question.reference))
        }) {
            let under_others = self.success_by_digest(&repository.images, question.reference);
            history.last_success = later(history.last_success.take(), under_others);
            let namespace = self.names.find(question.namespace);
            history.known_tags = self.known_tags(&repository.images, &visible, namespace);
            if let Some(registry) = self.images.registry(repository.registry) {
                history.registry = self.health_of(registry, &visible, now);
                history.registry.node_login = self.node_login(registry, question.namespace, now);
                history.registry.escapes_reopened |=
                    self.score.escapes_reopened_for(&registry.host, question.namespace, now);
                return history;
            }
        }
        let name = self.images.repository_name(question.reference);
        let host = name.split('/').next().unwrap_or_default();
        history.registry = self.health_for(host, &visible, now);
        let known = self.images.find_registry(host).and_then(|id| self.images.registry(id));
        history.registry.node_login = known
            .map(|registry| self.node_login(registry, question.namespace, now))
            .unwrap_or_default();
        history.registry.escapes_reopened |=
            self.score.escapes_reopened_for(host, question.namespace, now);
        history
    }

    /// Images with the same last name under other repositories or registries that run, in
    /// namespaces that the user may see; the most recently started first. It looks at every image:
    /// for the rare question what to use instead.
    pub fn namesakes(&self, question: &HistoryQuestion<'_>) -> Vec<KnownTag> {
        if self.freshness != Freshness::Current {
            return Vec::new();
        }
        let visible = Visible::new(self, question.visibility);
        let namespace = self.names.find(question.namespace);
        let wanted = question.reference;
        let alike = |image: &Image| {
            image.running > 0
                && last_name(&image.reference) == last_name(wanted)
                && image.reference.name() != wanted.name()
        };
        let tags = self
            .images
            .iter()
            .filter(|(_, image)| alike(image))
            .filter_map(|(id, image)| self.known_tag(id, image, &visible, namespace));
        latest(tags)
    }

    /// The repositories of the wanted image's registry of which something runs, in namespaces that
    /// the user may see.
    pub fn repositories_beside(&self, question: &HistoryQuestion<'_>) -> Vec<Box<str>> {
        if self.freshness != Freshness::Current {
            return Vec::new();
        }
        let visible = Visible::new(self, question.visibility);
        let host = question.reference.host();
        let mut found: Vec<Box<str>> = self
            .images
            .iter()
            .map(|(_, image)| image)
            .filter(|image| image.running > 0 && image.reference.host() == host)
            .filter(|image| visible.namespaces(image).any(|space| space.running > 0))
            .map(|image| image.reference.repository().into())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// How many workloads, or pods without one, cannot get this image.
    fn failing_workloads(&self, id: Id, visible: &Visible) -> u32 {
        let Some(image) = self.images.get(id) else { return 0 };
        let mut workloads = HashSet::new();
        let mut alone = 0;
        let pods = image.pods.iter().filter_map(|slot| self.pods.get(*slot));
        for pod in pods.filter(|pod| visible.includes(pod.namespace)).take(MAX_PODS) {
            let fails = |container: &ContainerRecord| {
                container.state == State::Failing && container.image == id
            };
            if !pod.containers.as_slice().iter().any(fails) {
                continue;
            }
            match self.workloads.top(pod.workload) {
                Some(workload) => {
                    workloads.insert(workload);
                }
                None => alone += 1,
            }
        }
        u32::try_from(workloads.len()).unwrap_or(u32::MAX).saturating_add(alone)
    }

    /// The namespaces with pods of these images, then of their repositories and registries; at
    /// most so many, the likeliest to matter first.
    pub fn namespaces_of(&self, images: &[ImageReference], most: usize) -> Vec<Box<str>> {
        let mut found: Vec<Id> = Vec::new();
        let mut add = |mut near: Vec<(Reverse<u32>, &str, Id)>| {
            near.sort_unstable();
            for (_, _, namespace) in near {
                if found.len() < most && !found.contains(&namespace) {
                    found.push(namespace);
                }
            }
        };
        let of_image = |image: &Image| -> Vec<(Reverse<u32>, &str, Id)> {
            let spaces = image.namespaces.iter();
            spaces
                .map(|space| {
                    let pods = space.failing + space.running;
                    (Reverse(pods), self.text(space.namespace), space.namespace)
                })
                .collect()
        };
        let known = |image: &ImageReference| self.images.get(self.images.find(image)?);
        for image in images.iter().filter_map(known) {
            add(of_image(image));
        }
        for name in images.iter().map(|image| self.images.repository_name(image)) {
            let Some(repository) = self.images.repository_named(&name) else { continue };
            let ids = repository.images.iter().rev().take(MAX_LOOKED_AT);
            add(ids.filter_map(|id| self.images.get(*id)).flat_map(of_image).collect());
            if let Some(registry) = self.images.registry(repository.registry) {
                let spaces = registry.namespaces.iter();
                add(spaces.map(|(id, (h, f))| (Reverse(h + f), self.text(*id), *id)).collect());
            }
        }
        found.into_iter().map(|namespace| self.text(namespace).into()).collect()
    }

    fn success(&self, image: &Image) -> Option<Success> {
        let at = image.last_success();
        (at > 0).then(|| Success {
            at: timestamp(at),
            digest: self.digests.get(image.started_digest).cloned(),
            pulled: image.pulled > 0 && image.pulled.saturating_add(PULL_TO_START) >= at,
        })
    }

    /// The last start of this very digest under any name of its repository: a node that pulled it
    /// by a tag has it by its digest too.
    fn success_by_digest(&self, images: &[Id], wanted: &ImageReference) -> Option<Success> {
        let digest = wanted.digest()?;
        let id = self.digests.0.find(digest.as_str())?;
        let images = images.iter().filter_map(|image| self.images.get(*image));
        let last = images
            .flat_map(|image| &image.digests)
            .filter(|used| used.digest == id)
            .map(|used| used.last)
            .max()?;
        let at = timestamp(last);
        Some(Success { at, digest: Some(digest.clone()), pulled: false })
    }

    fn known_tags(&self, images: &[Id], visible: &Visible, namespace: Option<Id>) -> Vec<KnownTag> {
        // Most questions are asked for nobody's eyes, and a repository may have thousands of images.
        if visible.is_empty() {
            return Vec::new();
        }
        let tags = images
            .iter()
            .rev()
            .filter_map(|image| Some((*image, self.images.get(*image)?)))
            .filter(|(_, image)| image.running > 0)
            .filter_map(|(id, image)| self.known_tag(id, image, visible, namespace));
        latest(tags)
    }

    fn known_tag(
        &self,
        id: Id,
        image: &Image,
        visible: &Visible,
        namespace: Option<Id>,
    ) -> Option<KnownTag> {
        let (mut pods, mut newest, mut in_namespace) = (0, 0, false);
        for space in visible.namespaces(image).filter(|space| space.running > 0) {
            pods += space.running;
            newest = newest.max(space.newest);
            in_namespace |= Some(space.namespace) == namespace;
        }
        (pods > 0).then(|| KnownTag {
            reference: image.reference.clone(),
            pods,
            in_namespace,
            last_started: timestamp(newest),
            digest: self.digest_in(id, image, visible).cloned(),
        })
    }

    /// The digest that all containers of these namespaces share.
    fn digest_in(&self, id: Id, image: &Image, visible: &Visible) -> Option<&Digest> {
        let digest = match visible {
            Visible::All => image.common_digest(),
            Visible::Some(_) => {
                let mut known =
                    self.visible_containers(image, id, visible).map(|(digest, _)| digest);
                let mut known = known.by_ref().filter(|digest| *digest != NONE);
                let first = known.next();
                first.filter(|first| known.all(|other| other == *first))
            }
        };
        self.digests.get(digest?)
    }

    /// Which of these runs here, given as part of a repository's path with a name for it.
    pub(crate) fn running_programs(
        &self,
        programs: &[(&'static str, &'static str)],
    ) -> Vec<&'static str> {
        let runs = |part: &str| {
            let running = self.images.iter().filter(|(_, image)| image.running > 0);
            running.into_iter().any(|(_, image)| image.reference.repository().contains(part))
        };
        programs.iter().filter(|(part, _)| runs(part)).map(|(_, name)| *name).collect()
    }

    /// How a registry is doing in the whole cluster; all zero for one that nobody uses.
    pub fn registry_health(&self, host: &str, now: Timestamp) -> RegistryHealth {
        self.health_for(host, &Visible::All, now)
    }

    /// The same with counts of namespaces that the user may see only; what is said of the registry
    /// itself tells nothing of anybody in particular and is bound by nobody's rights.
    pub(super) fn health_for(
        &self,
        host: &str,
        visible: &Visible,
        now: Timestamp,
    ) -> RegistryHealth {
        let known = self.images.find_registry(host);
        match known.and_then(|registry| self.images.registry(registry)) {
            Some(registry) => self.health_of(registry, visible, now),
            None => RegistryHealth {
                escapes_reopened: self.score.escapes_reopened(host, now),
                ..RegistryHealth::default()
            },
        }
    }

    /// Whether nodes log in to a registry by themselves, as far as it counts for this namespace.
    fn node_login(&self, registry: &Registry, namespace: &str, now: Timestamp) -> NodeLogin {
        registry.secretless.show(Some(namespace), self.retention(), seconds(now))
    }

    fn health_of(&self, registry: &Registry, visible: &Visible, now: Timestamp) -> RegistryHealth {
        let (healthy, failing) = match visible {
            Visible::All => (registry.healthy, registry.failing),
            Visible::Some(ids) => ids
                .iter()
                .filter_map(|id| registry.namespaces.get(id))
                .fold((0, 0), |sum, space| (sum.0 + space.0, sum.1 + space.1)),
        };
        RegistryHealth {
            healthy,
            failing,
            main_cause: registry.main_cause(),
            recent_pulls: registry.recent_pulls(seconds(now)),
            in_trouble: registry.trouble.is_some(),
            node_login: registry.secretless.show(None, self.retention(), seconds(now)),
            escapes_reopened: self.score.escapes_reopened(&registry.host, now),
        }
    }
}

fn later(one: Option<Success>, other: Option<Success>) -> Option<Success> {
    match (one, other) {
        (Some(one), Some(other)) if other.at > one.at => Some(other),
        (one, other) => one.or(other),
    }
}

/// The last part of a repository: what an image is called, wherever it is kept.
fn last_name(reference: &ImageReference) -> &str {
    reference.repository().rsplit('/').next().unwrap_or_default()
}

/// Why pods of this image fail, in namespaces that the user may see; the most frequent first.
pub(super) fn failures(image: &Image, visible: &Visible) -> Vec<(Cause, u32)> {
    let mut causes: Vec<(Cause, u32)> = Vec::new();
    for known in image.causes.iter().filter(|known| visible.includes(known.namespace)) {
        match causes.iter_mut().find(|(cause, _)| *cause == known.cause) {
            Some((_, total)) => *total += known.containers,
            None => causes.push((known.cause, known.containers)),
        }
    }
    causes.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    causes
}

impl Visible {
    /// The namespaces of an image that the user may see.
    pub(super) fn namespaces<'i>(
        &'i self,
        image: &'i Image,
    ) -> impl Iterator<Item = &'i ImageNamespace> {
        image.namespaces.iter().filter(|space| self.includes(space.namespace))
    }
}

/// Those that were started last, of so many at most that are looked at.
fn latest(tags: impl Iterator<Item = KnownTag>) -> Vec<KnownTag> {
    let mut tags: Vec<KnownTag> = tags.take(MAX_LOOKED_AT).collect();
    tags.sort_by(|a, b| b.last_started.cmp(&a.last_started).then(b.pods.cmp(&a.pods)));
    tags.truncate(MAX_TAGS);
    tags
}
