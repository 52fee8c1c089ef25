//! Many images, asked about registry by registry and one at a time, so that none is asked in a rush.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;

use crate::image::ImageReference;

/// Registries that are asked at the same time.
const REGISTRIES: usize = 8;
/// Between two images of one registry.
const PACE: Duration = Duration::from_millis(100);

/// The registry of an image as it is written; empty for what is no name.
pub(in crate::cli) fn host_of(image: &str) -> Box<str> {
    ImageReference::parse(image).map(|one| one.host().into()).unwrap_or_default()
}

/// Asks about each of these, given with their registries. `ask` says whether its registry may be asked
/// about the next one; if not, its others are left.
pub(in crate::cli) async fn in_turns<T, A: Future<Output = bool>>(
    all: impl IntoIterator<Item = (Box<str>, T)>,
    ask: impl Fn(T) -> A,
) {
    let mut registries: HashMap<Box<str>, Vec<T>> = HashMap::new();
    for (host, one) in all {
        registries.entry(host).or_default().push(one);
    }
    let ask = &ask;
    let registry = |all: Vec<T>| async move {
        for one in all {
            if !ask(one).await {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    };
    stream::iter(registries.into_values()).for_each_concurrent(REGISTRIES, registry).await;
}
