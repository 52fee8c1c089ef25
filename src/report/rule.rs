//! How much a report is to make of a finding, one rule for all formats; and the names that forges know
//! findings by: a rule for each cause, and a fingerprint for each image at its place.

use std::collections::HashMap;

use super::{ImageEntry, LockFault};
use crate::failure::{Classified, next_step};
use crate::image::Digest;
use crate::message::{evidence, sentence};
use crate::policy::Decision;
use crate::pull::{Cause, Verdict};
use crate::yaml::InputError;

/// Where the causes are described.
const DOCS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/messages.md");
/// The rule of an image that could be pulled and that the policy refuses.
const REFUSED: &str = "refused_by_policy";

/// The rule of a tag that stands for something else than the lock file says.
const MOVED: &str = "tag_moved";
/// The rule of an image that the lock file does not have.
const NOT_LOCKED: &str = "not_locked";

/// The rule of a tag that everybody moves, kept on nodes as it once was.
pub(crate) const MUTABLE_TAG: &str = "mutable_tag";
/// The rule of a pull secret that soon gets nothing any more.
pub(crate) const LOGIN_ENDS: &str = "pull_secret_expires";
/// The rule of a client certificate of the nodes that soon gets nothing any more.
pub(crate) const CERTIFICATE_ENDS: &str = "client_certificate_expires";
/// The rule of a tag that the registry has another digest for than pods run.
pub(crate) const DIGEST_DRIFT: &str = "digest_drift";
/// The rule of a rollout that needs more pulls than are left.
pub(crate) const PULL_QUOTA: &str = "pull_quota";
/// The rule of an image whose registry nodes fail to reach.
pub(crate) const NODES_FAIL: &str = "nodes_fail";

/// The name under which input that cannot be read is reported; it is no finding.
pub(super) const UNREADABLE: &str = "unreadable_input";

/// What a finding is an instance of.
pub(super) struct Rule {
    /// The word of the cause.
    pub(super) id: &'static str,
    /// What is wrong, in a sentence.
    pub(super) summary: String,
    /// What was seen where this is said.
    pub(super) evidence: &'static str,
    /// What to do.
    pub(super) next_step: &'static str,
    /// Whether it may pass by itself.
    pub(super) is_transient: bool,
}

/// Every rule, in an order that only grows at its end.
pub(super) fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Cause::ALL.iter().map(|cause| of_cause(*cause)).collect();
    rules.push(Rule {
        id: REFUSED,
        summary: "The policy refuses this image".to_owned(),
        evidence: "the image's name, and the registries that the PullgatePolicy refuses",
        next_step: "use an image that the policy allows, or ask the platform team for an exception",
        is_transient: false,
    });
    rules.push(Rule {
        id: MOVED,
        summary: "The tag stands for another image than the lock file says".to_owned(),
        evidence: "the digest that the registry has for the tag, and that of the lock file",
        next_step: "look at what has changed and run pullgate lock, or pin the digest",
        is_transient: false,
    });
    rules.push(Rule {
        id: NOT_LOCKED,
        summary: "The image is not in the lock file".to_owned(),
        evidence: "the lock file",
        next_step: "run pullgate lock",
        is_transient: false,
    });
    rules.extend(noted());
    rules
}

/// Those of images that work.
fn noted() -> [Rule; 6] {
    [
        Rule {
            id: MUTABLE_TAG,
            summary: "The tag may mean another image tomorrow".to_owned(),
            evidence: "the tag and its pull policy, and the images that pods have under it",
            next_step: "pin the digest (pullgate pin), or use a tag that stays",
            is_transient: true,
        },
        Rule {
            id: LOGIN_ENDS,
            summary: "The login of the pull secret ends within a day".to_owned(),
            evidence: "the end that the login names",
            next_step: "renew the pull secret",
            is_transient: true,
        },
        Rule {
            id: NODES_FAIL,
            summary: "Nodes fail to reach the registry".to_owned(),
            evidence: "what nodes reported of their latest pulls",
            next_step: "see pullgate explain --registry HOST",
            is_transient: true,
        },
        Rule {
            id: CERTIFICATE_ENDS,
            summary: "The client certificate that nodes show to the registry ends within a day"
                .to_owned(),
            evidence: "the certificate in the nodes' mirror configuration",
            next_step: "renew the certificate on the nodes, and where Pullgate was given it",
            is_transient: true,
        },
        Rule {
            id: DIGEST_DRIFT,
            summary: "Pods run another digest of the tag than the registry has".to_owned(),
            evidence: "the digest that the registry has for the tag, and those that nodes report",
            next_step: "pin the digest (pullgate pin), or restart the pods that are to follow the tag",
            is_transient: true,
        },
        Rule {
            id: PULL_QUOTA,
            summary: "The rollout may need more pulls than Docker Hub has left".to_owned(),
            evidence: "replicas, the nodes that lack the image, and what Docker Hub last said is left",
            next_step: "pull with an account, through a mirror, or roll out later",
            is_transient: true,
        },
    ]
}

fn of_cause(cause: Cause) -> Rule {
    let step = next_step(&Classified {
        cause,
        registry: None,
        credential_problem: None,
        address: None,
        advice: None,
    });
    Rule {
        id: cause.as_str(),
        summary: capitalised(sentence(cause, Verdict::Fails)),
        evidence: evidence(cause),
        next_step: step,
        is_transient: cause.is_transient(),
    }
}

impl Rule {
    /// The page that says more.
    pub(super) fn link(&self) -> String {
        let page = match self.id {
            REFUSED => Some("policy.md"),
            MOVED | NOT_LOCKED => Some("pipelines.md"),
            MUTABLE_TAG | DIGEST_DRIFT | PULL_QUOTA | LOGIN_ENDS | NODES_FAIL
            | CERTIFICATE_ENDS => Some("check.md"),
            _ => None,
        };
        if let Some(page) = page {
            return format!("{}/blob/main/docs/{page}", env!("CARGO_PKG_REPOSITORY"));
        }
        format!("{DOCS}#{}", self.id)
    }
}

/// The rule of an entry that is no success.
pub(super) fn rule_id(entry: &ImageEntry) -> &'static str {
    match &entry.lock {
        Some(LockFault::Moved { .. }) => MOVED,
        Some(LockFault::Missing) => NOT_LOCKED,
        None => entry.finding.cause.map(Cause::as_str).or(entry.finding.noted).unwrap_or(REFUSED),
    }
}

/// The text with a capital in front.
pub(super) fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + rest.as_str())
}

/// Fingerprints of the entries of one report. They stay when lines move, and no two are equal.
#[derive(Default)]
pub(super) struct Fingerprints {
    seen: HashMap<String, u32>,
}

impl Fingerprints {
    /// The next entry's: of its file, object, container, image and rule.
    pub(super) fn next(&mut self, entry: &ImageEntry) -> String {
        let object = &entry.object;
        let parts = [
            entry.file().unwrap_or_default(),
            &object.api_version,
            &object.kind,
            &object.namespace,
            &object.name,
            &entry.container_words(),
            &entry.image,
            rule_id(entry),
        ];
        self.unique(parts.join("\0"))
    }

    /// That of input that cannot be read.
    pub(super) fn of_unread(&mut self, error: &InputError) -> String {
        self.unique([UNREADABLE, &error.file, &error.problem].join("\0"))
    }

    fn unique(&mut self, key: String) -> String {
        let before = self.seen.entry(key.clone()).or_default();
        *before += 1;
        let whole = if *before == 1 { key } else { format!("{key}\0{before}") };
        Digest::of_sha256(whole.as_bytes()).as_str().trim_start_matches("sha256:").to_owned()
    }
}

/// From which result on the exit code is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FailOn {
    /// Something would be denied, by the policy and the mode of its namespace
    Deny,
    /// An image certainly fails, whatever the mode
    #[default]
    Fails,
    /// It cannot be told of an image whether it works
    CannotTell,
}

/// What is to be made of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// It works, or the policy wants it left alone.
    None,
    /// Nobody has to act: it cannot be told, or something is worth knowing.
    Note,
    /// Admission warns of it, or it fails and the check was told to let that pass.
    Warning,
    /// Admission denies it, or the check fails on it.
    Error,
}

impl FailOn {
    /// Whether this entry makes the exit code 1. What an exception is for does not, as at admission,
    /// nor what is in the baseline.
    pub(super) fn counts(self, entry: &ImageEntry) -> bool {
        let finding = &entry.finding;
        if entry.known {
            return false;
        }
        finding.decision == Decision::Deny
            || entry.lock.is_some()
            || match finding.verdict {
                _ if finding.excepted => false,
                Verdict::Fails => self != Self::Deny,
                Verdict::CannotTell => self == Self::CannotTell && !finding.skipped,
                Verdict::Works => false,
            }
    }

    /// What is to be made of this entry.
    pub(super) fn severity(self, entry: &ImageEntry) -> Severity {
        let finding = &entry.finding;
        let fails = finding.verdict == Verdict::Fails && !finding.excepted;
        if self.counts(entry) {
            Severity::Error
        } else if !entry.known && (finding.decision == Decision::Warn || fails) {
            Severity::Warning
        } else if finding.skipped
            || (finding.verdict == Verdict::Works
                && finding.cause.is_none()
                && finding.noted.is_none())
        {
            Severity::None
        } else {
            Severity::Note
        }
    }
}
