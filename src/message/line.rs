//! The one line about an image: image, cause, next step, the point within the first 120
//! characters.
//!
//! Only names that the user wrote, and what was proven, are repeated; never a word of a
//! registry's. What does not fit whole is left out, least important first: nothing that a person
//! would copy is ever cut. `docs/messages.md` shows every line.

use std::fmt::Write as _;

use super::cause::{escape_list, sentence, tls_words};
use super::drift::DigestDrift;
use super::limits::MAX_WARNING;
use super::quota::QuotaForecast;
use super::stats::{FailureStats, NodesFailing};
use crate::advice::{Advice, AdviceKind};
use crate::credential::CredentialOrigin;
use crate::image::{ImageReference, ReferenceError};
use crate::policy::{ExceptionUse, Reason, Ruling};
use crate::pull::{
    Assessment, Attempt, Cause, Outcome, Softened, TlsFault, Verdict, realm_to_list,
};
use crate::text::{clean, shorten};

/// Image and cause are within so many characters.
pub const MAX_HEAD: usize = 120;
/// An image name is cut to this before it stands in a line, keeping its end, where the tag is.
const MAX_IMAGE: usize = 60;
/// However long the cause is, so much of the image's name stands before it.
const MIN_IMAGE: usize = 30;
/// Names within a cause are cut to this.
const MAX_NAME: usize = 28;

/// The cause where nothing is wrong but the tag is one that moves.
const TAG_MOVES: &str = "can be pulled, but its tag may mean another image tomorrow";

/// What is said about one image.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub struct Finding<'a> {
    /// The image as written.
    pub image: &'a str,
    /// Why it does not parse, if it does not.
    pub reference_error: Option<&'a ReferenceError>,
    /// What will become of it.
    pub assessment: &'a Assessment,
    /// What each credential got.
    pub attempts: &'a [Attempt],
    /// What to do, proven, best first.
    pub advice: &'a [Advice],
    /// The secret that makes the kubelet give up, with the reason.
    pub broken_secret: Option<(&'a str, &'a str)>,
    /// Whether it is not known which pull secrets the pods get.
    pub secrets_unread: bool,
    /// What the policy makes of it.
    pub ruling: &'a Ruling,
    /// Whether the object is a pod.
    pub is_pod: bool,
    /// Whether somebody else may put other images into the pods of this object.
    pub pods_rewritten: bool,
    /// Whether the user may know that this very image ran here.
    pub seen_here: bool,
    /// How the image and its registry fare here, as far as the user may know.
    pub picture: Option<FailureStats>,
    /// Of an image that can be pulled: that nodes fail to reach its registry.
    pub nodes_failing: Option<NodesFailing>,
    /// Of an image that can be pulled: that pods run another digest of its tag.
    pub drift: Option<DigestDrift>,
    /// That its rollout needs more pulls than are left.
    pub quota: Option<QuotaForecast>,
}

/// A part of a line behind its head. Parts of lower rank are left out first.
struct Tail {
    rank: u8,
    words: String,
}

impl Finding<'_> {
    /// The line, within what the API server passes on whole.
    pub fn line(&self) -> String {
        fit(&[self.image], self)
    }

    /// Everything there is to say, without the image, for where there is room.
    pub fn words(&self) -> String {
        let mut words = self.cause(usize::MAX);
        for tail in self.tails() {
            words.push_str("; ");
            words.push_str(&tail.words);
        }
        clean(&words)
    }

    /// What to list where the registry wants credentials on a host of others. For those who run
    /// Pullgate: a registry chose that host.
    pub fn realm_to_list(&self) -> Option<String> {
        let registry = ImageReference::parse(self.image).ok()?;
        let registry = registry.host();
        let registry = registry.rsplit_once(':').map_or(registry, |(host, _port)| host);
        self.attempts.iter().find_map(|attempt| match &attempt.lookup.outcome {
            Outcome::ForeignRealm(realm) => Some(realm_to_list(registry, realm)),
            _ => None,
        })
    }

    /// The cause in words, with names of at most so many characters.
    fn cause(&self, most: usize) -> String {
        if self.ruling.refused {
            return "the pull policy of this cluster refuses it".to_owned();
        }
        let Some(cause) = self.assessment.cause else {
            if let Some(nodes) = self.nodes_failing {
                let host = ImageReference::parse(self.image);
                let host = host.as_ref().map_or("its registry", ImageReference::host);
                return nodes.words(&shorten(host, most));
            }
            if let Some(quota) = self.quota {
                return quota.words();
            }
            if self.advice.iter().any(|advice| advice.kind.is_an_end()) {
                return "can be pulled now, but not for long".to_owned();
            }
            if let Some(drift) = self.drift {
                return drift.words();
            }
            let moves = self.advice.iter().any(|advice| advice.kind == AdviceKind::MutableTag);
            let words = if moves { TAG_MOVES } else { "nothing is known against it" };
            return words.to_owned();
        };
        if self.assessment.softened == Some(Softened::RegistryTrouble) {
            let numbers = self.picture.and_then(|picture| picture.trouble());
            let numbers = numbers.unwrap_or_else(|| "many pods here fail to pull from it".into());
            return format!("registry trouble: {numbers}");
        }
        match cause {
            Cause::InvalidReference => {
                let offending = self.reference_error.map_or("", ReferenceError::offending);
                let offending = shorten(offending, most);
                format!("invalid name ({offending})")
            }
            Cause::BrokenPullSecret => {
                let name = self.broken_secret.map_or("", |(name, _)| name);
                let name = shorten(name, most);
                format!("pull secret `{name}` is malformed, so the kubelet cannot pull")
            }
            Cause::TagNotFound | Cause::RepositoryNotFound => self.not_found(cause),
            Cause::Unauthorized | Cause::Forbidden if self.secret_tried().is_some() => {
                let secret = shorten(self.secret_tried().unwrap_or_default(), most);
                if cause == Cause::Unauthorized {
                    format!("registry rejects the credentials in secret `{secret}` (401)")
                } else {
                    format!("registry denies access with secret `{secret}` (403)")
                }
            }
            Cause::RateLimited if self.on_docker_hub() => {
                "Docker Hub pull limit reached (429)".to_owned()
            }
            Cause::TlsFailure => self.tls().to_owned(),
            Cause::PlatformMismatch if !self.assessment.unfit_nodes.is_empty() => self.unfit(most),
            Cause::Unauthorized if self.is_anonymous() && self.secrets_unread => {
                "needs credentials (401)".to_owned()
            }
            Cause::Unauthorized if self.is_anonymous() => {
                "needs credentials and the pod has none (401)".to_owned()
            }
            Cause::AccessDeniedOrMissing if self.is_anonymous() && !self.secrets_unread => {
                "not found, or private and the pod has no credentials".to_owned()
            }
            _ => sentence(cause, self.assessment.verdict).to_owned(),
        }
    }

    /// Whether the trouble is one that others who name the same image share, and that is not told
    /// in the head already.
    fn is_of_the_registry(&self) -> bool {
        !self.ruling.refused
            && self.assessment.softened != Some(Softened::RegistryTrouble)
            && !matches!(
                self.assessment.cause,
                None | Some(Cause::InvalidReference | Cause::BrokenPullSecret)
            )
    }

    /// What is missing, by the words of the name that was written.
    fn not_found(&self, cause: Cause) -> String {
        let words = sentence(cause, self.assessment.verdict);
        if self.image.contains('@') { words.replace("tag", "digest") } else { words.to_owned() }
    }

    /// The secret whose credentials decided, if they are a secret's.
    fn secret_tried(&self) -> Option<&str> {
        let attempt = self.attempts.get(self.assessment.decisive?)?;
        match &attempt.source.as_ref()?.origin {
            CredentialOrigin::Secret(name) => Some(name),
            _ => None,
        }
    }

    fn on_docker_hub(&self) -> bool {
        ImageReference::parse(self.image).is_ok_and(|image| image.is_on_docker_hub())
    }

    /// Whether nobody logged in.
    fn is_anonymous(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.source.is_none())
    }

    /// It is pulled, and does not run on these nodes.
    fn unfit(&self, most: usize) -> String {
        let named = |name: &str| shorten(name, most);
        match self.assessment.unfit_nodes.as_slice() {
            [] => String::new(),
            [one] => format!("is not built for node `{}`, where its pods may land", named(one)),
            [first, rest @ ..] => format!(
                "is not built for {} nodes where its pods may land, such as `{}`",
                rest.len() + 1,
                named(first)
            ),
        }
    }

    fn tls(&self) -> &'static str {
        let fault = self.attempts.iter().find_map(|attempt| match attempt.lookup.outcome {
            Outcome::Tls(fault) => Some(fault),
            _ => None,
        });
        tls_words(fault.unwrap_or(TlsFault::Handshake))
    }

    /// The advice in words. Tags that would do are one sentence, with the reason for the best of them.
    fn ways(&self) -> Vec<(AdviceKind, String)> {
        let others = self.advice.iter().filter(|advice| advice.is_tag_to_use()).skip(1);
        let mut others: Vec<&str> = others.map(|advice| &*advice.value).collect();
        let last = others.pop();
        let mut ways = Vec::new();
        let mut has_tag = false;
        for advice in self.advice {
            let mut words = advice.message.clone();
            if advice.is_tag_to_use() {
                if has_tag {
                    continue;
                }
                has_tag = true;
                for tag in &others {
                    let _ = write!(words, ", `{tag}`");
                }
                if let Some(tag) = last {
                    let _ = write!(words, " or `{tag}`");
                }
            }
            ways.push((advice.kind, words));
        }
        ways
    }

    /// What follows the head, in the order in which it is read.
    fn tails(&self) -> Vec<Tail> {
        let mut tails = Vec::new();
        let mut say = |rank: u8, words: Option<String>| {
            tails.extend(words.map(|words| Tail { rank, words }));
        };
        say(0, self.obvious_step());
        say(1, self.just_now());
        say(1, self.why_broken());
        let alone = self.picture.filter(|_| self.is_of_the_registry());
        say(1, alone.and_then(|picture| picture.failing()));
        say(1, alone.and_then(|picture| picture.rest()));
        for (index, (kind, words)) in self.ways().into_iter().enumerate() {
            // The first is the best one; what runs on is worth more than a second way.
            let rank = match kind {
                _ if index == 0 => 0,
                AdviceKind::KeepsRunning => 2,
                _ => 5,
            };
            say(rank, Some(words));
        }
        if !self.ruling.refused {
            say(4, self.looker());
            say(2, self.escapes());
        }
        say(2, self.rewriters());
        let exception = self.ruling.exception.as_ref();
        let consequence = if self.ruling.pods_will_be_denied(self.is_pod) {
            Some(match self.ruling.grace {
                Some(grace) => format!("its pods will be denied if that is still so after {grace}"),
                None => "its pods will be denied".to_owned(),
            })
        } else if self.ruling.because == Reason::BreakGlass {
            Some("let through by break-glass".to_owned())
        } else {
            exception.filter(|exception| !exception.expired).map(exception_words)
        };
        say(3, consequence);
        say(3, exception.filter(|exception| exception.expired).map(exception_words));
        tails
    }

    /// What to do where the cause alone says it, and nothing better was found.
    fn obvious_step(&self) -> Option<String> {
        if !self.advice.is_empty() || self.ruling.refused || self.assessment.softened.is_some() {
            return None;
        }
        let step = match self.assessment.cause? {
            Cause::Unauthorized if self.secret_tried().is_some() => "update it",
            Cause::BrokenPullSecret => "recreate it",
            Cause::RateLimited => "pods may wait",
            _ => return None,
        };
        Some(step.to_owned())
    }

    /// What softened the verdict, or what the look-up said where that is not the head.
    fn just_now(&self) -> Option<String> {
        match (self.assessment.softened?, self.assessment.cause?) {
            (Softened::RegistryTrouble, cause) => {
                Some(format!("just now {}", sentence(cause, self.assessment.verdict)))
            }
            (Softened::RecentSuccess, _) if self.seen_here => {
                Some("though it was pulled here recently".to_owned())
            }
            // Said at the end, like the ways that are open to nodes.
            (Softened::NodesMayLogIn | Softened::MayBeHidden, _) => None,
            // Somebody else's pods are nobody's business.
            (Softened::RecentSuccess, _) => Some("it may still work on the nodes".to_owned()),
        }
    }

    /// What is wrong with a secret that makes the kubelet give up.
    fn why_broken(&self) -> Option<String> {
        let (_, why) = self.broken_secret?;
        (self.assessment.cause == Some(Cause::BrokenPullSecret)).then(|| why.to_owned())
    }

    /// Who asked, where that matters.
    fn looker(&self) -> Option<String> {
        let index = self.assessment.decisive?;
        let asked = matches!(
            self.assessment.cause?,
            Cause::TagNotFound
                | Cause::RepositoryNotFound
                | Cause::Unauthorized
                | Cause::Forbidden
                | Cause::AccessDeniedOrMissing
                | Cause::RateLimited
        );
        // The head names the secret that is refused.
        let named = matches!(self.assessment.cause?, Cause::Unauthorized | Cause::Forbidden)
            && self.secret_tried().is_some();
        let attempt = self.attempts.get(index).filter(|_| asked && !named)?;
        Some(match attempt.source.as_ref().map(|source| &source.origin) {
            None if self.secrets_unread => {
                "it is not known which pull secrets the pods get: checked without credentials"
                    .to_owned()
            }
            None => "checked without credentials".to_owned(),
            Some(CredentialOrigin::Secret(name)) => format!("checked with secret `{name}`"),
            Some(CredentialOrigin::User) => "checked with your own login".to_owned(),
            Some(_) => "checked with the nodes' credentials".to_owned(),
        })
    }

    /// That what a template names need not be what its pods get.
    fn rewriters(&self) -> Option<String> {
        let matters = self.pods_rewritten && self.assessment.verdict == Verdict::Fails;
        matters.then(|| "unless a mutating webhook here gives its pods another image".to_owned())
    }

    /// Which escapes are open: why it may work all the same.
    fn escapes(&self) -> Option<String> {
        match self.assessment.softened {
            Some(Softened::NodesMayLogIn) => {
                return Some("may still work if nodes have their own credentials".to_owned());
            }
            Some(Softened::MayBeHidden) => {
                return Some("unless it is only hidden from those who asked".to_owned());
            }
            _ => {}
        }
        let other_ways = escape_list(&self.assessment.escapes)?;
        Some(format!("may still work if nodes have {other_ways}"))
    }
}

fn exception_words(exception: &ExceptionUse) -> String {
    let ExceptionUse { name, owner, expires, expired, .. } = exception;
    let (name, owner) = (shorten(name, MAX_NAME), shorten(owner, MAX_NAME));
    // A day lasts until its end, which is the first moment of the next one.
    let last = expires.saturating_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(*expires);
    let day = last.strftime("%Y-%m-%d");
    if *expired {
        format!("exception `{name}` of {owner} ended on {day}")
    } else {
        format!("let through until {day} by exception `{name}` of {owner}")
    }
}

/// One line per problem: images of which the same is said share a line.
pub fn lines(findings: &[Finding<'_>]) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>, &Finding<'_>)> = Vec::new();
    for finding in findings {
        let words = finding.words();
        match groups.iter_mut().find(|(said, ..)| *said == words) {
            Some((_, images, _)) if images.contains(&finding.image) => {}
            Some((_, images, _)) => images.push(finding.image),
            None => groups.push((words, vec![finding.image], finding)),
        }
    }
    groups.iter().map(|(_, images, finding)| fit(images, finding)).collect()
}

/// The line about these images, with what fits of the rest.
fn fit(images: &[&str], finding: &Finding<'_>) -> String {
    let room = MAX_HEAD - MIN_IMAGE - "images : ".len();
    let cause = shorten(&clean(&finding.cause(MAX_NAME)), room);
    let subject = subject(images, MAX_HEAD - count(&cause) - ": ".len());
    let mut left = MAX_WARNING.saturating_sub(count(&subject) + 2 + count(&cause));
    let tails: Vec<Tail> = finding.tails();
    let mut order: Vec<usize> = (0..tails.len()).collect();
    order.sort_by_key(|index| tails.get(*index).map(|tail| tail.rank));
    let mut chosen = vec![false; tails.len()];
    for index in order {
        let Some(needed) = tails.get(index).map(|tail| count(&tail.words) + 2) else { continue };
        if needed <= left {
            left -= needed;
            chosen[index] = true;
        }
    }
    let mut line = format!("{subject}: {cause}");
    for tail in tails.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(tail, _)| tail) {
        line.push_str("; ");
        line.push_str(&tail.words);
    }
    clean(&line)
}

/// The images at the head of a line: all of them if they fit, else the first and how many more.
fn subject(images: &[&str], room: usize) -> String {
    let [first, rest @ ..] = images else { return String::new() };
    if rest.is_empty() {
        return format!("image {}", image_name(first, room - "image ".len()));
    }
    let all =
        format!("images {}", images.iter().map(|one| clean(one)).collect::<Vec<_>>().join(", "));
    if count(&all) <= room {
        return all;
    }
    let more = format!(" and {} more", rest.len());
    format!("image {}{more}", image_name(first, room - "image ".len() - count(&more)))
}

/// The image in a line: cut in front, since the end tells images apart.
fn image_name(image: &str, room: usize) -> String {
    let image = clean(image);
    let most = room.min(MAX_IMAGE);
    let length = count(&image);
    if length <= most {
        return image;
    }
    let head = shorten(&image, most / 3);
    let tail: String = image.chars().skip(length - most * 2 / 3).collect();
    format!("{head}{tail}")
}

fn count(text: &str) -> usize {
    text.chars().count()
}
