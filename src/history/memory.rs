//! What only who watches can know: the part of a report that a fresh list lacks.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::Freshness;
use super::index::{Trend, TroubleKind};
use super::report::{RememberedLine, Report, TagLine};

/// What `serve` remembers of a subject, within the rights of who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RememberedHistory {
    /// When a node last started or pulled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// The most recently started other tag that runs without any failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good: Option<String>,
    /// Tags and digests of the repository, the most recently started first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<RememberedTag>,
    /// Whose pods had it and are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<RememberedLine>,
    /// Whether the registry as a whole is in trouble.
    pub in_trouble: bool,
    /// What kind of trouble it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleKind>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble_since: Option<Timestamp>,
    /// Where the number of failing containers is going.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend: Option<Trend>,
    /// When a node last pulled freshly from the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_fresh_pull: Option<Timestamp>,
    /// How often nodes pulled what a repeated look-up still called missing or forbidden.
    pub disagreements: u64,
    /// Until when the registry's escapes are open again because of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escapes_open_until: Option<Timestamp>,
}

/// A tag or digest that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RememberedTag {
    /// The whole reference.
    pub reference: String,
    /// Its tag, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// When a node last started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// The digest that it was, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl RememberedHistory {
    /// What of a report a fresh list would lack; nothing while the index may not be believed.
    pub fn of(report: &Report) -> Option<Self> {
        if report.freshness != Freshness::Current.as_str() {
            return None;
        }
        let registry = &report.registry;
        let tags = report.tags.iter().map(|line| RememberedTag {
            reference: line.reference.clone(),
            tag: line.tag.clone(),
            last_seen: line.last_seen,
            digest: line.digests.first().cloned(),
        });
        Some(Self {
            last_success: report.last_success,
            last_good: report.last_good.clone(),
            tags: tags.collect(),
            gone: report.remembered.clone(),
            in_trouble: registry.health.in_trouble,
            trouble: registry.trouble,
            trouble_since: registry.trouble_since,
            trend: registry.trend,
            last_fresh_pull: registry.last_fresh_pull,
            disagreements: registry.disagreements,
            escapes_open_until: registry.escapes_open_until,
        })
    }

    /// As JSON of at most so many bytes; of tags and of those who are gone, the oldest are left
    /// out. Nothing if even that does not fit.
    pub fn encode(mut self, most: usize) -> Option<String> {
        loop {
            let text = serde_json::to_string(&self).ok()?;
            if text.len() <= most {
                return Some(text);
            }
            if self.tags.len() >= self.gone.len() {
                self.tags.pop()?;
            } else {
                self.gone.pop()?;
            }
        }
    }

    /// Reads what [`Self::encode`] wrote; nothing if it is something else.
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl Report {
    /// Adds what is remembered to what was listed now. What the list shows, counts for more.
    pub(crate) fn recall(&mut self, memory: RememberedHistory) {
        self.last_success = self.last_success.max(memory.last_success);
        for old in memory.tags {
            match self.tags.iter_mut().find(|line| line.reference == old.reference) {
                Some(known) => known.last_seen = known.last_seen.max(old.last_seen),
                None => self.tags.push(TagLine {
                    asked: old.reference == self.subject,
                    reference: old.reference,
                    tag: old.tag,
                    running: 0,
                    failing: 0,
                    last_seen: old.last_seen,
                    differs: false,
                    digests: old.digest.into_iter().collect(),
                }),
            }
        }
        self.tags.sort_by(|a, b| {
            b.last_seen.cmp(&a.last_seen).then_with(|| a.reference.cmp(&b.reference))
        });
        self.last_good = self.last_good.take().or(memory.last_good);
        for gone in memory.gone {
            let key = |line: &RememberedLine| {
                (line.kind.clone(), line.namespace.clone(), line.name.clone())
            };
            let runs = self.scope.workloads.iter().any(|line| {
                (&line.kind, &line.namespace, &line.name)
                    == (&gone.kind, &gone.namespace, &gone.name)
            });
            if !runs && !self.remembered.iter().any(|line| key(line) == key(&gone)) {
                self.remembered.push(gone);
            }
        }
        let registry = &mut self.registry;
        registry.health.in_trouble |= memory.in_trouble;
        registry.trouble = registry.trouble.or(memory.trouble);
        registry.trouble_since = memory.trouble_since.or(registry.trouble_since);
        registry.trend = memory.trend.or(registry.trend);
        registry.last_fresh_pull = registry.last_fresh_pull.max(memory.last_fresh_pull);
        registry.disagreements = registry.disagreements.max(memory.disagreements);
        registry.escapes_open_until = registry.escapes_open_until.max(memory.escapes_open_until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{HealthIndex, ReportTarget, Visibility};
    use crate::image::ImageReference;

    fn report() -> Report {
        let mut index = HealthIndex::default();
        index.set_freshness(Freshness::Current);
        let image = ImageReference::parse("r.example/app:2").unwrap();
        index.report(&ReportTarget::Image(image), &Visibility::Cluster, Timestamp::UNIX_EPOCH)
    }

    fn tag(nth: u32) -> RememberedTag {
        let last_seen = Timestamp::from_second(i64::from(10_000 - nth)).ok();
        let reference = format!("r.example/app:{nth}");
        RememberedTag { reference, tag: Some(nth.to_string()), last_seen, digest: None }
    }

    #[test]
    fn what_does_not_fit_is_left_out_the_oldest_first() {
        let memory =
            RememberedHistory { tags: (0..100).map(tag).collect(), ..RememberedHistory::default() };
        let text = memory.clone().encode(900).unwrap();
        assert!(text.len() <= 900 && text.len() > 700, "{}", text.len());
        let read = RememberedHistory::decode(&text).unwrap();
        assert_eq!(read.tags, memory.tags[..read.tags.len()]);
        assert_eq!(RememberedHistory::default().encode(3), None);
        assert_eq!(RememberedHistory::decode("<html>"), None);
    }

    #[test]
    fn what_is_remembered_is_added_to_what_is_there() {
        let mut report = report();
        let last = Timestamp::from_second(77).ok();
        report.recall(RememberedHistory {
            last_success: last,
            tags: vec![tag(1)],
            trend: Some(Trend::Falling),
            in_trouble: true,
            trouble: Some(TroubleKind::Outage),
            ..RememberedHistory::default()
        });
        assert_eq!(report.last_success, last);
        assert_eq!((report.tags[0].running, &*report.tags[0].reference), (0, "r.example/app:1"));
        assert_eq!(report.registry.trend, Some(Trend::Falling));
        assert!(report.registry.health.in_trouble);
        let page = report.to_page(Timestamp::UNIX_EPOCH, 90);
        assert!(page.contains("It last ran here"), "{page}");
        // While the index learns there is nothing to pass on.
        let learning = HealthIndex::default();
        let target = ReportTarget::Registry("r.example".into());
        let empty = learning.report(&target, &Visibility::Cluster, Timestamp::UNIX_EPOCH);
        assert_eq!(RememberedHistory::of(&empty), None);
    }
}
