//! What `pullgate check` found, as a value, and the formats that it is written in. What a report says is
//! decided before; here it is only written.

mod format;
mod github;
mod gitlab;
mod json;
mod junit;
mod markdown;
mod rule;
mod sarif;
mod text;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::advice::Advice;
use crate::history::{ForecastBasis, PullForecast};
use crate::image::{Digest, Platform};
use crate::policy::Decision;
use crate::pull::{Cause, Escape, Verdict};
use crate::text::{clean, count};
use crate::workload::{ContainerKind, ObjectRef};
use crate::yaml::{InputError, Place, Position};

pub(crate) use format::{FORMATS, Format};
pub(crate) use markdown::{MAX_ROWS, code, escaped};
use rule::Severity;
pub(crate) use rule::{
    CERTIFICATE_ENDS, DIGEST_DRIFT, FailOn, LOGIN_ENDS, MUTABLE_TAG, NODES_FAIL, PULL_QUOTA,
};

/// The kind of what `--image` names, in reports.
pub(crate) const IMAGE_KIND: &str = "Image";

/// What `pullgate check` found.
#[derive(Debug, Default)]
pub(crate) struct CheckReport {
    /// One entry for each place of an image, in the order of the files.
    pub(crate) images: Vec<ImageEntry>,
    /// What could not be read, and might have been in it.
    pub(crate) unread: Vec<InputError>,
    /// From which result on the check fails.
    pub(crate) fail_on: FailOn,
    /// Whether it was compared with a baseline.
    pub(crate) has_baseline: bool,
}

/// One image at one place.
#[derive(Debug, Clone)]
pub(crate) struct ImageEntry {
    /// The object, with the namespace that stands in if it names none.
    pub(crate) object: ObjectRef,
    /// Which of the objects in the report it is.
    pub(crate) object_index: usize,
    /// Where it stands, if it stands in a file.
    pub(crate) place: Option<Place>,
    /// The JSON pointer of the image.
    pub(crate) path: Box<str>,
    /// The container's or volume's name.
    pub(crate) container: Box<str>,
    /// What it is the image of.
    pub(crate) kind: ContainerKind,
    /// The image as written.
    pub(crate) image: Box<str>,
    /// What was found of it.
    pub(crate) finding: Arc<ImageFinding>,
    /// Whether the same was found when the baseline was written.
    pub(crate) known: bool,
    /// How it differs from the lock file, if it does.
    pub(crate) lock: Option<LockFault>,
}

/// How an image that works differs from the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LockFault {
    /// Its tag stands for something else now.
    Moved {
        /// What the file says.
        locked: Box<str>,
    },
    /// It is not in the file.
    Missing,
}

/// What was found of an image, shared by its places.
#[derive(Debug)]
pub(crate) struct ImageFinding {
    /// The canonical reference; nothing if it does not parse.
    pub(crate) reference: Option<String>,
    /// What will become of it.
    pub(crate) verdict: Verdict,
    /// Why.
    pub(crate) cause: Option<Cause>,
    /// How a node could still succeed.
    pub(crate) escapes: Vec<Escape>,
    /// The words for a person, without the image.
    pub(crate) message: String,
    /// What to do.
    pub(crate) advice: Vec<AdviceEntry>,
    /// What the policy makes of it, or of the pods of the object.
    pub(crate) decision: Decision,
    /// Whether it was not looked at because the policy says so.
    pub(crate) skipped: bool,
    /// Whether an exception of the policy lets it through.
    pub(crate) excepted: bool,
    /// The rule of what is worth knowing of it although it works.
    pub(crate) noted: Option<&'static str>,
    /// Which credentials matched and what each got, if asked for.
    pub(crate) credentials: Option<CredentialReport>,
    /// What was learned of the image itself.
    pub(crate) pull: PullFacts,
}

/// What the look-ups of an image brought, as far as they brought it.
#[derive(Debug, Default)]
pub(crate) struct PullFacts {
    /// The digest of what the name stands for now.
    pub(crate) digest: Option<Digest>,
    /// What it is built for, if that was looked at.
    pub(crate) platforms: Vec<Platform>,
    /// Whose credentials can pull it, in words; `anonymous` for nobody's.
    pub(crate) pulled_with: Option<String>,
    /// How long the registry was waited for.
    pub(crate) took: Option<Duration>,
    /// How long nodes will pull it.
    pub(crate) forecast: Option<Forecast>,
}

/// How long a rollout will pull an image, by what was seen in the cluster: an estimate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forecast {
    /// The nodes that may get it and do not list it.
    pub(crate) nodes: usize,
    /// How long each of them is likely to take.
    pub(crate) expected: PullForecast,
}

impl Forecast {
    /// The estimate in words, and what it goes by.
    fn message(&self) -> String {
        let PullForecast { milliseconds, pulls, basis } = self.expected;
        let nodes = match self.nodes {
            1 => "1 node that lacks it".to_owned(),
            nodes => format!("each of {nodes} nodes that lack it"),
        };
        let seen = match (basis, pulls) {
            (ForecastBasis::Image, 1) => "by its last pull here".to_owned(),
            (ForecastBasis::Image, pulls) => format!("by its last {pulls} pulls here"),
            (ForecastBasis::Repository, 1) => "by a pull of another tag".to_owned(),
            (ForecastBasis::Repository, pulls) => format!("by {pulls} pulls of other tags"),
            (ForecastBasis::Registry, _) => "by its size and the registry's speed".to_owned(),
        };
        let seconds = milliseconds.div_ceil(1000).max(1);
        format!("about {seconds} s to pull on {nodes} ({seen})")
    }
}

impl ImageEntry {
    /// What is found of it, beginning with its name.
    pub(crate) fn line(&self) -> String {
        format!("image {}: {}", clean(&self.image), self.message())
    }

    /// The same behind the place where it stands in a file.
    pub(crate) fn line_with_place(&self) -> String {
        let Some(place) = &self.place else { return self.line() };
        let at = place.at.known_line().map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{at}: {}", clean(&place.file), self.line())
    }

    /// What is found of it, without its name.
    fn message(&self) -> String {
        let known = if self.known { "; known from the baseline" } else { "" };
        let lock = match &self.lock {
            Some(LockFault::Moved { locked }) => format!(
                "its tag has moved since it was locked as {locked}; pullgate lock takes the new one; "
            ),
            Some(LockFault::Missing) => {
                "it is not in the lock file; pullgate lock adds it; ".to_owned()
            }
            None => String::new(),
        };
        format!("{lock}{}{known}", self.finding.message)
    }

    /// The verdict in the words of reports.
    fn verdict_words(&self) -> &'static str {
        match &self.lock {
            Some(LockFault::Moved { .. }) => "moved",
            Some(LockFault::Missing) => "not locked",
            None => self.finding.verdict_words(),
        }
    }

    /// Whether it is an image that was named by itself.
    fn is_alone(&self) -> bool {
        &*self.object.kind == IMAGE_KIND && self.object.api_version.is_empty()
    }

    /// The object in words: `Deployment shop/cart`, or the image that was named by itself.
    pub(crate) fn object_title(&self) -> String {
        let ObjectRef { kind, namespace, name, .. } = &self.object;
        if self.is_alone() { clean(name) } else { clean(&format!("{kind} {namespace}/{name}")) }
    }

    /// What of the object it is the image of, in words: `init container migrate`.
    pub(crate) fn container_words(&self) -> String {
        let kind = match self.kind {
            ContainerKind::Init => "init container",
            ContainerKind::Regular => "container",
            ContainerKind::Ephemeral => "ephemeral container",
            ContainerKind::ImageVolume => "image volume",
        };
        clean(&format!("{kind} {}", self.container))
    }

    /// The object and what of it, in words.
    fn subject_words(&self) -> String {
        if self.is_alone() {
            self.object_title()
        } else {
            format!("{}, {}", self.object_title(), self.container_words().trim_end())
        }
    }

    /// The word for what is wrong with it, if anything is.
    pub(crate) fn rule(&self) -> &'static str {
        rule::rule_id(self)
    }

    /// The file that it stands in.
    fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|place| &*place.file)
    }

    /// Where in the file it stands.
    fn position(&self) -> Position {
        self.place.as_ref().map_or(Position::UNKNOWN, |place| place.at)
    }
}

impl ImageFinding {
    /// The verdict in the words of reports.
    fn verdict_words(&self) -> &'static str {
        match self.verdict {
            Verdict::Works => "works",
            Verdict::Fails => "fails",
            Verdict::CannotTell if self.skipped => "skipped",
            Verdict::CannotTell => "cannot tell",
        }
    }
}

impl PullFacts {
    /// The facts in words, for a report that has a line for them.
    fn message(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.digest.as_ref().map(ToString::to_string));
        if !self.platforms.is_empty() {
            let platforms: Vec<String> =
                self.platforms.iter().map(|platform| clean(&platform.to_string())).collect();
            words.push(format!("for {}", platforms.join(", ")));
        }
        words.extend(self.pulled_with.as_ref().map(|with| format!("credentials: {}", clean(with))));
        words.extend(self.took.map(|took| format!("looked up in {:.1} s", took.as_secs_f64())));
        words.join("; ")
    }
}

/// One thing to do.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AdviceEntry {
    /// What kind of thing.
    pub(crate) kind: &'static str,
    /// The tag, secret or reference itself.
    pub(crate) value: String,
    /// The words for a person.
    pub(crate) message: String,
    /// A command that does it, with words in angle brackets for what only the person knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
}

impl From<&Advice> for AdviceEntry {
    fn from(advice: &Advice) -> Self {
        Self {
            kind: advice.kind.as_str(),
            value: advice.value.to_string(),
            message: advice.message.clone(),
            command: advice.command.clone(),
        }
    }
}

/// Which credentials matched an image, in the order in which they are tried.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct CredentialReport {
    /// Where the pull secrets come from, in words.
    pub(crate) origin: String,
    /// What was tried, in order.
    pub(crate) tried: Vec<TriedCredential>,
    /// Secrets and entries that do not count, with the reason.
    pub(crate) notes: Vec<String>,
}

/// One matching entry.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TriedCredential {
    /// Where it is from, in words; `anonymous` for none.
    pub(crate) from: String,
    /// Its key as written; empty for none.
    pub(crate) key: String,
    /// How it came to match: `key`, `hub_fallback`, `node`, `own_login` or `anonymous`.
    pub(crate) rule: &'static str,
    /// `works`, the word of a cause, or `not_tried`.
    pub(crate) outcome: &'static str,
    /// The outcome in words.
    #[serde(rename = "message")]
    pub(crate) words: String,
}

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) objects: usize,
    pub(crate) images: usize,
    pub(crate) works: usize,
    pub(crate) fails: usize,
    pub(crate) cannot_tell: usize,
    pub(crate) allow: usize,
    pub(crate) warn: usize,
    pub(crate) deny: usize,
    pub(crate) unread: usize,
    pub(crate) known: usize,
    pub(crate) unlocked: usize,
}

impl CheckReport {
    /// How much a report is to make of this entry.
    fn severity(&self, entry: &ImageEntry) -> Severity {
        self.fail_on.severity(entry)
    }

    /// Whether anything is at or above what the person wants to fail on.
    pub(crate) fn fails(&self) -> bool {
        self.images.iter().any(|entry| self.fail_on.counts(entry))
    }

    /// The counts.
    pub(crate) fn summary(&self) -> Summary {
        let (images, unread) = (self.images.len(), self.unread.len());
        let mut summary = Summary { images, unread, ..Summary::default() };
        let mut last = None;
        for entry in &self.images {
            summary.objects += usize::from(last != Some(entry.object_index));
            last = Some(entry.object_index);
            summary.known += usize::from(entry.known);
            summary.unlocked += usize::from(entry.lock.is_some());
            match entry.finding.verdict {
                Verdict::Works => summary.works += 1,
                Verdict::Fails => summary.fails += 1,
                Verdict::CannotTell => summary.cannot_tell += 1,
            }
            match entry.finding.decision {
                Decision::Allow => summary.allow += 1,
                Decision::Warn => summary.warn += 1,
                Decision::Deny => summary.deny += 1,
            }
        }
        summary
    }
}

impl Summary {
    /// The counts in words, as the last line of a report.
    fn message(self) -> String {
        let Self {
            objects, images, works, fails, cannot_tell, deny, unread, known, unlocked, ..
        } = self;
        let mut words = format!(
            "{} in {}: {works} {}, {fails} {}, {cannot_tell} cannot tell",
            count(images, "image"),
            count(objects, "object"),
            if works == 1 { "works" } else { "work" },
            if fails == 1 { "fails" } else { "fail" },
        );
        if deny > 0 {
            let _ = write!(words, "; {deny} would be denied");
        }
        if unlocked > 0 {
            let _ = write!(words, "; {unlocked} not as in the lock file");
        }
        if known > 0 {
            let _ = write!(words, "; {known} known from the baseline");
        }
        if unread > 0 {
            let _ = write!(words, "; {} could not be read", count(unread, "input"));
        }
        words
    }
}
