//! What is known of a manifest by its digest alone, and whether two digests are the same image.
//!
//! A node names what it runs by one digest: with containerd that of the index or manifest that the tag
//! stood for when it was pulled, with CRI-O often that of the manifest for its platform. The registry
//! names what a tag stands for now. Two digests differ as soon as they are not of one kind, so what
//! cannot be compared is told as nothing.

use std::sync::Arc;

use crate::image::Digest;

/// What a digest is known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownManifest {
    /// A manifest of one image.
    Single,
    /// An index, with the manifests of its images where it was read; attestations are left out.
    Index(Option<Arc<[Digest]>>),
}

impl KnownManifest {
    /// The manifests of an index that was read.
    fn members(&self) -> Option<&[Digest]> {
        match self {
            Self::Single => None,
            Self::Index(members) => members.as_deref(),
        }
    }
}

/// Whether these are the same image, each with what its digest is known to be; nothing if that cannot
/// be told. An index holds the images that are its members, and one that is built anew without that
/// any image has changed (with another attestation) is the same.
pub(crate) fn same_image(
    (one, known): (&Digest, Option<&KnownManifest>),
    (other, other_known): (&Digest, Option<&KnownManifest>),
) -> Option<bool> {
    if one == other {
        return Some(true);
    }
    let within = |members: &[Digest], all: &[Digest]| {
        !members.is_empty() && members.iter().all(|member| all.contains(member))
    };
    let members = known.and_then(KnownManifest::members);
    let other_members = other_known.and_then(KnownManifest::members);
    if let (Some(members), Some(others)) = (members, other_members) {
        return Some(within(members, others) || within(others, members));
    }
    let holds = members.is_some_and(|members| members.contains(other))
        || other_members.is_some_and(|members| members.contains(one));
    if holds {
        return Some(true);
    }
    match (known?, other_known?) {
        // Two of one kind differ.
        (KnownManifest::Single, KnownManifest::Single)
        | (KnownManifest::Index(_), KnownManifest::Index(_)) => Some(false),
        // An index that was read does not hold it; one that was not may.
        (KnownManifest::Single, KnownManifest::Index(members))
        | (KnownManifest::Index(members), KnownManifest::Single) => {
            members.is_some().then_some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn digest(letter: char) -> Digest {
        Digest::parse(&format!("sha256:{}", String::from(letter).repeat(64))).unwrap()
    }

    fn index(letters: &str) -> KnownManifest {
        KnownManifest::Index(Some(letters.chars().map(digest).collect()))
    }

    const SINGLE: Option<KnownManifest> = Some(KnownManifest::Single);

    const UNREAD: Option<KnownManifest> = Some(KnownManifest::Index(None));

    #[rstest]
    #[case::indexes_that_nobody_read(('a', UNREAD), ('b', UNREAD), Some(false))]
    #[case::it_may_be_a_member(('a', UNREAD), ('b', SINGLE), None)]
    #[case::not_read_and_not_known(('a', UNREAD), ('b', None), None)]
    #[case::equal(('a', None), ('a', None), Some(true))]
    #[case::manifests(('a', SINGLE), ('b', SINGLE), Some(false))]
    #[case::one_may_be_an_index_of_the_other(('a', None), ('b', SINGLE), None)]
    #[case::nothing_known(('a', None), ('b', None), None)]
    #[case::member_of_the_index(('a', None), ('b', Some(index("ac"))), Some(true))]
    #[case::it_may_be_an_index_of_the_same(('a', None), ('b', Some(index("cd"))), None)]
    #[case::a_manifest_is_no_member(('a', SINGLE), ('b', Some(index("cd"))), Some(false))]
    #[case::indexes_of_other_images(('a', Some(index("cd"))), ('b', Some(index("ce"))), Some(false))]
    #[case::only_the_attestation_is_new(('a', Some(index("cd"))), ('b', Some(index("dc"))), Some(true))]
    #[case::a_platform_came(('a', Some(index("cd"))), ('b', Some(index("cde"))), Some(true))]
    #[case::empty_indexes_hold_nothing(('a', Some(index(""))), ('b', Some(index("c"))), Some(false))]
    fn two_digests(
        #[case] one: (char, Option<KnownManifest>),
        #[case] other: (char, Option<KnownManifest>),
        #[case] same: Option<bool>,
    ) {
        let (a, b) = (digest(one.0), digest(other.0));
        assert_eq!(same_image((&a, one.1.as_ref()), (&b, other.1.as_ref())), same);
        assert_eq!(same_image((&b, other.1.as_ref()), (&a, one.1.as_ref())), same);
    }
}
