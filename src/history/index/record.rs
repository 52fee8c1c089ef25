//! The compact records: a pod in about a hundred bytes.

use jiff::Timestamp;

use super::interner::{Id, NONE};
use crate::kube_views::Uid;
use crate::pull::Cause;

/// A time in whole seconds since 1970; zero is "never".
pub(in crate::history) type Seconds = u32;

/// In whole seconds.
pub(in crate::history) fn seconds(time: Timestamp) -> Seconds {
    u32::try_from(time.as_second().max(0)).unwrap_or(u32::MAX)
}

/// Back to a time.
pub(in crate::history) fn timestamp(seconds: Seconds) -> Timestamp {
    Timestamp::from_second(i64::from(seconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What a container is doing, as far as its image is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum State {
    /// Nothing is known yet.
    Waiting,
    /// It runs.
    Running,
    /// The image is there, but the container does not stay up.
    Crashing,
    /// The image cannot be got.
    Failing,
    /// It ran and has ended.
    Done,
}

/// One container of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContainerRecord {
    /// Its image; none if the name does not parse.
    pub(super) image: Id,
    /// The digest that the runtime resolved to, if known.
    pub(super) digest: Id,
    /// When it was started, or since when it fails.
    pub(super) at: Seconds,
    /// When it was last heard to be freshly pulled.
    pub(super) pulled: Seconds,
    /// Where this pod stands in the image's list.
    pub(super) place: u32,
    /// What it is doing.
    pub(super) state: State,
    /// Why it fails, as its status says; only of a failing one.
    cause: u8,
    /// Why it fails, as an earlier status or an event said; for states that say nothing.
    hint: u8,
    /// What is so of it or is not: [`ALWAYS`] and [`OWN_DIGEST`]. In one byte, as there are hundreds of
    /// thousands of these.
    flags: u8,
}

const ALWAYS: u8 = 1;
const OWN_DIGEST: u8 = 2;

/// No cause.
const NO_CAUSE: u8 = u8::MAX;

fn code(cause: Option<Cause>) -> u8 {
    cause.map_or(NO_CAUSE, |cause| cause as u8)
}

/// The cause with this number, as kept in records and snapshots of this process.
fn cause_of(code: u8) -> Option<Cause> {
    Cause::ALL.get(usize::from(code)).copied()
}

impl ContainerRecord {
    pub(super) fn new(image: Id, state: State, at: Seconds) -> Self {
        Self {
            image,
            digest: NONE,
            at,
            pulled: 0,
            place: 0,
            state,
            cause: NO_CAUSE,
            hint: NO_CAUSE,
            flags: 0,
        }
    }

    /// Whether the pull policy is `Always`: then every start asked the registry.
    pub(super) const fn always(&self) -> bool {
        self.flags & ALWAYS != 0
    }

    pub(super) fn set_always(&mut self, always: bool) {
        self.set_flag(ALWAYS, always);
    }

    /// Whether the digest is told under the image's own repository: a node that has the same content
    /// by several names tells any of them.
    pub(super) const fn own_digest(&self) -> bool {
        self.flags & OWN_DIGEST != 0
    }

    pub(super) fn set_own_digest(&mut self, own: bool) {
        self.set_flag(OWN_DIGEST, own);
    }

    fn set_flag(&mut self, flag: u8, is_set: bool) {
        self.flags = if is_set { self.flags | flag } else { self.flags & !flag };
    }

    pub(super) fn set_cause(&mut self, cause: Cause) {
        self.cause = code(Some(cause));
    }

    /// Remembers a cause for the time in which the status names none.
    pub(super) fn set_hint(&mut self, cause: Cause) {
        if cause != Cause::BackOff && cause != Cause::NotAnImageFailure {
            self.hint = code(Some(cause));
        }
    }

    /// Takes over what was known of the same container while it fails on.
    pub(super) fn inherit(&mut self, before: &Self) {
        self.pulled = before.pulled;
        if self.state == State::Failing && before.state == State::Failing {
            self.hint = before.hint;
            if let Some(cause) = cause_of(before.cause) {
                self.set_hint(cause);
            }
        } else if self.state == State::Failing || self.state == State::Waiting {
            self.hint = before.hint;
        }
    }

    /// The hint as it stands.
    pub(super) fn hint(&self) -> Option<Cause> {
        cause_of(self.hint)
    }

    /// Why it fails; nothing unless it does.
    pub(super) fn cause(&self) -> Option<Cause> {
        if self.state != State::Failing {
            return None;
        }
        match cause_of(self.cause) {
            Some(Cause::BackOff) | None => Some(self.hint().unwrap_or(Cause::BackOff)),
            said => said,
        }
    }
}

/// The containers of a pod; most have one or two.
#[derive(Debug, Clone)]
pub(super) enum Containers {
    /// Up to two.
    Few([ContainerRecord; 2], u8),
    /// More.
    Many(Box<[ContainerRecord]>),
}

impl Containers {
    pub(super) fn new(list: &[ContainerRecord]) -> Self {
        let empty = ContainerRecord::new(NONE, State::Waiting, 0);
        match list {
            [] => Self::Few([empty, empty], 0),
            [one] => Self::Few([*one, empty], 1),
            [one, two] => Self::Few([*one, *two], 2),
            more => Self::Many(more.into()),
        }
    }

    pub(super) fn as_slice(&self) -> &[ContainerRecord] {
        match self {
            Self::Few(list, count) => &list[..usize::from(*count)],
            Self::Many(list) => list,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [ContainerRecord] {
        match self {
            Self::Few(list, count) => &mut list[..usize::from(*count)],
            Self::Many(list) => list,
        }
    }
}

/// A pod's name: mostly its owner's name and a few random letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PodName {
    /// The owner's name, a hyphen and these.
    Suffix([u8; 10], u8),
    /// All of it, in the table of names.
    Whole(Id),
}

impl PodName {
    /// The short form, if the name has it.
    pub(super) fn suffix_of(name: &str, owner: &str) -> Option<Self> {
        let suffix = name.strip_prefix(owner)?.strip_prefix('-')?;
        let mut bytes = [0; 10];
        bytes.get_mut(..suffix.len())?.copy_from_slice(suffix.as_bytes());
        Some(Self::Suffix(bytes, u8::try_from(suffix.len()).ok()?))
    }

    /// The letters behind the owner's name.
    pub(super) fn suffix(&self) -> &str {
        match self {
            Self::Suffix(bytes, length) => {
                std::str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default()
            }
            Self::Whole(_) => "",
        }
    }
}

/// A pod.
#[derive(Debug, Clone)]
pub(super) struct PodRecord {
    /// Its uid.
    pub(super) uid: Uid,
    /// Its namespace's name.
    pub(super) namespace: Id,
    /// Its node's name; none before it is scheduled.
    pub(super) node: Id,
    /// Its controlling owner; none if it has none.
    pub(super) workload: Id,
    /// Its name.
    pub(super) name: PodName,
    /// Its containers of all kinds.
    pub(super) containers: Containers,
    /// What it uses of registries; none if it has ended.
    pub(super) used: Id,
    /// Whether it names no pull secret at all.
    pub(super) without_secrets: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_two_containers_takes_about_a_hundred_bytes() {
        assert_eq!(size_of::<ContainerRecord>(), 24);
        assert_eq!(size_of::<Option<PodRecord>>(), 104);
    }
}
