//! What a running `serve` remembers, told to who asks for it.
//!
//! Asked is by the dry run of an object with an annotation. That is the one question in which the
//! API server itself says who asks: what passes through its proxies to a Service or a pod has lost
//! its user. So the rights are looked at exactly as at admission, and nothing is created.

use super::{ReviewRequest, Sources, visibility};
use crate::admission::Answer;
use crate::history::{RememberedHistory, ReportTarget};
use crate::image::ImageReference;
use crate::workload::Workload;

/// The annotation that asks: `image:REFERENCE` or `registry:HOST`.
pub(crate) const EXPLAIN_ANNOTATION: &str = "pullgate.dev/explain";
/// What each of the warnings with the answer begins with; its number and a colon follow.
const PREFIX: &str = "pullgate-memory ";
/// Bytes of the answer, and characters of one of its parts: together they stay within what an
/// answer's warnings may have (`message::fit_warnings`).
const MOST: usize = 3000;
const PART: usize = 220;

/// What is asked for, if that is what this object is for.
pub(super) fn question(workload: &Workload) -> Option<ReportTarget> {
    let mut annotations = workload.annotations.iter();
    let (_, asked) = annotations.find(|(key, _)| &**key == EXPLAIN_ANNOTATION)?;
    match asked.split_once(':')? {
        ("image", image) => Some(ReportTarget::Image(ImageReference::parse(image).ok()?)),
        ("registry", host) => {
            let image = ImageReference::parse(&format!("{host}/any/image")).ok()?;
            Some(ReportTarget::Registry(image.host().into()))
        }
        _ => None,
    }
}

/// The answer to such a question, within the rights of who asks.
pub(super) async fn answer(
    target: &ReportTarget,
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
) -> Answer {
    let images = subject.workload.images.iter();
    let images = images.filter_map(|image| ImageReference::parse(&image.image).ok()).collect();
    let shown = visibility::shown(sources, subject, || images).await;
    let memory = sources.health.memory(target, &shown, subject.now);
    let text = memory.and_then(|memory: RememberedHistory| memory.encode(MOST));
    Answer { denial: None, warnings: text.as_deref().map(parts).unwrap_or_default(), patch: None }
}

fn parts(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let parts = letters.chunks(PART).enumerate();
    parts.map(|(nth, part)| format!("{PREFIX}{nth}: {}", String::from_iter(part))).collect()
}

/// The answer, from the texts of all warnings that came; nothing if it is not among them.
pub(crate) fn memory_of_warnings<'w>(
    warnings: impl Iterator<Item = &'w str>,
) -> Option<RememberedHistory> {
    let part = |text: &'w str| {
        let (nth, part) = text.strip_prefix(PREFIX)?.split_once(": ")?;
        Some((nth.parse::<usize>().ok()?, part))
    };
    let mut parts: Vec<(usize, &str)> = warnings.filter_map(part).collect();
    parts.sort_unstable();
    let text: String = parts.into_iter().map(|(_, part)| part).collect();
    RememberedHistory::decode(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::RememberedLine;
    use crate::message::fit_warnings;

    #[test]
    fn a_long_memory_passes_through_the_bounds_of_warnings() {
        let line = |nth: u32| RememberedLine {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: format!("web-{nth}"),
            last: jiff::Timestamp::UNIX_EPOCH,
            ran: true,
        };
        let memory = RememberedHistory {
            gone: (0..200).map(line).collect(),
            ..RememberedHistory::default()
        };
        let mut warnings = fit_warnings(&parts(&memory.encode(MOST).unwrap()));
        warnings.insert(3, "something else".to_owned());
        warnings.reverse();
        let read = memory_of_warnings(warnings.iter().map(String::as_str)).unwrap();
        assert!(read.gone.len() > 20 && read.gone[0].name == "web-0", "{read:?}");
        assert_eq!(memory_of_warnings(["else"].into_iter()), None);
    }
}
