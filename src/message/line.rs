//! The one line about an image: image, cause, next step, the point within the first 120
//! characters; then what does not change the next step.
//!
//! Only names that the user wrote, and what was proven, are repeated; never a word of a
//! registry's. What does not fit whole is left out, least important first: nothing that a person
//! would copy is ever cut. `docs/messages.md` shows every line.

use std::fmt::Write as _;

use super::cause::{escape_list, sentence, tls_words};
use super::decision::{NOT_FOUND_YET, exception_words};
use super::fit::{MAX_CAUSE, MAX_NAME, Tail, fit, joined};
use super::observed::DigestDrift;
use super::stats::QuotaForecast;
use super::stats::{FailureStats, NodesFailing};
use crate::advice::{Advice, AdviceKind, built_for};
use crate::credential::CredentialOrigin;
use crate::image::{DOCKER_HUB, ImageReference, ReferenceError};
use crate::policy::{Reason, Ruling};
use crate::pull::{
    Assessment, Attempt, Cause, Content, Doubt, Outcome, TlsFault, Verdict, realm_to_list,
};
use crate::text::{clean, shorten};

/// The cause where nothing is wrong but the tag is one that moves.
const TAG_MOVES: &str = "can be pulled, but its tag may mean another image tomorrow";

/// What is said about one image.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub struct Finding<'a> {
    /// The image as written.
    pub image: &'a str,
    /// The image as it is read, or why it does not parse.
    pub reference: Result<&'a ImageReference, &'a ReferenceError>,
    /// What will become of it.
    pub assessment: &'a Assessment,
    /// What each credential got.
    pub attempts: &'a [Attempt],
    /// What to do, proven, best first.
    pub advice: &'a [Advice],
    /// The secret that makes the kubelet give up, with the reason.
    pub broken_secret: Option<(&'a str, &'a str)>,
    /// A secret that the pod names and that does not exist, and its namespace.
    pub missing_secret: Option<(&'a str, &'a str)>,
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
    pub stats: Option<FailureStats>,
    /// Of an image that can be pulled: that nodes fail to reach its registry.
    pub nodes_failing: Option<NodesFailing>,
    /// Of an image that can be pulled: that pods run another digest of its tag.
    pub drift: Option<DigestDrift>,
    /// That its rollout needs more pulls than are left.
    pub quota: Option<QuotaForecast>,
}

impl Finding<'_> {
    /// The line, within what the API server passes on whole.
    pub fn line(&self) -> String {
        self.about(&[self.image])
    }

    /// The line about all of these images.
    fn about(&self, images: &[&str]) -> String {
        fit(images, &self.cause(MAX_NAME), &self.tails())
    }

    /// Everything there is to say, without the image, for where there is room.
    pub fn message(&self) -> String {
        clean(&joined(self.cause(usize::MAX), self.tails().iter()))
    }

    /// What to list where the registry wants credentials on a host of others. For those who run
    /// Pullgate: a registry chose that host.
    pub(crate) fn realm_to_list(&self) -> Option<String> {
        let registry = self.reference.ok()?.host();
        let registry = registry.rsplit_once(':').map_or(registry, |(host, _port)| host);
        self.attempts.iter().find_map(|attempt| match &attempt.lookup.outcome {
            Outcome::ForeignRealm(realm) => Some(realm_to_list(registry, realm)),
            _ => None,
        })
    }

    /// The cause in words, with names of at most so many characters.
    fn cause(&self, most: usize) -> String {
        if self.ruling.refused {
            return "not allowed by PullgatePolicy (registries.refuse)".to_owned();
        }
        let Some(cause) = self.assessment.cause else { return self.note(most) };
        if self.assessment.doubt == Some(Doubt::RegistryTrouble) {
            let numbers = self.stats.and_then(|stats| stats.trouble());
            let numbers = numbers.unwrap_or_else(|| "many pods here fail to pull from it".into());
            return format!("registry problem: {numbers}");
        }
        let outcome = self.decisive().map(|attempt| &attempt.lookup.outcome);
        match cause {
            Cause::InvalidReference => {
                let offending = self.reference.err().map_or("", ReferenceError::offending);
                let offending = shorten(offending, most);
                format!("invalid name ({offending})")
            }
            Cause::BrokenPullSecret => {
                let name = self.broken_secret.map_or("", |(name, _)| name);
                let name = shorten(name, most);
                format!("pull secret {name} is malformed, so the kubelet cannot pull")
            }
            Cause::TagNotFound | Cause::RepositoryNotFound => self.not_found(cause),
            Cause::Unauthorized | Cause::Forbidden if self.secret_tried().is_some() => {
                let secret = shorten(self.secret_tried().unwrap_or_default(), most);
                if outcome == Some(&Outcome::PasswordMissing) {
                    format!("the password in secret {secret} is empty")
                } else if cause == Cause::Unauthorized {
                    format!("registry rejects the credentials in secret {secret} (401)")
                } else {
                    format!("registry denies access with secret {secret} (403)")
                }
            }
            Cause::RateLimited if self.on_docker_hub() => {
                "Docker Hub pull limit reached (429)".to_owned()
            }
            Cause::MalformedAnswer if matches!(outcome, Some(Outcome::Exists(found)) if found.head_refused) => {
                "the registry serves CRI-O and refuses what containerd asks first".to_owned()
            }
            Cause::TlsFailure => self.tls().to_owned(),
            Cause::PlatformMismatch if !self.assessment.unfit_nodes.is_empty() => self.unfit(most),
            Cause::PlatformMismatch => {
                let words = self.built_for().map(|(_, words)| words);
                words.unwrap_or_else(|| sentence(cause, self.assessment.verdict).to_owned())
            }
            Cause::Unauthorized if self.is_missing_secret() => {
                let (name, namespace) = self.missing_secret.unwrap_or_default();
                let (name, namespace) = (shorten(name, most), shorten(namespace, most));
                format!("pull secret {name} not found in namespace {namespace} (yet)")
            }
            Cause::Unauthorized if self.is_anonymous() && self.secrets_unread => {
                "needs credentials (401)".to_owned()
            }
            Cause::Unauthorized if self.is_anonymous() => {
                "needs credentials and the pod has none".to_owned()
            }
            Cause::AccessDeniedOrMissing if self.is_anonymous() && !self.secrets_unread => {
                "not found, or private and the pod has no credentials".to_owned()
            }
            _ => sentence(cause, self.assessment.verdict).to_owned(),
        }
    }

    /// What is worth knowing of an image that nothing is wrong with.
    fn note(&self, most: usize) -> String {
        if let Some(nodes) = self.nodes_failing {
            let host = self.reference.map_or("its registry", ImageReference::host);
            return nodes.message(&shorten(host, most));
        }
        if let Some(quota) = self.quota {
            return quota.message();
        }
        if self.advice.iter().any(|advice| advice.kind.is_an_end()) {
            return "can be pulled now, but not for long".to_owned();
        }
        if let Some(drift) = self.drift {
            return drift.message();
        }
        let moves = self.advice.iter().any(|advice| advice.kind == AdviceKind::MutableTag);
        let words = if moves { TAG_MOVES } else { "nothing is known against it" };
        words.to_owned()
    }

    /// Whether the trouble is one that others who name the same image share, and that is not told
    /// in the head already.
    fn is_of_the_registry(&self) -> bool {
        !self.ruling.refused
            && self.assessment.doubt != Some(Doubt::RegistryTrouble)
            && !matches!(
                self.assessment.cause,
                None | Some(Cause::InvalidReference | Cause::BrokenPullSecret)
            )
    }

    /// What is missing, by the words of the name that was written.
    fn not_found(&self, cause: Cause) -> String {
        let mut words = sentence(cause, self.assessment.verdict).to_owned();
        if self.image.contains('@') {
            words = words.replace("tag", "digest");
        }
        // The registry is named once: it stands in the image already, unless it is left out.
        if self.on_docker_hub() && !self.image.contains(DOCKER_HUB) {
            words = words.replace("in the registry", "on Docker Hub");
            words = words.replace("from the registry", "from Docker Hub");
        }
        words
    }

    fn decisive(&self) -> Option<&Attempt> {
        self.attempts.get(self.assessment.decisive?)
    }

    /// The secret whose credentials decided, if they are a secret's.
    fn secret_tried(&self) -> Option<&str> {
        let attempt = self.decisive()?;
        match &attempt.source.as_ref()?.origin {
            CredentialOrigin::Secret(name) => Some(name),
            _ => None,
        }
    }

    /// Whether all there is to say is that the secret is missing which was to give the credentials.
    fn is_missing_secret(&self) -> bool {
        self.assessment.cause == Some(Cause::Unauthorized)
            && self.assessment.doubt != Some(Doubt::RegistryTrouble)
            && self.missing_secret.is_some()
            && self.is_anonymous()
            && !self.secrets_unread
    }

    /// The secret that the head names as the trouble.
    fn secret_in_head(&self) -> Option<&str> {
        match self.assessment.cause? {
            Cause::BrokenPullSecret => self.broken_secret.map(|(name, _)| name),
            Cause::Unauthorized if self.is_missing_secret() => {
                self.missing_secret.map(|(name, _)| name)
            }
            Cause::Unauthorized | Cause::Forbidden => self.secret_tried(),
            _ => None,
        }
    }

    fn on_docker_hub(&self) -> bool {
        self.reference.is_ok_and(ImageReference::is_on_docker_hub)
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
            [one] => format!("is not built for node {}, where its pods may land", named(one)),
            [first, rest @ ..] => format!(
                "is not built for {} nodes where its pods may land, such as {}",
                rest.len() + 1,
                named(first)
            ),
        }
    }

    /// What the image is built for and what its nodes are, where that says why none takes it.
    fn built_for(&self) -> Option<(String, String)> {
        let attempt = self.decisive()?;
        let Outcome::Exists(found) = &attempt.lookup.outcome else { return None };
        let Content::Platforms(entries) = &found.content else { return None };
        let nodes = &self.assessment.node_platforms;
        let differ = nodes.iter().flatten().all(|node| {
            entries
                .iter()
                .flatten()
                .all(|entry| (&entry.os, &entry.architecture) != (&node.os, &node.architecture))
        });
        let (built, nodes) = (built_for(entries)?, built_for(nodes)?);
        let words = format!("built for {built} only, but its nodes are {nodes}");
        (differ && words.chars().count() <= MAX_CAUSE).then_some((built, words))
    }

    fn tls(&self) -> &'static str {
        let fault = self.attempts.iter().find_map(|attempt| match attempt.lookup.outcome {
            Outcome::Tls(fault) => Some(fault),
            _ => None,
        });
        tls_words(fault.unwrap_or(TlsFault::Handshake))
    }

    /// The advice in words, without what the head says already. Tags that would do are one sentence,
    /// with the reason for the best of them.
    fn ways(&self) -> Vec<(AdviceKind, String)> {
        let others = self.advice.iter().filter(|advice| advice.is_tag_to_use()).skip(1);
        let mut others: Vec<&str> = others.map(|advice| &*advice.value).collect();
        let last = others.pop();
        let mut ways = Vec::new();
        let mut has_tag = false;
        for advice in self.advice {
            let mut words = advice.message.clone();
            if advice.kind == AdviceKind::FixSecret && self.secret_in_head() == Some(&*advice.value)
            {
                if self.is_missing_secret() {
                    continue;
                }
                words = words.replace(&format!("secret {}", advice.value), "it");
            }
            if let (AdviceKind::Platform, Some((built, _))) = (advice.kind, self.built_for()) {
                let rest = words.strip_prefix(&format!("built for {built}"));
                match rest.map(|rest| rest.trim_start_matches(": ").to_owned()) {
                    Some(rest) if rest.is_empty() => continue,
                    Some(rest) => words = rest,
                    None => {}
                }
            }
            if advice.is_tag_to_use() {
                if has_tag {
                    continue;
                }
                has_tag = true;
                for tag in &others {
                    let _ = write!(words, ", {tag}");
                }
                if let Some(tag) = last {
                    let _ = write!(words, " or {tag}");
                }
            }
            ways.push((advice.kind, words));
        }
        ways
    }

    /// What follows the head, in the order in which it is read.
    fn tails(&self) -> Vec<Tail> {
        let mut steps = Vec::new();
        steps.extend(self.obvious_step().map(|words| Tail::step(0, words)));
        steps.extend(self.just_now().map(|words| Tail::step(1, words)));
        steps.extend(self.why_broken().map(|words| Tail::step(1, words)));
        let (after, ways): (Vec<_>, Vec<_>) =
            self.ways().into_iter().partition(|(kind, _)| *kind == AdviceKind::KeepsRunning);
        for (index, (_, words)) in ways.into_iter().enumerate() {
            // The first is the best one; what runs on is worth more than a second way.
            steps.push(Tail::step(if index == 0 { 0 } else { 5 }, words));
        }
        steps.extend(after.into_iter().map(|(_, words)| Tail::detail(2, words)));
        steps.extend(self.details());
        steps
    }

    /// What is worth knowing and changes nothing about what to do now.
    fn details(&self) -> Vec<Tail> {
        let mut details = Vec::new();
        let mut say = |rank: u8, words: Option<String>| {
            details.extend(words.map(|words| Tail::detail(rank, words)));
        };
        let stats = self.stats.filter(|_| self.is_of_the_registry());
        say(1, stats.and_then(|stats| stats.failing()));
        say(1, stats.and_then(|stats| stats.rest()));
        say(1, self.worked_recently());
        if !self.ruling.refused {
            say(4, self.looker());
            say(2, self.escapes());
        }
        say(2, self.why_not_yet());
        say(2, self.rewriters());
        let exception = self.ruling.exception.as_ref();
        let consequence = if self.ruling.pods_will_be_denied(self.is_pod) {
            Some(match self.ruling.grace {
                Some(grace) => format!("its pods will be denied if that is still so after {grace}"),
                None => "its pods will be denied".to_owned(),
            })
        } else if self.ruling.reason == Reason::BreakGlass {
            Some("let through by break-glass".to_owned())
        } else {
            exception.filter(|exception| !exception.expired).map(exception_words)
        };
        say(3, consequence);
        say(3, exception.filter(|exception| exception.expired).map(exception_words));
        details
    }

    /// What to do where the cause alone says it, and nothing better was found.
    fn obvious_step(&self) -> Option<String> {
        if !self.advice.is_empty() || self.ruling.refused || self.assessment.doubt.is_some() {
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

    /// What the look-up said where that is not the head.
    fn just_now(&self) -> Option<String> {
        let cause = self.assessment.cause?;
        if self.assessment.doubt? != Doubt::RegistryTrouble {
            return None;
        }
        let said = sentence(cause, self.assessment.verdict);
        let of_registry =
            ["registry ", "the registry "].iter().find_map(|it| said.strip_prefix(it));
        Some(of_registry.map_or_else(|| format!("now: {said}"), |said| format!("it now {said}")))
    }

    /// That nodes had it not long ago.
    fn worked_recently(&self) -> Option<String> {
        if self.assessment.doubt? != Doubt::RecentSuccess || self.assessment.cause.is_none() {
            return None;
        }
        // Somebody else's pods are nobody's business.
        let words = if self.seen_here {
            "though it was pulled here recently"
        } else {
            "nodes may still be able to pull it"
        };
        Some(words.to_owned())
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
            Some(CredentialOrigin::Secret(name)) => format!("checked with secret {name}"),
            Some(CredentialOrigin::User) => "checked with your own login".to_owned(),
            Some(_) => "checked with the nodes' credentials".to_owned(),
        })
    }

    /// Why a tag that is not found does not decide yet.
    fn why_not_yet(&self) -> Option<String> {
        let may_come_back = self.assessment.cause == Some(Cause::TagNotFound)
            && self.ruling.reason == Reason::RefusedOnce
            && self.decisive().is_some_and(|attempt| attempt.lookup.is_unconfirmed());
        may_come_back.then(|| NOT_FOUND_YET.to_owned())
    }

    /// That what a template names need not be what its pods get.
    fn rewriters(&self) -> Option<String> {
        let matters = self.pods_rewritten && self.assessment.verdict == Verdict::Fails;
        matters.then(|| "unless a mutating webhook here gives its pods another image".to_owned())
    }

    /// Which escapes are open: why it may still work.
    fn escapes(&self) -> Option<String> {
        match self.assessment.doubt {
            Some(Doubt::NodesMayLogIn) => {
                return Some("may still work if nodes have their own credentials".to_owned());
            }
            Some(Doubt::MayBeHidden) => {
                return Some("or the registry hides it from these credentials".to_owned());
            }
            Some(Doubt::OwnLoopback) => return Some(OWN_LOOPBACK.to_owned()),
            _ => {}
        }
        let other_ways = escape_list(&self.assessment.escapes)?;
        Some(format!("may still work if nodes have {other_ways}"))
    }
}

/// What a registry at `localhost` says about nodes.
const OWN_LOOPBACK: &str = "localhost is another machine on each node (--allow-address 127.0.0.0/8 if they ask this one's registry)";

/// One line per problem: images of which the same is said share a line.
pub fn lines(findings: &[Finding<'_>]) -> Vec<String> {
    if let [alone] = findings {
        return vec![alone.line()];
    }
    let mut groups: Vec<(String, Vec<&str>, &Finding<'_>)> = Vec::new();
    for finding in findings {
        let words = finding.message();
        match groups.iter_mut().find(|(said, ..)| *said == words) {
            Some((_, images, _)) if images.contains(&finding.image) => {}
            Some((_, images, _)) => images.push(finding.image),
            None => groups.push((words, vec![finding.image], finding)),
        }
    }
    groups.iter().map(|(_, images, finding)| finding.about(images)).collect()
}
