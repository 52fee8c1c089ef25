//! The words of each kind of advice: one constructor per message, so that none is written twice
//! and the page of messages can show them all.

use super::{Advice, AdviceKind, Nearness};
use crate::history::KnownTag;
use crate::image::{DOCKER_HUB, Digest, ImageReference};
use crate::workload::ImagePullPolicy;

impl Advice {
    /// The name as it was most likely meant, with the registry if it was written.
    pub fn correct_name(correct: &ImageReference, written: &str) -> Self {
        let full = correct.to_string();
        let short = full.strip_prefix(DOCKER_HUB).and_then(|rest| rest.strip_prefix('/'));
        let short = short.filter(|_| !written.starts_with(DOCKER_HUB)).unwrap_or(&full);
        let message = format!("did you mean {}?", short.strip_prefix("library/").unwrap_or(short));
        Self::new(AdviceKind::CorrectName, correct.to_string(), message)
    }

    /// A tag that runs here; nothing if it is known by its digest only.
    pub fn known_tag(known: &KnownTag) -> Option<Self> {
        let tag = known.reference.tag()?;
        let message = format!("use {tag} ({})", running(known));
        Some(Self::new(AdviceKind::KnownGoodTag, tag, message))
    }

    /// The digest that ran here under the tag.
    pub fn last_digest(digest: &Digest) -> Self {
        let message = format!("use @{digest} (ran here under this tag)");
        Self::new(AdviceKind::LastGoodDigest, digest.as_str(), message)
    }

    /// A tag that is near to the one written.
    pub fn near_tag(tag: &str, nearness: Nearness) -> Self {
        let words = nearness.message();
        let message = if nearness.is_meant() {
            format!("did you mean {tag} ({words})?")
        } else {
            format!("use {tag} ({words})")
        };
        Self::new(AdviceKind::NearestTag, tag, message)
    }

    /// Whether it says no more than which tag to use.
    pub(crate) fn is_tag_to_use(&self) -> bool {
        let is_tag = matches!(self.kind, AdviceKind::KnownGoodTag | AdviceKind::NearestTag);
        is_tag && self.message.starts_with("use ")
    }

    /// An image of the same name that runs here from another repository.
    pub fn namesake(known: &KnownTag) -> Self {
        let image = &known.reference;
        let message = format!("did you mean {image} ({})?", running(known));
        Self::new(AdviceKind::NearestRepository, image.to_string(), message)
    }

    /// A pull secret that works. `account` is given where pods may only name secrets that their
    /// ServiceAccount names.
    pub fn secret_works(name: &str, account: Option<&str>) -> Self {
        let to = account.map(|account| format!(" to ServiceAccount {account}")).unwrap_or_default();
        let message = format!("add pull secret {name}{to} (tested)");
        Self::new(AdviceKind::PullSecret, name, message)
    }

    /// The same image under another name.
    pub fn same_elsewhere(image: &ImageReference, same_digest: bool) -> Self {
        let what = if same_digest { "the same image" } else { "the same name and tag" };
        let message = format!("use {image} ({what})");
        Self::new(AdviceKind::OtherSource, image.to_string(), message)
    }

    /// Every node has it; `nodes` of them.
    pub fn already_on_nodes(nodes: usize) -> Self {
        let nodes = match nodes {
            1 => "the node has".to_owned(),
            count => format!("all {count} nodes have"),
        };
        let message = format!("{nodes} it already: imagePullPolicy IfNotPresent would do");
        Self::new(AdviceKind::ImageOnNodes, ImagePullPolicy::IfNotPresent.as_str(), message)
    }

    /// It is never pulled, though it could be.
    pub fn pull_it() -> Self {
        let message = "the registry has it: imagePullPolicy IfNotPresent would pull it";
        Self::new(AdviceKind::PullPolicy, ImagePullPolicy::IfNotPresent.as_str(), message)
    }

    /// What to do about a used-up limit.
    pub fn throttled(anonymous: bool) -> Self {
        let (value, message) = if anonymous {
            ("authenticate", "log in with a pull secret, or pull through a mirror of your own")
        } else {
            ("mirror", "pull through a mirror of your own, or with an account of a higher limit")
        };
        Self::new(AdviceKind::Throttled, value, message)
    }
}

/// How many pods run it, and where.
fn running(known: &KnownTag) -> String {
    let place = if known.in_namespace { "here" } else { "in this cluster" };
    match known.pods {
        1 => format!("1 pod runs it {place}"),
        pods => format!("{pods} pods run it {place}"),
    }
}
