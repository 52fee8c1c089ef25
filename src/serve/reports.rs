//! What the audit found of the images in use, as one report a namespace, for UIs that show such
//! reports already. The leader writes it; nobody reads it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::{Connection, ReportKind, ReportWriter};
use crate::message::sentence;
use crate::pull::Verdict;
use crate::review::ProbeResult;

/// Between two looks for reports that have changed.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// Results in one report, those that fail first; the summary counts all.
const MAX_RESULTS: usize = 500;
/// Reports that are written in one turn.
const AT_A_TIME: usize = 50;

/// What was last found of an image in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    registry: Box<str>,
    found: ProbeResult,
    loaded: bool,
    at: Timestamp,
}

/// The images of one namespace.
type Images = BTreeMap<Box<str>, Finding>;

/// What was found, by namespace and image.
#[derive(Debug, Default)]
struct Found {
    images: BTreeMap<Box<str>, Images>,
    changed: BTreeSet<Box<str>>,
}

/// The reports.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    writer: ReportWriter,
    found: Arc<Mutex<Found>>,
}

impl Reports {
    /// Reports of this kind in a cluster.
    pub(super) fn in_cluster(connection: &Connection, kind: ReportKind) -> Self {
        Self { writer: ReportWriter::new(connection, kind), found: Arc::default() }
    }

    /// Notes what an image of a namespace came to.
    pub(super) fn note(
        &self,
        (registry, namespace, image): (&str, &str, &str),
        found: ProbeResult,
        loaded: bool,
        at: Timestamp,
    ) {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Finding { registry: registry.into(), found, loaded, at };
        let images = all.images.entry(namespace.into()).or_default();
        let same = images.get(image).is_some_and(|old| {
            (&old.registry, old.found, old.loaded) == (&new.registry, new.found, new.loaded)
        });
        if !same {
            images.insert(image.into(), new);
            all.changed.insert(namespace.into());
        }
    }

    /// Forgets the images of a registry that are no longer in use in a namespace.
    pub(super) fn keep(&self, registry: &str, in_use: impl Fn(&str, &str) -> bool) {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let Found { images, changed } = &mut *all;
        for (namespace, images) in images.iter_mut() {
            let before = images.len();
            images.retain(|image, finding| {
                &*finding.registry != registry || in_use(namespace, image)
            });
            if images.len() != before {
                changed.insert(namespace.clone());
            }
        }
    }

    /// Forgets everything: another replica leads, and writes.
    pub(super) fn forget(&self) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Found::default();
    }

    /// Writes what has changed, again and again. Never ends.
    pub(super) async fn write(self) {
        let mut failing = false;
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            for (namespace, images) in self.due() {
                let written = match &images {
                    Some(images) => {
                        let (summary, results) = report(images);
                        self.writer.write(&namespace, &summary, &results).await
                    }
                    None => self.writer.remove(&namespace).await,
                };
                let failed_before = std::mem::replace(&mut failing, written.is_err());
                if let Err(error) = written {
                    if !failed_before {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "a report about images in use cannot be written");
                    }
                    self.found
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .changed
                        .insert(namespace);
                    break;
                }
            }
        }
    }

    /// The next namespaces whose report is another now, with their images; nothing, if none is left.
    fn due(&self) -> Vec<(Box<str>, Option<Images>)> {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<Box<str>> = all.changed.iter().take(AT_A_TIME).cloned().collect();
        due.into_iter()
            .map(|namespace| {
                all.changed.remove(&namespace);
                let images =
                    all.images.get(&namespace).filter(|images| !images.is_empty()).cloned();
                if images.is_none() {
                    all.images.remove(&namespace);
                }
                (namespace, images)
            })
            .collect()
    }
}

/// The word of a report for what was found: `fail` is what a node could not pull now.
const fn word(finding: &Finding) -> &'static str {
    match (finding.found, finding.loaded) {
        (ProbeResult::Pullable, _) => "pass",
        (_, true) => "warn",
        (ProbeResult::Refused(_), _) => "fail",
        (ProbeResult::Unclear(_), _) => "skip",
    }
}

fn message(finding: &Finding) -> String {
    let (verdict, cause) = match finding.found {
        ProbeResult::Pullable => return "can be pulled now".to_owned(),
        ProbeResult::Refused(cause) => (Verdict::Fails, cause),
        ProbeResult::Unclear(cause) => (Verdict::CannotTell, cause),
    };
    let words = sentence(cause, verdict);
    if finding.loaded {
        return format!("was loaded onto nodes, and cannot be pulled: {words}");
    }
    words.to_owned()
}

/// Summary and results of one namespace.
fn report(images: &Images) -> (Value, Value) {
    let count = |wanted: &str| images.values().filter(|finding| word(finding) == wanted).count();
    let summary = json!({"pass": count("pass"), "fail": count("fail"), "warn": count("warn"),
                         "error": 0, "skip": count("skip")});
    let rank = |finding: &Finding| match word(finding) {
        "fail" => 0,
        "warn" => 1,
        "skip" => 2,
        _ => 3,
    };
    let mut all: Vec<_> = images.iter().collect();
    all.sort_by_key(|(_, finding)| rank(finding));
    let results = all.into_iter().take(MAX_RESULTS).map(|(image, finding)| {
        let mut result = json!({
            "source": "pullgate", "policy": "image-pullable",
            "rule": finding.found.cause().map_or("pullable", |cause| cause.as_str()),
            "category": "Images", "result": word(finding), "message": message(finding),
            "scored": true, "properties": {"image": image, "registry": finding.registry},
            "timestamp": {"seconds": finding.at.as_second(), "nanos": 0},
        });
        // Older definitions know no `info`.
        match word(finding) {
            "fail" => result["severity"] = "high".into(),
            "warn" => result["severity"] = "medium".into(),
            _ => {}
        }
        result
    });
    (summary, Value::Array(results.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::Cause;

    fn finding(found: ProbeResult, loaded: bool) -> Finding {
        Finding { registry: "r.example".into(), found, loaded, at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn what_fails_comes_first_and_all_are_counted() {
        let mut images: Images = (0..600)
            .map(|n| (format!("r.example/a:{n:03}").into(), finding(ProbeResult::Pullable, false)))
            .collect();
        let refused = ProbeResult::Refused(Cause::TagNotFound);
        images.insert("r.example/z:1".into(), finding(refused, false));
        images.insert("r.example/z:2".into(), finding(refused, true));
        images.insert("r.example/z:3".into(), finding(ProbeResult::Unclear(Cause::Timeout), false));
        let (summary, results) = report(&images);
        assert_eq!(summary, json!({"pass": 600, "fail": 1, "warn": 1, "error": 0, "skip": 1}));
        let results = results.as_array().unwrap();
        assert_eq!(results.len(), MAX_RESULTS);
        let words: Vec<_> =
            results[..4].iter().map(|one| one["result"].as_str().unwrap()).collect();
        assert_eq!(words, ["fail", "warn", "skip", "pass"]);
        assert_eq!(
            (&results[0]["rule"], &results[0]["severity"]),
            (&json!("tag_not_found"), &json!("high"))
        );
        assert!(results[1]["message"].as_str().unwrap().starts_with("was loaded onto nodes"));
    }
}
