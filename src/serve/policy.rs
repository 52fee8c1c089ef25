//! The policy in force: where new ones come from, and who has to hear of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::cluster_tasks::{BlindSpots, Contradictions};
use super::kept_policy::{self, Accepted, LastPolicy};
use super::reload::log_reload;
use crate::cluster::{Cluster, Connection, KeptPolicy, PolicyNews, PolicySource, WatchTuning};
use crate::history::RegistryScoreSummary;
use crate::policy::{
    GivenFiles, PolicyError, PullgatePolicy, PullgatePolicyStatus, StatusFacts, listed_words,
};
use crate::pull::BlindSpot;
use crate::registry::{RegistryClient, RegistryPolicy};
use crate::serve::{OwnSettings, registries};
use crate::server::WatchedFiles;
use crate::telemetry::{Metrics, clock};

/// Between two looks at what else the status speaks of.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often the score goes into the status, where it has changed.
const SCORE_EVERY: Duration = Duration::from_secs(5 * 60);
/// As many as the definition lets in.
const SCORED_REGISTRIES: usize = 64;
const SCORED_VERDICTS: usize = 32;
/// Between two writes of the status, whatever happens.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// Between two questions for the policy that was last accepted.
const RECALL_EVERY: Duration = Duration::from_secs(5);

/// Brings new policies to all who work by them.
#[derive(Clone)]
pub(super) struct ActivePolicy {
    pub(super) policy: Arc<ArcSwap<PullgatePolicy>>,
    pub(super) registry: Arc<RegistryClient>,
    pub(super) given: GivenFiles,
    pub(super) metrics: Arc<Metrics>,
    /// Where it is told that a document was accepted.
    pub(super) accepted: Arc<watch::Sender<Accepted>>,
}

impl ActivePolicy {
    /// Puts a policy in force; the fields that say `listed` of files that were not given.
    /// `document`: its text, if somebody wrote one.
    pub(super) fn put(&self, policy: PullgatePolicy, document: Accepted) -> Vec<String> {
        let (policy, fields) = policy.without_files(self.given);
        if !fields.is_empty() {
            tracing::warn!("{}", listed_words(&fields));
        }
        self.metrics.listed_without_files(fields.len());
        self.registry.take_directions(directions(&policy));
        self.policy.store(Arc::new(policy));
        if document.is_some() {
            self.accepted.send_replace(document);
        }
        fields
    }
}

/// What a policy says of registries to a webhook: its look-ups have less time than others.
pub(super) fn directions(policy: &PullgatePolicy) -> RegistryPolicy {
    RegistryPolicy { whole: policy.spec().lookups.each.get(), ..registries::directions(policy) }
}

/// Reads the policy in a file.
pub(super) fn parse(file: &WatchedFiles) -> Result<PullgatePolicy, PolicyError> {
    PullgatePolicy::parse(&file.text(), &file.path().display().to_string())
}

/// Where policies come from, and where the one that was last accepted is kept.
pub(super) struct Sources {
    file: Option<WatchedFiles>,
    object: Option<PolicySource>,
    kept: Option<KeptPolicy>,
}

impl Sources {
    /// At most a file or the name of an object.
    pub(super) fn new(
        (file, name): (Option<WatchedFiles>, Option<String>),
        connection: &Connection,
        own: Option<&OwnSettings>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self {
            file,
            object: name.map(|name| PolicySource::new(connection, &name, metrics)),
            kept: own.map(|own| KeptPolicy::beside(connection, &own.namespace, &own.secret)),
        }
    }

    /// The document in the file, if there is one.
    pub(super) fn document(&self) -> Accepted {
        self.file.as_ref().map(|file| file.text().into())
    }

    /// What has to run so that new policies come into force.
    pub(super) fn tasks(
        self,
        (in_force, reload): (ActivePolicy, Duration),
        knowledge: (Contradictions, BlindSpots),
        leads: Option<watch::Receiver<bool>>,
        score: impl Fn() -> Vec<RegistryScoreSummary> + Send + Sync + 'static,
    ) -> Vec<(&'static str, BoxFuture<'static, ()>)> {
        let Self { file, object, kept } = self;
        let mut tasks: Vec<(&'static str, BoxFuture<'static, ()>)> = Vec::new();
        if let Some((kept, leads)) = kept.clone().zip(leads.clone()) {
            let accepted = in_force.accepted.subscribe();
            tasks.push(("kept policy", Box::pin(kept_policy::keep(kept, accepted, leads))));
        }
        if let Some(file) = file {
            tasks.push(("policy", Box::pin(follow_file(file, reload, in_force.clone()))));
        }
        if let Some(source) = object {
            tasks.push(("policy watch", Box::pin(source.watch(WatchTuning::default()))));
            let follow = follow_cluster(source, kept, in_force, knowledge, leads, score);
            tasks.push(("policy", Box::pin(follow)));
        }
        tasks
    }
}

/// Takes what a file newly says into force.
async fn follow_file(mut file: WatchedFiles, every: Duration, in_force: ActivePolicy) {
    let metrics = Arc::clone(&in_force.metrics);
    metrics.policy_current(true);
    loop {
        file.changed(every).await;
        let taken = parse(&file).map(|new| drop(in_force.put(new, Some(file.text().into()))));
        metrics.policy_current(taken.is_ok());
        log_reload("policy", &metrics, taken.err());
    }
}

/// Takes what the object of the cluster says into force, and writes its status where this replica
/// leads.
async fn follow_cluster(
    source: PolicySource,
    kept: Option<KeptPolicy>,
    in_force: ActivePolicy,
    (contradictions, blind): (Contradictions, BlindSpots),
    mut leads: Option<watch::Receiver<bool>>,
    score: impl Fn() -> Vec<RegistryScoreSummary> + Send + Sync,
) {
    let mut news = source.news();
    let metrics = Arc::clone(&in_force.metrics);
    metrics.policy_current(false);
    let mut object = Object {
        source,
        kept,
        trouble_told: false,
        in_force,
        metrics,
        contradictions,
        blind,
        last: None,
        taken: false,
        without_files: Vec::new(),
    };
    let mut writing = Writing::default();
    loop {
        let heard = news.borrow_and_update().clone();
        let asks_again = object.last_policy(&heard).await;
        object.on_news(&heard);
        let leading = leads.as_mut().is_some_and(|leads| *leads.borrow_and_update());
        if !leading {
            writing = Writing::default();
        }
        let next = match heard {
            PolicyNews::Document { generation, status, .. } if leading => {
                writing.write(&object, generation, status, &score).await
            }
            _ if asks_again => RECALL_EVERY,
            _ => SCORE_EVERY,
        };
        tokio::select! {
            Ok(()) = news.changed() => {}
            () = changed(&mut leads) => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}

/// The score as the status shows it: the first registries and verdicts, if there are too many.
pub(super) fn score(cluster: &Cluster) -> Vec<RegistryScoreSummary> {
    let (now, _) = clock();
    let summaries = cluster.score(now).into_iter().take(SCORED_REGISTRIES);
    summaries
        .map(|mut one| {
            one.verdicts.truncate(SCORED_VERDICTS);
            one
        })
        .collect()
}

/// Whoever leads now; never, where nobody can.
async fn changed(leads: &mut Option<watch::Receiver<bool>>) {
    if let Some(leads) = leads
        && leads.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// What was made of the object so far.
struct Object {
    source: PolicySource,
    /// Where the policy that was last accepted is kept, until it was looked at.
    kept: Option<KeptPolicy>,
    /// Whether it was told that it cannot be looked at.
    trouble_told: bool,
    in_force: ActivePolicy,
    metrics: Arc<Metrics>,
    /// What was last heard, without the status.
    last: Option<PolicyNews>,
    /// Whether a document of it is in force.
    taken: bool,
    /// The fields of the document that say `listed` of files that were not given.
    without_files: Vec<String>,
    /// What speaks against its words about nodes.
    contradictions: Contradictions,
    /// Registries that nodes use and that cannot be reached.
    blind: BlindSpots,
}

impl Object {
    /// Begins with the policy that was last accepted, where the object is gone or cannot be used and
    /// nothing of it was taken yet; whether that has to be asked for again.
    async fn last_policy(&mut self, heard: &PolicyNews) -> bool {
        let usable =
            matches!(heard, PolicyNews::Unheard | PolicyNews::Document { read: Ok(_), .. });
        let Some(kept) = self.kept.as_ref().filter(|_| !usable && !self.taken) else {
            return false;
        };
        match kept_policy::last_policy(kept, &mut self.trouble_told).await {
            LastPolicy::NotYet => return true,
            LastPolicy::Nothing => {}
            LastPolicy::Policy(policy, document) => {
                tracing::info!(
                    place = kept.place(),
                    "took the policy that was last accepted into force"
                );
                self.without_files = self.in_force.put(*policy, Some(document));
                self.taken = true;
            }
        }
        self.kept = None;
        false
    }

    /// Takes it in, unless it is nothing new.
    fn on_news(&mut self, heard: &PolicyNews) {
        let mut heard = heard.clone();
        if let PolicyNews::Document { generation, status, .. } = &mut heard {
            (*generation, *status) = (None, PullgatePolicyStatus::default());
        }
        if self.last.as_ref() == Some(&heard) {
            return;
        }
        let name = self.source.name();
        let stays = if self.taken { "the one before" } else { "the default policy" };
        match &heard {
            PolicyNews::Unheard => {}
            PolicyNews::Document { read: Ok((policy, document)), .. } => {
                let document = Some(Arc::clone(document));
                self.without_files = self.in_force.put(PullgatePolicy::clone(policy), document);
                self.taken = true;
                self.metrics.policy_current(true);
                self.metrics.reloaded("policy", true);
                tracing::info!(name, "took the PullgatePolicy into force");
            }
            PolicyNews::Document { read: Err(error), .. } => {
                self.metrics.policy_current(false);
                self.metrics.reloaded("policy", false);
                let error = error as &dyn std::error::Error;
                tracing::error!(
                    name,
                    error,
                    "the PullgatePolicy cannot be used, {stays} is in force"
                );
            }
            PolicyNews::Missing => {
                // It may be on its way to another place, where what is new has yet to be accepted.
                self.metrics.policy_current(false);
                tracing::warn!(name, "there is no such PullgatePolicy: {stays} is in force");
            }
            PolicyNews::Refused(status) => {
                self.metrics.policy_current(false);
                tracing::warn!(
                    name,
                    status,
                    "the API server does not show the PullgatePolicy (404: it does not know the kind; \
                     403: no right to): {stays} is in force"
                );
            }
        }
        self.last = Some(heard);
    }

    /// What is wrong with the document, in words for its status.
    fn fault(&self) -> Option<String> {
        let Some(PolicyNews::Document { read: Err(error), .. }) = &self.last else { return None };
        let stays = if self.taken { "the document before it" } else { "the default policy" };
        let field = if error.at.field.is_empty() { "the document" } else { &*error.at.field };
        Some(format!("{field}: {}; {stays} is in force", error.problem))
    }
}

/// The status as this replica writes it while it leads.
#[derive(Default)]
struct Writing {
    wrote: Option<Instant>,
    /// When the score was last taken into it.
    scored: Option<Instant>,
}

impl Writing {
    /// Writes the status if it ought to be another, and says when to look again.
    async fn write(
        &mut self,
        object: &Object,
        generation: Option<i64>,
        before: PullgatePolicyStatus,
        score: impl Fn() -> Vec<RegistryScoreSummary>,
    ) -> Duration {
        let (today, now) = clock();
        if let Some(wait) = left(self.wrote, WRITE_EVERY, now) {
            return wait;
        }
        let due = left(self.scored, SCORE_EVERY, now);
        let score = if due.is_none() { score() } else { before.score.clone() };
        let facts = StatusFacts {
            generation,
            fault: object.fault(),
            listed_without_files: object.without_files.clone(),
            contradictions: object.contradictions.load().to_vec(),
            blind: object.blind.load().iter().map(BlindSpot::sentence_for_operators).collect(),
            score,
        };
        let wanted = PullgatePolicyStatus::about(facts, &before, today);
        if due.is_none() {
            self.scored = Some(now);
        }
        if wanted == before {
            return LOOK_EVERY;
        }
        self.wrote = Some(now);
        if let Err(error) = object.source.write_status(&wanted).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "failed to write the status of the PullgatePolicy, retrying");
            self.scored = None;
            return WRITE_EVERY * 6;
        }
        LOOK_EVERY
    }
}

/// How much of a time is left since a moment.
fn left(since: Option<Instant>, time: Duration, now: Instant) -> Option<Duration> {
    let passed = now.saturating_duration_since(since?);
    time.checked_sub(passed).filter(|left| !left.is_zero())
}
