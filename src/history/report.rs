//! The four answers as plain data, and as a page for a terminal.

mod page;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::{Freshness, RegistryHealth, Visibility};
use super::index::{Trend, TroubleKind};
use crate::image::ImageReference;
use crate::pull::Cause;

pub use page::ago as how_long_ago;

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportTarget {
    /// A tag, or a digest of one repository.
    Image(ImageReference),
    /// All images of a host.
    Registry(Box<str>),
}

impl std::fmt::Display for ReportTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(reference) => write!(f, "{reference}"),
            Self::Registry(host) => f.write_str(host),
        }
    }
}

/// The four answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What it is about.
    pub subject: String,
    /// Whether the index may be believed: `current`, or why everything else is empty.
    pub freshness: &'static str,
    /// Whether only some namespaces may be shown, so that numbers may be too low.
    pub partial: bool,
    /// Question 1: who runs it.
    pub scope: Scope,
    /// Whose pods had it and are gone, the latest first.
    pub remembered: Vec<RememberedLine>,
    /// Question 2: how it fails.
    pub failures: FailurePattern,
    /// What pods run under this name now: a digest each, those of the most pods first. Of one image alone.
    pub digests: Vec<RunningDigest>,
    /// Question 3: other tags and digests of the repository, the most recently started first.
    pub tags: Vec<TagLine>,
    /// The most recently started other tag that runs without any failure.
    pub last_good: Option<String>,
    /// When a node last started or pulled it; told only to those who may see everything.
    pub last_success: Option<Timestamp>,
    /// How long nodes took to pull it lately; told only to those who may see everything.
    pub pulls: Option<PullSummary>,
    /// Question 4: the registry as a whole.
    pub registry: RegistryReport,
}

impl Report {
    pub(super) fn empty(
        subject: &ReportTarget,
        freshness: Freshness,
        visibility: &Visibility,
    ) -> Self {
        Self {
            subject: subject.to_string(),
            freshness: freshness.as_str(),
            partial: *visibility != Visibility::Cluster,
            scope: Scope::default(),
            remembered: Vec::new(),
            failures: FailurePattern::default(),
            digests: Vec::new(),
            tags: Vec::new(),
            last_good: None,
            last_success: None,
            pulls: None,
            registry: RegistryReport::default(),
        }
    }

    /// What to do by what was observed alone; nothing where nothing fails.
    pub fn next_step(&self) -> Option<String> {
        page::next(self)
    }

    /// The report as a page of at most `width` columns, without colours.
    pub fn to_page(&self, now: Timestamp, width: usize) -> String {
        page::render(self, now, width)
    }
}

/// How long pulls took, by what events say of the latest ones of each image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PullSummary {
    /// How many are counted.
    pub pulls: usize,
    /// Half of them took no longer.
    pub median_milliseconds: u32,
    /// The slowest one.
    pub slowest_milliseconds: u32,
    /// The size of the largest of these images, in bytes, where that is said.
    pub largest_bytes: Option<u64>,
    /// By node, the slowest first; some at most.
    pub nodes: Vec<NodePulls>,
}

/// How long one node took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodePulls {
    /// Its name.
    pub node: String,
    /// How many pulls are counted.
    pub pulls: usize,
    /// Half of them took no longer.
    pub median_milliseconds: u32,
}

/// How long a pull will take, by how long others took here: an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullForecast {
    /// What a node is likely to need.
    pub milliseconds: u32,
    /// How many pulls tell so; of a registry, of how many images.
    pub pulls: usize,
    /// Of what they were.
    pub basis: ForecastBasis,
}

/// Which pulls a forecast goes by, the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForecastBasis {
    /// Those of this very image.
    Image,
    /// Those of other tags and digests of its repository.
    Repository,
    /// Those from its registry, by their sizes and its own.
    Registry,
}

/// A digest that pods run under one name, as their nodes say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningDigest {
    /// The digest.
    pub digest: String,
    /// Pods that run it.
    pub pods: u32,
    /// Those of them that ask the registry at every start (`Always`).
    pub always: u32,
    /// When the container of them was started that runs longest.
    pub since: Timestamp,
    /// Their nodes.
    pub nodes: Vec<String>,
    /// How many more there are.
    pub more_nodes: usize,
    /// The workloads, those with the most pods first.
    pub workloads: Vec<DigestUser>,
    /// How many more there are.
    pub more_workloads: usize,
}

/// A workload that runs a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DigestUser {
    /// `Deployment`, `StatefulSet`, …, or `Pod` for one that nobody owns.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its pods that run the digest.
    pub pods: u32,
}

/// How far something is spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// No pod has it.
    #[default]
    Nowhere,
    /// One workload (or bare pod) has it.
    OneWorkload,
    /// Several workloads of one namespace have it.
    OneNamespace,
    /// Several workloads of several namespaces have it.
    Widespread,
}

/// Who runs it. Counts are of containers unless they say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// Pods with at least one such container.
    pub pods: u32,
    /// How far it is spread.
    pub spread: Spread,
    /// Containers that run.
    pub running: u32,
    /// Containers that cannot get it.
    pub failing: u32,
    /// Containers that have it and do not stay up.
    pub crashing: u32,
    /// Containers of which nothing is known yet.
    pub waiting: u32,
    /// Containers that ran and have ended.
    pub done: u32,
    /// Nodes of these pods.
    pub nodes: u32,
    /// Nodes that list it among their images (they list the fifty largest only).
    pub nodes_listing: u32,
    /// The workloads, those with failures first.
    pub workloads: Vec<WorkloadLine>,
    /// How many more there are.
    pub more_workloads: usize,
    /// The namespaces, those with the most pods first.
    pub namespaces: Vec<NamedCount>,
}

impl Scope {
    /// How many containers are in which state; `failing` is what those are called that fail.
    pub fn states(&self, failing: &str) -> String {
        let states = [
            (self.running, "running"),
            (self.failing, failing),
            (self.crashing, "crashing"),
            (self.waiting, "waiting"),
            (self.done, "finished"),
        ];
        let states = states.into_iter().filter(|(number, _)| *number > 0);
        let states: Vec<String> =
            states.map(|(number, state)| format!("{number} {state}")).collect();
        states.join(", ")
    }
}

/// A workload and its containers with the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WorkloadLine {
    /// `Deployment`, `StatefulSet`, …, or `Pod` for one that nobody owns.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// All its containers with the image.
    pub containers: u32,
    /// Those that run.
    pub running: u32,
    /// Those that cannot get it.
    pub failing: u32,
}

/// A workload whose pods had the image and are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedLine {
    /// `Deployment`, `Job`, …, or `Pod` for one that nobody owned.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When the last of its pods with the image went.
    pub last: Timestamp,
    /// Whether that pod had the image; otherwise it could not get it.
    pub ran: bool,
}

/// A name and how many pods it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NamedCount {
    /// The name.
    pub name: String,
    /// Its pods.
    pub pods: u32,
}

/// How it fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FailurePattern {
    /// The causes, the most frequent first.
    pub causes: Vec<CauseLine>,
    /// Whether all fail for one cause.
    pub consistent: bool,
    /// Since when the longest-failing one fails.
    pub since: Option<Timestamp>,
    /// Some of the failing pods, as `namespace/name`.
    pub pods: Vec<String>,
}

/// One cause and whom it meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CauseLine {
    /// The cause.
    pub cause: Cause,
    /// Containers that fail for it.
    pub containers: u32,
    /// Workloads of these.
    pub workloads: usize,
    /// Since when the longest-failing one fails.
    pub since: Option<Timestamp>,
}

/// A tag or digest of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagLine {
    /// The whole reference.
    pub reference: String,
    /// Its tag, if it has one.
    pub tag: Option<String>,
    /// Whether the report is about it.
    pub asked: bool,
    /// Containers that run.
    pub running: u32,
    /// Containers that cannot get it.
    pub failing: u32,
    /// When a node last started it, as far as that may be shown.
    pub last_seen: Option<Timestamp>,
    /// Whether pods run different content behind this one tag.
    pub differs: bool,
    /// The digests that it is or was.
    pub digests: Vec<String>,
}

/// A registry as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RegistryReport {
    /// Its host.
    pub host: String,
    /// The numbers that a review gets too.
    #[serde(flatten)]
    pub health: RegistryHealth,
    /// Why containers fail, the most frequent first.
    pub causes: Vec<(Cause, u32)>,
    /// Where the number of failing containers is going.
    pub trend: Option<Trend>,
    /// What kind of trouble it is in.
    pub trouble: Option<TroubleKind>,
    /// Since when.
    pub trouble_since: Option<Timestamp>,
    /// Repositories that the trouble meets.
    pub repositories: usize,
    /// Namespaces that it meets.
    pub namespaces: usize,
    /// Nodes that it meets.
    pub nodes: usize,
    /// When a node last pulled freshly from it.
    pub last_fresh_pull: Option<Timestamp>,
    /// How often nodes pulled what a repeated look-up still called missing or forbidden.
    pub disagreements: u64,
    /// Until when its escapes are open again because of that.
    pub escapes_open_until: Option<Timestamp>,
}

impl RegistryReport {
    /// The registry's health in one sentence, with its numbers.
    pub fn statement(&self) -> String {
        page::statement(self)
    }
}

#[cfg(test)]
mod tests;
