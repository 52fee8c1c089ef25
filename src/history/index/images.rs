//! What is known of each image: who runs it now, who fails with it, and what is remembered.
//!
//! Images stand in repositories and these in registries; a repository has one entry whatever
//! names it is pulled by (Docker Hub's aliases, a mirror that rewrites names).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::interner::{Id, LONGEST, NONE};
use super::pull_times::PullTimes;
use super::record::{ContainerRecord, Seconds, State};
use super::registries::Registry;
use super::retention::DeletedWorkload;
use crate::image::{ImageReference, registry_of_host};
use crate::pull::Cause;

/// Most digests that are remembered of a tag.
const MAX_DIGESTS: usize = 8;

/// Names under which the same content is served: what starts with `from` is what starts with `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The mirror's prefix, such as `mirror.example/hub/`.
    pub from: Box<str>,
    /// What it stands for, such as `docker.io/`.
    pub to: Box<str>,
}

/// The containers of one image in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ImageNamespace {
    pub(super) namespace: Id,
    pub(super) running: u32,
    pub(super) failing: u32,
    /// Neither running nor failing.
    pub(super) others: u32,
    /// When one was last started, gone ones included.
    pub(super) newest: Seconds,
}

/// Why containers of an image fail in one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NamespaceCause {
    pub(super) namespace: Id,
    pub(super) cause: Cause,
    pub(super) containers: u32,
}

/// A digest that an image was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DigestUse {
    pub(super) digest: Id,
    /// Containers that run or ran with it now.
    pub(super) containers: u32,
    pub(super) last: Seconds,
}

/// What is known of one image.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) reference: ImageReference,
    pub(super) repository: Id,
    /// Pods with it, once for each of their containers.
    pub(super) pods: Vec<u32>,
    pub(super) namespaces: Vec<ImageNamespace>,
    /// Why the failing ones fail; apart, since few fail.
    pub(super) causes: Vec<NamespaceCause>,
    pub(super) digests: Vec<DigestUse>,
    pub(super) running: u32,
    pub(super) failing: u32,
    /// When a node last started it.
    pub(super) started: Seconds,
    /// When a node last pulled it freshly.
    pub(super) pulled: Seconds,
    /// When an event last said that a node has it, of a pod that did not show it (any more).
    pub(super) claimed: Seconds,
    /// The digest at the last start.
    pub(super) started_digest: Id,
    /// When it was last seen to fail, and why.
    pub(super) failed: Option<(Seconds, Cause)>,
    /// When anything was last heard of it.
    pub(super) heard: Seconds,
    /// Whose pods had it and are gone.
    pub(super) gone: Vec<DeletedWorkload>,
    /// How long pulls of it took, if any event said so.
    pub(super) times: Option<Box<PullTimes>>,
}

/// What is known of a repository.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    /// Host and path, aliases resolved.
    pub(super) name: Arc<str>,
    pub(super) registry: Id,
    pub(super) images: Vec<Id>,
}

/// All images, repositories and registries.
#[derive(Debug, Clone, Default)]
pub(super) struct Images {
    /// By every text that was seen for it, the canonical one included.
    by_text: HashMap<Arc<str>, Id>,
    entries: Vec<Option<Image>>,
    free: Vec<Id>,
    repositories: Vec<Option<Repository>>,
    free_repositories: Vec<Id>,
    by_repository: HashMap<Arc<str>, Id>,
    registries: Vec<Registry>,
    free_registries: Vec<Id>,
    by_host: HashMap<Arc<str>, Id>,
    rewrites: Vec<Rewrite>,
}

fn id(length: usize) -> Id {
    Id::try_from(length).unwrap_or(NONE)
}

impl Images {
    pub(super) fn with_rewrites(rewrites: Vec<Rewrite>) -> Self {
        Self { rewrites, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn get(&self, image: Id) -> Option<&Image> {
        self.entries.get(image as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, image: Id) -> Option<&mut Image> {
        self.entries.get_mut(image as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &Image)> {
        self.entries.iter().enumerate().filter_map(|(at, image)| Some((id(at), image.as_ref()?)))
    }

    pub(super) fn repository(&self, repository: Id) -> Option<&Repository> {
        self.repositories.get(repository as usize)?.as_ref()
    }

    pub(super) fn registry(&self, registry: Id) -> Option<&Registry> {
        self.registries.get(registry as usize)
    }

    pub(super) fn registry_mut(&mut self, registry: Id) -> Option<&mut Registry> {
        self.registries.get_mut(registry as usize)
    }

    pub(super) fn registries(&self) -> impl Iterator<Item = (Id, &Registry)> {
        self.registries.iter().enumerate().map(|(at, registry)| (id(at), registry))
    }

    /// The registry of an image.
    pub(super) fn registry_of(&self, image: Id) -> Option<Id> {
        Some(self.repository(self.get(image)?.repository)?.registry)
    }

    /// The registry of an image, and the image's repository there.
    pub(super) fn owners_of(&mut self, image: Id) -> Option<(&mut Registry, Id)> {
        let repository = self.get(image)?.repository;
        let registry = self.repository(repository)?.registry;
        Some((self.registry_mut(registry)?, repository))
    }

    /// A repository by its name, with its registry.
    pub(super) fn find_repository(&mut self, name: &str) -> Option<(&mut Registry, Id)> {
        let repository = *self.by_repository.get(name)?;
        let registry = self.repository(repository)?.registry;
        Some((self.registry_mut(registry)?, repository))
    }

    /// An image that is known already.
    pub(super) fn find(&self, reference: &ImageReference) -> Option<Id> {
        self.by_text.get(reference.canonical().as_str()).copied()
    }

    /// An image by a text that was seen for it.
    pub(super) fn find_text(&self, text: &str) -> Option<Id> {
        self.by_text.get(text).copied()
    }

    /// The repository with this name, as [`Self::repository_name`] gives it.
    pub(super) fn repository_named(&self, name: &str) -> Option<&Repository> {
        self.repository(*self.by_repository.get(name)?)
    }

    /// The names of a registry's repositories.
    pub(super) fn repositories_of(&self, registry: Id) -> Vec<Arc<str>> {
        let all = self.repositories.iter().flatten();
        all.filter(|entry| entry.registry == registry).map(|entry| entry.name.clone()).collect()
    }

    /// The registry with this host, if any image of it is known.
    pub(super) fn find_registry(&self, host: &str) -> Option<Id> {
        self.by_host.get(registry_of_host(host)).copied()
    }

    /// `host/path` with aliases and rewrites resolved.
    pub(super) fn repository_name<'r>(&self, reference: &'r ImageReference) -> Cow<'r, str> {
        let (name, host) = (reference.name(), reference.host());
        for rewrite in &self.rewrites {
            if let Some(rest) = name.strip_prefix(&*rewrite.from) {
                return format!("{}{rest}", rewrite.to).into();
            }
        }
        match registry_of_host(host) {
            registry if registry == host => name.into(),
            registry => format!("{registry}/{}", reference.repository()).into(),
        }
    }

    /// The image of a container, as it is written; nothing if no runtime parses it.
    pub(super) fn intern(&mut self, written: &str, now: Seconds) -> Id {
        if let Some(&image) = self.by_text.get(written) {
            return image;
        }
        if written.len() > LONGEST {
            return NONE;
        }
        let Ok(reference) = ImageReference::parse(written) else { return NONE };
        let image = self.intern_reference(&reference, now);
        if !self.by_text.contains_key(written) {
            self.by_text.insert(written.into(), image);
        }
        image
    }

    /// The image with this reference.
    pub(super) fn intern_reference(&mut self, reference: &ImageReference, now: Seconds) -> Id {
        let canonical = reference.canonical();
        if let Some(&image) = self.by_text.get(canonical.as_str()) {
            return image;
        }
        let repository = self.intern_repository(reference);
        let image = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            id(self.entries.len() - 1)
        });
        if let Some(place) = self.entries.get_mut(image as usize) {
            *place = Some(Image {
                reference: reference.clone(),
                repository,
                pods: Vec::new(),
                namespaces: Vec::new(),
                causes: Vec::new(),
                digests: Vec::new(),
                running: 0,
                failing: 0,
                started: 0,
                pulled: 0,
                claimed: 0,
                started_digest: NONE,
                failed: None,
                times: None,
                heard: now,
                gone: Vec::new(),
            });
        }
        if let Some(Some(entry)) = self.repositories.get_mut(repository as usize) {
            entry.images.push(image);
        }
        self.by_text.insert(canonical.into(), image);
        image
    }

    fn intern_repository(&mut self, reference: &ImageReference) -> Id {
        let name = self.repository_name(reference);
        if let Some(&repository) = self.by_repository.get(&*name) {
            return repository;
        }
        let registry = self.intern_registry(name.split('/').next().unwrap_or_default());
        if let Some(registry) = self.registry_mut(registry) {
            registry.repositories += 1;
        }
        let name: Arc<str> = name.into();
        let entry = Repository { name: name.clone(), registry, images: Vec::new() };
        let repository = if let Some(free) = self.free_repositories.pop() {
            self.repositories[free as usize] = Some(entry);
            free
        } else {
            self.repositories.push(Some(entry));
            id(self.repositories.len() - 1)
        };
        self.by_repository.insert(name, repository);
        repository
    }

    /// The registry with this host.
    fn intern_registry(&mut self, host: &str) -> Id {
        let host = registry_of_host(host);
        if let Some(&registry) = self.by_host.get(host) {
            return registry;
        }
        let host: Arc<str> = host.into();
        let entry = Registry::new(host.clone());
        let registry = if let Some(free) = self.free_registries.pop() {
            self.registries[free as usize] = entry;
            free
        } else {
            self.registries.push(entry);
            id(self.registries.len() - 1)
        };
        self.by_host.insert(host, registry);
        registry
    }

    /// Forgets images; none of them may have pods.
    pub(super) fn forget(&mut self, gone: &[Id]) {
        if gone.is_empty() {
            return;
        }
        let mut dropped = vec![false; self.entries.len()];
        for &image in gone {
            let Some(entry) = self.entries.get_mut(image as usize).and_then(Option::take) else {
                continue;
            };
            dropped[image as usize] = true;
            self.free.push(image);
            if let Some(Some(repository)) = self.repositories.get_mut(entry.repository as usize) {
                repository.images.retain(|other| *other != image);
                if repository.images.is_empty() {
                    let (name, registry) = (repository.name.clone(), repository.registry);
                    self.by_repository.remove(&name);
                    self.repositories[entry.repository as usize] = None;
                    self.free_repositories.push(entry.repository);
                    self.leave_registry(registry, entry.repository);
                }
            }
        }
        self.by_text.retain(|_, image| !dropped.get(*image as usize).copied().unwrap_or(false));
    }
}

impl Images {
    /// A repository of this registry is gone.
    fn leave_registry(&mut self, registry: Id, repository: Id) {
        let Some(entry) = self.registries.get_mut(registry as usize) else { return };
        entry.secretless.forget(repository);
        entry.repositories = entry.repositories.saturating_sub(1);
        if entry.repositories == 0 {
            let host = entry.host.clone();
            self.by_host.remove(&host);
            *entry = Registry::new(host);
            self.free_registries.push(registry);
        }
    }
}

impl Image {
    /// Notes one more pod. Room grows by a quarter: there is one such entry for every container of the
    /// cluster.
    pub(super) fn push_pod(&mut self, slot: u32) {
        if self.pods.len() == self.pods.capacity() {
            self.pods.reserve_exact(4 + self.pods.len() / 4);
        }
        self.pods.push(slot);
    }

    /// The entry of a namespace.
    fn space(&mut self, namespace: Id) -> &mut ImageNamespace {
        let at = self.namespaces.iter().position(|space| space.namespace == namespace);
        let at = at.unwrap_or_else(|| {
            self.namespaces.push(ImageNamespace { namespace, ..ImageNamespace::default() });
            self.namespaces.len() - 1
        });
        &mut self.namespaces[at]
    }

    /// Counts a container in.
    pub(super) fn add(&mut self, namespace: Id, container: &ContainerRecord) {
        let cause = container.cause();
        match container.state {
            State::Running => self.running += 1,
            State::Failing => self.failing += 1,
            _ => {}
        }
        let space = self.space(namespace);
        match container.state {
            State::Running => space.running += 1,
            State::Failing => space.failing += 1,
            _ => space.others += 1,
        }
        if container.state == State::Running {
            space.newest = space.newest.max(container.at);
        }
        if let Some(cause) = cause {
            let same =
                |known: &&mut NamespaceCause| known.namespace == namespace && known.cause == cause;
            match self.causes.iter_mut().find(same) {
                Some(known) => known.containers += 1,
                None => self.causes.push(NamespaceCause { namespace, cause, containers: 1 }),
            }
        }
        if container.digest != NONE {
            self.use_digest(container.digest, container.at, true);
        }
    }

    /// Counts a container out.
    pub(super) fn subtract(&mut self, namespace: Id, container: &ContainerRecord) {
        match container.state {
            State::Running => self.running = self.running.saturating_sub(1),
            State::Failing => self.failing = self.failing.saturating_sub(1),
            _ => {}
        }
        if let Some(at) = self.namespaces.iter().position(|space| space.namespace == namespace) {
            let space = &mut self.namespaces[at];
            let count = match container.state {
                State::Running => &mut space.running,
                State::Failing => &mut space.failing,
                _ => &mut space.others,
            };
            *count = count.saturating_sub(1);
            if space.running + space.failing + space.others == 0 {
                self.namespaces.swap_remove(at);
            }
        }
        if let Some(cause) = container.cause() {
            let same =
                |known: &NamespaceCause| known.namespace == namespace && known.cause == cause;
            if let Some(at) = self.causes.iter().position(same) {
                self.causes[at].containers -= 1;
                if self.causes[at].containers == 0 {
                    self.causes.swap_remove(at);
                }
            }
        }
        if container.digest != NONE
            && let Some(used) = self.digests.iter_mut().find(|used| used.digest == container.digest)
        {
            used.containers = used.containers.saturating_sub(1);
        }
    }

    /// Remembers a digest, in use or only seen.
    pub(super) fn use_digest(&mut self, digest: Id, at: Seconds, in_use: bool) {
        if let Some(used) = self.digests.iter_mut().find(|used| used.digest == digest) {
            used.containers += u32::from(in_use);
            used.last = used.last.max(at);
            return;
        }
        if self.digests.len() >= MAX_DIGESTS {
            let oldest = self
                .digests
                .iter()
                .enumerate()
                .filter(|(_, used)| used.containers == 0)
                .min_by_key(|(_, used)| used.last)
                .map(|(at, _)| at);
            match oldest {
                Some(oldest) => {
                    self.digests.swap_remove(oldest);
                }
                None if !in_use => return,
                None => {}
            }
        }
        self.digests.push(DigestUse { digest, containers: u32::from(in_use), last: at });
    }

    /// The digest that all containers with a known one share, or that the last start had.
    pub(super) fn common_digest(&self) -> Option<Id> {
        let mut used = self.digests.iter().filter(|used| used.containers > 0);
        match (used.next(), used.next()) {
            (Some(one), None) => Some(one.digest),
            (None, _) => (self.started_digest != NONE).then_some(self.started_digest),
            _ => None,
        }
    }

    /// How many different images containers have now under this name.
    pub(super) fn contents_in_use(&self) -> usize {
        self.digests.iter().filter(|used| used.containers > 0).count()
    }

    /// When a node last started or pulled it; zero if never.
    pub(super) fn last_success(&self) -> Seconds {
        self.started.max(self.pulled)
    }
}
