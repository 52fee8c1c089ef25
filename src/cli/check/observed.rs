//! What is seen of images in a cluster: its pods, events and nodes as they are listed once, how
//! verdicts compared with what nodes did, as far as a running Pullgate has published that, and what
//! such a one remembers of single images.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::cluster::{Cluster, Survey};
use crate::history::{
    History, HistoryQuestion, RegistryScoreSummary, RememberedHistory, Success, Visibility,
};
use crate::image::ImageReference;
use crate::review::HealthSource as _;

/// What is known of a cluster's pulls.
pub(super) struct Observed {
    cluster: Arc<Cluster>,
    survey: Survey,
    score: Vec<RegistryScoreSummary>,
    /// By canonical reference.
    memories: Mutex<BTreeMap<String, RememberedHistory>>,
}

impl Observed {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        survey: Survey,
        score: Vec<RegistryScoreSummary>,
    ) -> Self {
        Self { cluster, survey, score, memories: Mutex::default() }
    }

    /// What is known of an image. Where nodes pulled what look-ups still refused, escapes are open
    /// again, as they are at admission.
    pub(super) fn history(&self, question: &HistoryQuestion<'_>, now: Timestamp) -> History {
        let mut history = self.cluster.history(question, now);
        let host = question.reference.host();
        let mut of_registry = self.score.iter().filter(|score| score.registry == host);
        let is_open = |until: Option<Timestamp>| until.is_some_and(|until| until > now);
        history.registry.escapes_reopened |=
            of_registry.any(|score| is_open(score.escapes_open_until));
        if let Some(memory) = self.memories().get(&question.reference.canonical()) {
            history.registry.escapes_reopened |= is_open(memory.escapes_open_until);
            history.registry.in_trouble |= memory.in_trouble;
            let seen = history.last_success.as_ref().map(|success| success.at);
            if let Some(at) = memory.last_success.filter(|at| seen.is_none_or(|seen| seen < *at)) {
                history.last_success = Some(Success { at, digest: None, pulled: false });
            }
        }
        history
    }

    /// What is seen in the cluster, and nothing besides.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Takes in what is remembered of an image; whether that is more than what was listed.
    pub(super) fn remember(&self, image: &ImageReference, memory: RememberedHistory) -> bool {
        let is_news = memory.last_success.is_some()
            || memory.in_trouble
            || memory.escapes_open_until.is_some();
        self.memories().insert(image.canonical(), memory);
        is_news
    }

    /// Of which namespaces the person may list the pods.
    pub(super) fn visibility(&self) -> Visibility {
        self.survey.visibility.clone()
    }

    fn memories(&self) -> MutexGuard<'_, BTreeMap<String, RememberedHistory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
