//! What is seen of images in a cluster: its pods, events and nodes as they are listed once, how
//! verdicts compared with what nodes did, as far as a running Pullgate has published that, and what
//! such a one remembers of single images.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use jiff::Timestamp;

use super::manifest::Found;
use super::wiring;
use crate::cli::print_message;
use crate::cluster::{Cluster, Connection, ServeHistory, Survey, remembered};
use crate::history::{
    History, HistoryQuestion, RegistryScoreSummary, RememberedHistory, ReportTarget, Success,
    Visibility,
};
use crate::image::ImageReference;
use crate::pull::Verdict;
use crate::report::ImageEntry;
use crate::review::HealthSource as _;
use crate::text::clean;

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

/// Images that are asked about, each by a dry run of the API server.
const MOST: usize = 100;
/// Questions at a time.
const AT_ONCE: usize = 4;

/// Asks about what does not work, and answers which objects are to be judged again.
pub(super) async fn query_serve(
    connection: &Connection,
    observed: &Observed,
    subjects: &[Found],
    judged: &[Vec<ImageEntry>],
) -> BTreeSet<usize> {
    // Each image once, in the first namespace that names it.
    let mut asked: HashMap<String, (usize, ImageReference, BTreeSet<usize>)> = HashMap::new();
    for entry in judged.iter().flatten() {
        let finding = &entry.finding;
        if finding.verdict != Verdict::Fails || finding.skipped || finding.excepted {
            continue;
        }
        let Ok(image) = ImageReference::parse(&entry.image) else { continue };
        let index = entry.object_index;
        let (_, _, objects) =
            asked.entry(image.canonical()).or_insert((index, image, BTreeSet::new()));
        objects.insert(index);
    }
    let mut asked: Vec<_> = asked.into_values().collect();
    asked.sort_by_key(|(index, _, _)| *index);
    if asked.len() > MOST {
        let left = asked.len() - MOST;
        print_message(format_args!(
            "the history of a running pullgate serve was not queried for {left} images"
        ));
        asked.truncate(MOST);
    }
    let ask = async |(index, image, objects): (usize, ImageReference, BTreeSet<usize>)| {
        let namespace = subjects.get(index).map_or("default", |found| &*found.namespace);
        let subject = ReportTarget::Image(image.clone());
        let answer = remembered(connection, namespace, &subject, wiring::patience()).await;
        (image, objects, answer)
    };
    let mut again = BTreeSet::new();
    let mut take = |image: &ImageReference, objects: BTreeSet<usize>, memory: RememberedHistory| {
        if observed.remember(image, memory) {
            again.extend(objects);
        }
    };
    let mut asked = asked.into_iter();
    // Where nobody answers one question, the others are not asked.
    let Some(first) = asked.next() else { return again };
    match ask(first).await {
        (image, objects, ServeHistory::History(memory)) => take(&image, objects, *memory),
        (_, _, ServeHistory::Not(why)) => {
            let why = clean(why);
            print_message(format_args!(
                "the history of a running pullgate serve does not count: {why}"
            ));
            return again;
        }
    }
    let mut answers = futures::stream::iter(asked).map(ask).buffer_unordered(AT_ONCE);
    while let Some((image, objects, answer)) = answers.next().await {
        if let ServeHistory::History(memory) = answer {
            take(&image, objects, *memory);
        }
    }
    drop(answers);
    again
}
