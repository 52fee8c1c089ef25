//! What digests are known to be: kept by registry, and beyond the time for which a tag stood for them,
//! since nodes go on running what a tag once was.
//!
//! Whoever read it first, the answer is the same: a digest names its content. A registry can lie about
//! the kind of a manifest that it only announces; so what one says counts for its own images alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::image::Digest;
use crate::pull::KnownManifest;

/// Most digests that are kept, and most bytes; those of which nothing was heard longest go first.
const MAX_DIGESTS: usize = 20_000;
const MAX_BYTES: usize = 8 << 20;
/// Most images of one index.
const MAX_MEMBERS: usize = 64;

#[derive(Default)]
struct Entries {
    known: HashMap<Arc<str>, (KnownManifest, u64)>,
    /// The latest last; those that were heard of again stand here twice.
    order: VecDeque<(Arc<str>, u64)>,
    bytes: usize,
    turn: u64,
}

/// What digests are known to be.
#[derive(Default)]
pub(super) struct KnownManifests(Mutex<Entries>);

impl KnownManifests {
    /// Notes what a digest of this registry is.
    pub(super) fn note(&self, registry: &str, digest: &Digest, known: KnownManifest) {
        if matches!(&known, KnownManifest::Index(Some(members)) if members.len() > MAX_MEMBERS) {
            return;
        }
        let key: Arc<str> = key(registry, digest).into();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        kept.turn += 1;
        // The members of an index are read from its content; a kind may only be announced.
        let old = kept.known.get(&key).map(|(old, _)| old);
        let known = match (old, known) {
            (
                Some(old @ KnownManifest::Index(Some(_))),
                KnownManifest::Single | KnownManifest::Index(None),
            ) => old.clone(),
            (_, known) => known,
        };
        kept.bytes += weight(&key, &known);
        if let Some((old, _)) = kept.known.insert(Arc::clone(&key), (known, kept.turn)) {
            kept.bytes -= weight(&key, &old).min(kept.bytes);
        }
        kept.order.push_back((key, kept.turn));
        if kept.order.len() > 2 * MAX_DIGESTS {
            let known = &kept.known;
            let is_latest =
                |(key, turn): &(Arc<str>, u64)| known.get(key).is_some_and(|one| one.1 == *turn);
            kept.order.retain(is_latest);
        }
        while kept.known.len() > MAX_DIGESTS || kept.bytes > MAX_BYTES {
            let Some((oldest, turn)) = kept.order.pop_front() else { break };
            if kept.known.get(&oldest).is_some_and(|(_, last)| *last == turn)
                && let Some((gone, _)) = kept.known.remove(&oldest)
            {
                kept.bytes -= weight(&oldest, &gone).min(kept.bytes);
            }
        }
    }

    /// What a digest of this registry is, if that is known.
    pub(super) fn get(&self, registry: &str, digest: &Digest) -> Option<KnownManifest> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.known.get(&*key(registry, digest)).map(|(known, _)| known.clone())
    }
}

fn key(registry: &str, digest: &Digest) -> String {
    format!("{registry}@{digest}")
}

/// About how many bytes an entry takes.
fn weight(key: &str, known: &KnownManifest) -> usize {
    let members = match known {
        KnownManifest::Single | KnownManifest::Index(None) => 0,
        KnownManifest::Index(Some(members)) => members.len(),
    };
    key.len() + 100 + members * 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> Digest {
        Digest::parse(&format!("sha256:{n:064x}")).unwrap()
    }

    #[test]
    fn what_is_known_has_bounds_and_belongs_to_its_registry() {
        let kept = KnownManifests::default();
        for n in 0..MAX_DIGESTS + 10 {
            kept.note("r.io", &digest(n), KnownManifest::Single);
            // One that is heard of again and again stays.
            kept.note("r.io", &digest(0), KnownManifest::Single);
        }
        assert_eq!(kept.get("r.io", &digest(0)), Some(KnownManifest::Single));
        assert_eq!(kept.get("r.io", &digest(1)), None);
        assert_eq!(kept.get("q.io", &digest(0)), None);
        let state = kept.0.lock().unwrap();
        assert!(state.known.len() <= MAX_DIGESTS && state.order.len() <= 2 * MAX_DIGESTS + 1);
        let bytes: usize = state.known.iter().map(|(key, (known, _))| weight(key, known)).sum();
        assert_eq!(state.bytes, bytes);
    }

    #[test]
    fn one_that_is_heard_of_all_the_time_drives_out_nobody() {
        let kept = KnownManifests::default();
        kept.note("r.io", &digest(1), KnownManifest::Single);
        for _ in 0..5 * MAX_DIGESTS {
            kept.note("r.io", &digest(2), KnownManifest::Single);
        }
        assert_eq!(kept.get("r.io", &digest(1)), Some(KnownManifest::Single));
        assert!(kept.0.lock().unwrap().order.len() <= 2 * MAX_DIGESTS + 1);
    }

    #[test]
    fn large_indexes_take_bytes_and_what_was_read_stays() {
        let kept = KnownManifests::default();
        let members: Arc<[Digest]> = (0..MAX_MEMBERS).map(digest).collect();
        for n in 0..3000 {
            kept.note("r.io", &digest(n), KnownManifest::Index(Some(Arc::clone(&members))));
        }
        assert!(kept.0.lock().unwrap().bytes <= MAX_BYTES);
        kept.note("r.io", &digest(2999), KnownManifest::Single);
        assert!(matches!(kept.get("r.io", &digest(2999)), Some(KnownManifest::Index(_))));
        let too_many: Arc<[Digest]> = (0..=MAX_MEMBERS).map(digest).collect();
        kept.note("r.io", &digest(9999), KnownManifest::Index(Some(too_many)));
        assert_eq!(kept.get("r.io", &digest(9999)), None);
    }
}
