//! What a running `serve` remembers of the images that would fail: admission judges with it, a list
//! made now does not have it.

use std::collections::{BTreeSet, HashMap};

use futures::StreamExt as _;

use super::manifest::Found;
use super::observed::Observed;
use super::wiring;
use crate::cli::output::{ImageEntry, say};
use crate::cluster::{Connection, Recalled, remembered};
use crate::history::{RememberedHistory, ReportTarget};
use crate::image::ImageReference;
use crate::pull::Verdict;
use crate::text::clean;

/// Images that are asked about, each by a dry run of the API server.
const MOST: usize = 100;
/// Questions at a time.
const AT_ONCE: usize = 4;

/// Asks about what does not work, and answers which objects are to be judged again.
pub(super) async fn recall(
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
        say(format_args!(
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
        (image, objects, Recalled::History(memory)) => take(&image, objects, *memory),
        (_, _, Recalled::Not(why)) => {
            let why = clean(why);
            say(format_args!("the history of a running pullgate serve does not count: {why}"));
            return again;
        }
    }
    let mut answers = futures::stream::iter(asked).map(ask).buffer_unordered(AT_ONCE);
    while let Some((image, objects, answer)) = answers.next().await {
        if let Recalled::History(memory) = answer {
            take(&image, objects, *memory);
        }
    }
    drop(answers);
    again
}
