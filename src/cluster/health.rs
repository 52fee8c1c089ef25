//! What a review asks of what was observed here.

use std::collections::HashSet;

use super::{
    Cluster, Freshness, HealthSource, History, HistoryQuestion, ImageReference, KnownTag,
    ObjectRef, PodVerdicts, PullForecast, RememberedHistory, ReportTarget, SeenPod, Timestamp,
    Visibility, VisibleHistory,
};
use crate::history::RunningDigest;
use crate::image::Digest;

impl HealthSource for Cluster {
    fn freshness(&self) -> Freshness {
        self.freshness_now()()
    }

    fn history(&self, question: &HistoryQuestion<'_>, now: Timestamp) -> History {
        self.index(|index| index.history(question, now))
    }

    fn visible_history(
        &self,
        question: &HistoryQuestion<'_>,
        listed: &[&str],
        now: Timestamp,
    ) -> VisibleHistory {
        self.index(|index| index.visible_history(question, listed, now))
    }

    fn namesakes(&self, question: &HistoryQuestion<'_>, _: Timestamp) -> Vec<KnownTag> {
        self.index(|index| index.namesakes(question))
    }

    fn repositories_beside(&self, question: &HistoryQuestion<'_>) -> Vec<Box<str>> {
        self.index(|index| index.repositories_beside(question))
    }

    fn runs_from(&self, host: &str, now: Timestamp) -> bool {
        self.memory.lock().index.registry_health(host, now).healthy > 0
    }

    fn registry_fails_on_nodes(&self, host: &str, now: Timestamp) -> bool {
        let health = self.memory.lock().index.registry_health(host, now);
        health.unreachable_from_nodes().is_some()
    }

    fn pull_forecast(
        &self,
        image: &ImageReference,
        compressed_bytes: Option<u64>,
    ) -> Option<PullForecast> {
        self.index(|index| index.pull_forecast(image, compressed_bytes))
    }

    fn memory(
        &self,
        subject: &ReportTarget,
        visibility: &Visibility,
        now: Timestamp,
    ) -> Option<RememberedHistory> {
        RememberedHistory::of(&self.index(|index| index.report(subject, visibility, now)))
    }

    fn namespaces_of(&self, images: &[ImageReference], most: usize) -> Vec<Box<str>> {
        self.memory.lock().index.namespaces_of(images, most)
    }

    fn pull_secrets_in_use(&self, namespace: &str) -> Vec<Box<str>> {
        self.memory.lock().index.pull_secrets_in_use(namespace)
    }

    fn created(&self, kind: &str, uid: &str) -> Option<Timestamp> {
        self.memory.lock().index.owner_created(kind, uid)
    }

    fn first_seen(&self, pod: SeenPod<'_>, now: Timestamp) -> Option<Timestamp> {
        self.seen_pods.first(pod, now)
    }

    fn note_seen(&self, pod: SeenPod<'_>, now: Timestamp) {
        self.seen_pods.note(pod, now);
    }

    fn remember(&self, given: PodVerdicts<'_>, now: Timestamp) {
        self.memory.lock().index.score_mut().remember(given, now);
    }

    fn other_digests(
        &self,
        image: &ImageReference,
        visibility: &Visibility,
        than: Option<&Digest>,
    ) -> Vec<RunningDigest> {
        self.index(|index| index.other_digests(image, visibility, than))
    }

    fn nodes_running(
        &self,
        image: &ImageReference,
        digest: Option<&Digest>,
        visibility: &Visibility,
    ) -> Option<HashSet<Box<str>>> {
        let freshness = self.freshness();
        if freshness != Freshness::Current {
            return None;
        }
        self.memory.lock().index.nodes_running(image, digest, visibility)
    }

    fn running_pods(&self, workload: &ObjectRef) -> u32 {
        let freshness = self.freshness();
        if freshness != Freshness::Current {
            return 0;
        }
        self.memory.lock().index.running_pods(&workload.kind, &workload.namespace, &workload.name)
    }
}
