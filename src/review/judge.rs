//! One image's way: gather, assess, decide; and the second look before a denial.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;

use super::context::{FRESH, PodSecrets, ResolvedName, ReviewContext, SecretsNow, is_listed};
use super::gather::Gathered;
use super::visibility::SharedVisibility;
use super::{ImageReview, ReviewRequest, SeenPod, advise};
use crate::advice::{Advice, certificate_expires, secret_expires};
use crate::credential::{CredentialOrigin, Expiry};
use crate::history::{Freshness, History, HistoryQuestion, RegistryService, Success, Visibility};
use crate::image::ImageReference;
use crate::policy::{Decision, DecisionInput, Reason, Ruling};
use crate::pull::{
    Assessment, Attempt, Cause, Doubt, HistoryFacts, Observation, Verdict, Vouches, assess,
};
use crate::workload::{ContainerImage, ImagePullPolicy, NamespaceFacts, Rollout};

/// What of this cluster's history counts in the judgement of one image.
#[derive(Clone, Copy)]
struct CountedHistory {
    facts: HistoryFacts,
    images_of_nodes: bool,
    history_hidden: bool,
}

impl CountedHistory {
    const fn all(facts: HistoryFacts) -> Self {
        Self { facts, images_of_nodes: true, history_hidden: false }
    }
}

/// What one image is weighed by.
#[derive(Clone, Copy)]
struct AssessmentInput<'a> {
    places: &'a [ContainerImage],
    name: ResolvedName<'a>,
    gathered: &'a Gathered,
    history: &'a History,
    counting: CountedHistory,
    service_is_down: bool,
    /// Whether the answers were to be fresh, and are not any more: other credentials were asked for
    /// after them.
    stale: bool,
}

/// Everything that is known about one image, and what it came to.
struct Judgement {
    gathered: Gathered,
    /// The Service of its registry, if nobody answers behind it and the user may know.
    service: Option<RegistryService>,
    assessment: Assessment,
    /// Whether it would be denied if everything were vouched for and the namespace enforced.
    would_deny: bool,
    ruling: Ruling,
}

/// What is read again before a denial: the pull secrets, and what is known of the namespace.
type ReadAnew = (Arc<PodSecrets>, Option<Arc<NamespaceFacts>>);

/// Which look at an image it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// With what is kept.
    First,
    /// Before a denial.
    Fresh,
    /// After a first refusal was asked for a second time.
    Last,
}

impl Judgement {
    /// Whether it is denied, or would be if more were known.
    fn is_denial(&self) -> bool {
        self.ruling.decision == Decision::Deny || self.ruling.reason == Reason::RefusedOnce
    }
}

impl<'s> ReviewContext<'s> {
    /// Judges the image, and before a denial again, with secrets read a moment ago and answers of
    /// registries no older than a second. A first refusal proves nothing: whoever is patient waits
    /// for the second one, for everybody else it is fetched in the background.
    async fn judge_until_confirmed(
        self,
        places: &[ContainerImage],
        name: ResolvedName<'_>,
        history: &History,
        (secrets_now, read_anew): (SecretsNow<'_>, &'s OnceLock<ReadAnew>),
        shown: SharedVisibility<'_>,
    ) -> (Self, Judgement) {
        let (mut context, mut look) = (self, Look::First);
        loop {
            let max_age = (look != Look::First).then_some(FRESH);
            let mut judged = context.judge(places, name, history, max_age, shown.clone()).await;
            look = match look {
                Look::First if judged.is_denial() => {
                    let secrets = secrets_now.clone().await;
                    let facts = context.sources.cluster.namespace(context.subject.namespace);
                    let (secrets, facts) = read_anew.get_or_init(|| (secrets, facts));
                    context = Self { secrets, facts: facts.as_deref(), ..context };
                    Look::Fresh
                }
                Look::Fresh if judged.ruling.reason == Reason::RefusedOnce => {
                    let questions = judged.gathered.refused_once.drain(..);
                    let registry = context.sources.registry;
                    let repeats: Vec<_> = questions.map(|one| registry.repeat(one)).collect();
                    if !context.subject.patient {
                        return (context, judged);
                    }
                    join_all(repeats).await;
                    Look::Last
                }
                Look::First | Look::Fresh | Look::Last => return (context, judged),
            };
        }
    }
}

impl ReviewContext<'_> {
    /// Reviews one image of one pull policy. What few images need is in boxes of its own, so that every
    /// review need not be as large as the largest.
    pub(super) async fn review(
        self,
        places: Vec<ContainerImage>,
        secrets_now: SecretsNow<'_>,
        shown: SharedVisibility<'_>,
    ) -> ImageReview {
        let image = places.first().map_or("", |place| &*place.image);
        let parsed = ImageReference::parse(image);
        let reference = parsed.as_ref().ok();
        let elsewhere = reference.and_then(|short| self.elsewhere(image, short));
        let name = ResolvedName { written: &parsed, elsewhere: elsewhere.as_ref() };
        let history = self.history(reference, &Visibility::nobody());
        let read_anew = OnceLock::new();
        let anew = (secrets_now, &read_anew);
        let (context, judged) =
            self.judge_until_confirmed(&places, name, &history, anew, shown.clone()).await;
        let Judgement { gathered, service, assessment, would_deny, ruling } = judged;
        let mut review = ImageReview {
            places,
            reference: parsed,
            attempts: gathered.attempts,
            history,
            assessment,
            advice: Vec::new(),
            ruling,
            would_deny,
            seen_here: false,
            stats: None,
            nodes_failing: None,
            drift: None,
            pulls_left: gathered.pulls_left,
            quota: None,
        };
        // Of what a short name means elsewhere nothing is suggested: a node may have an alias.
        if elsewhere.is_none() {
            context.add_advice(&mut review, service.as_ref(), shown).await;
        }
        review
    }

    /// Adds what helps: advice on what is warned of or denied, one note on what works.
    async fn add_advice(
        self,
        review: &mut ImageReview,
        service: Option<&RegistryService>,
        shown: SharedVisibility<'_>,
    ) {
        if review.ruling.decision != Decision::Allow {
            Box::pin(advise::advise(self, review, shown, service)).await;
            return;
        }
        // A template is where the person is: what a controller is told nobody reads.
        if self.subject.workload.controller.is_some() {
            return;
        }
        if self.is_worth_a_line(review) {
            Box::pin(advise::advise_if_proven(self, review, shown)).await;
            return;
        }
        if let Some(advice) = self.expires_soon(review) {
            review.advice.push(advice);
            return;
        }
        if advise::is_note_due(self, review) {
            Box::pin(advise::note_nodes_failing(self, review, shown.clone())).await;
        }
        if self.subject.policy.notes_drift() && review.nodes_failing.is_none() {
            Box::pin(advise::note_digest_drift(self, review, shown.clone())).await;
        }
        let notes_tags = self.subject.policy.notes_mutable_tags();
        if notes_tags && review.nodes_failing.is_none() && review.drift.is_none() {
            Box::pin(advise::note_mutable_tag(self, review, shown)).await;
        }
    }

    /// What got the image, if it expires within a day: the login of a pull secret, else the client
    /// certificate that nodes show.
    fn expires_soon(self, review: &ImageReview) -> Option<Advice> {
        let works =
            review.ruling.reason == Reason::Works && self.subject.policy.spec().advice.enabled;
        let decisive = review.assessment.decisive.filter(|_| works)?;
        let attempt = review.attempts.get(decisive)?;
        self.login_expires_soon(attempt).or_else(|| {
            let image = self.resolved(review.reference.as_ref().ok()?);
            let end = self.sources.registry.certificate_end(&image)?;
            // One that is over and got the image nevertheless was not needed.
            let left = self.minutes_left(end).filter(|_| end.at > self.subject.now)?;
            Some(certificate_expires(left))
        })
    }

    fn login_expires_soon(self, attempt: &Attempt) -> Option<Advice> {
        let source = attempt.source.as_ref()?;
        let end = self.secrets.keyring.as_ref().ok()?.expiry_of(source)?;
        let CredentialOrigin::Secret(name) = &source.origin else { return None };
        Some(secret_expires(name, self.minutes_left(end)?))
    }

    /// How long until this end, if it is near.
    fn minutes_left(self, end: Expiry) -> Option<i64> {
        let now = self.subject.now;
        end.is_near(now).then(|| end.at.duration_since(now).as_mins())
    }

    /// Whether nothing is said of trouble of our own with the registry, or of nodes that nobody asked, by
    /// default and not because the policy says so: then a line is worth its while where there is a way out.
    fn is_worth_a_line(self, review: &ImageReview) -> bool {
        let (Some(cause), Ok(reference)) = (review.assessment.cause, &review.reference) else {
            return false;
        };
        let ReviewRequest { namespace, policy, .. } = *self.subject;
        let ways_out =
            [Cause::RateLimited, Cause::TlsFailure, Cause::Timeout, Cause::ImageNeverPull];
        review.ruling.reason == Reason::CannotTell
            && ways_out.contains(&cause)
            && policy.spec().advice.enabled
            && !policy.silences(reference, namespace, self.facts, cause)
    }

    /// Gathers what is known of one image, assesses it and decides.
    async fn judge(
        self,
        places: &[ContainerImage],
        name: ResolvedName<'_>,
        history: &History,
        max_age: Option<Duration>,
        shown: SharedVisibility<'_>,
    ) -> Judgement {
        // One credential is asked after the other, and the first answer still has to count at the end.
        let gathered =
            self.look_up_where_runtimes_do(places, name, max_age.map(|max_age| max_age / 2)).await;
        let written = name.written.as_ref().ok();
        let visibility = shown.clone();
        let service = self.service_that_is_down(written, &gathered.attempts, shown).await;
        let counting = CountedHistory::all(self.history_facts(history));
        let mut weighing = AssessmentInput {
            places,
            name,
            gathered: &gathered,
            history,
            counting,
            service_is_down: service.is_some(),
            stale: max_age.is_some_and(|max_age| gathered.is_older_than(max_age)),
        };
        let mut assessment = self.assess(&weighing, None);
        if let Some(image) = written
            && self.history_matters(image, &assessment, history)
            && let Some(counting) = Box::pin(self.counting(image, history, visibility)).await
        {
            weighing.counting = counting;
            assessment = self.assess(&weighing, None);
        }
        let ruling = self.decide(&weighing, &assessment);
        let would_deny = self.would_deny(&weighing, &assessment);
        Judgement { gathered, service, assessment, would_deny, ruling }
    }

    /// Whether it makes a difference of whom something is known: an image of which something is, or
    /// one that may be denied because nothing is.
    fn history_matters(
        self,
        image: &ImageReference,
        assessment: &Assessment,
        history: &History,
    ) -> bool {
        let found = assessment.verdict == Verdict::Works && assessment.decisive.is_some();
        let listed = || {
            let wanted = self.resolved(image).canonical();
            self.eligible.where_it_may_run().any(|node| is_listed(node, &wanted))
        };
        let known = || history.last_success.is_some() || history.claimed_lately || listed();
        // What nodes list is looked through last: there may be many.
        history.freshness == Freshness::Current
            && (assessment.may_deny() || !(found && assessment.cause.is_none()) && known())
    }

    /// What counts for a user who may not see everything; nothing if they may. What those are told
    /// who may list all pods is another matter: controllers may, and their pods are decided by all
    /// that is known.
    async fn counting(
        self,
        image: &ImageReference,
        history: &History,
        shown: SharedVisibility<'_>,
    ) -> Option<CountedHistory> {
        let ReviewRequest { user, deadline, policy, namespace, .. } = *self.subject;
        let visibility = shown.await;
        let sees_all = visibility == Visibility::Cluster
            // Whoever is trusted was asked about already.
            || (!policy.trusts(user)
                && self.sources.access.may_list_pods(user, None, deadline).await);
        if sees_all {
            return None;
        }
        let host = image.host();
        let nodes = self.eligible.where_it_may_run();
        let listed = nodes.flat_map(|node| node.images.iter()).map(|name| &**name);
        let of_registry =
            |name: &&str| name.strip_prefix(host).is_some_and(|rest| rest.starts_with('/'));
        // Many nodes list the same few images.
        let listed: HashSet<&str> = listed.filter(of_registry).collect();
        let listed: Vec<&str> = listed.into_iter().collect();
        let question = HistoryQuestion { reference: image, namespace, visibility: &visibility };
        let visible = self.sources.health.visible_history(&question, &listed, self.subject.now);
        let last_success = visible.last_success;
        let facts = HistoryFacts {
            recent_success: last_success.is_some_and(|at| self.is_recent(at)),
            seen_here: last_success.is_some(),
            ..self.history_facts(history)
        };
        Some(CountedHistory {
            facts,
            images_of_nodes: last_success.is_some(),
            history_hidden: visible.elsewhere,
        })
    }

    /// Where the policy says that runtimes look for a short name, unless the nodes' own files say
    /// it.
    pub(super) fn elsewhere(self, written: &str, short: &ImageReference) -> Option<ImageReference> {
        let open = matches!(self.resolved(short), Cow::Borrowed(_));
        self.subject.policy.completed(written, short).filter(|_| open)
    }

    pub(super) fn history(
        self,
        reference: Option<&ImageReference>,
        visibility: &Visibility,
    ) -> History {
        let health = self.sources.health;
        let Some(reference) = reference else {
            return History { freshness: health.freshness(), ..History::default() };
        };
        let question = HistoryQuestion { reference, namespace: self.subject.namespace, visibility };
        health.history(&question, self.subject.now)
    }

    fn assess(self, weighing: &AssessmentInput<'_>, vouches: Option<&Vouches>) -> Assessment {
        let AssessmentInput { places, name, gathered, counting, .. } = *weighing;
        let ReviewRequest { namespace, policy, workload, .. } = *self.subject;
        let placement = Some(&workload.placement);
        let facts = self.facts;
        let meant = name.effective().map(|reference| self.resolved(reference));
        let meant = meant.as_ref().map(|reference| &**reference).map_err(|error| *error);
        let assessment = assess(&Observation {
            reference: meant,
            pull_policy: places.first().map_or(ImagePullPolicy::Always, |place| place.pull_policy),
            secrets: self.secrets.state(name.written.as_ref().ok()),
            attempts: &gathered.attempts,
            nodes_unclear: gathered.nodes_unclear,
            refused_login: gathered.refused_login,
            repository: gathered.repository,
            eligible: self.eligible,
            images_of_nodes: counting.images_of_nodes,
            runtime: self.subject.runtime,
            mirror_files: meant.ok().and_then(|image| self.sources.registry.mirror_files(image)),
            own_loopback: meant.is_ok_and(|image| self.sources.registry.asks_own_loopback(image)),
            vouches: &|| {
                let ours = || policy.vouches(meant.ok(), namespace, facts, placement);
                vouches.cloned().unwrap_or_else(ours)
            },
            history: counting.facts,
        });
        if name.elsewhere.is_some() { doubt_elsewhere(assessment) } else { assessment }
    }

    fn decide(self, weighing: &AssessmentInput<'_>, assessment: &Assessment) -> Ruling {
        let meant = weighing.name.effective().ok().map(|reference| self.resolved(reference));
        let named = (meant.as_deref(), self.facts);
        self.subject.policy.judge(&self.input(named, assessment, weighing))
    }

    /// Whether it would be denied if everything were vouched for and the namespace enforced.
    fn would_deny(self, weighing: &AssessmentInput<'_>, assessment: &Assessment) -> bool {
        let passes = assessment.cause.is_none_or(Cause::is_transient);
        if passes || assessment.verdict == Verdict::Works {
            return false;
        }
        let ReviewRequest { namespace, policy, workload, .. } = *self.subject;
        let meant = weighing.name.effective().ok().map(|reference| self.resolved(reference));
        let placement = Some(&workload.placement);
        let vouched = policy.vouches(meant.as_deref(), namespace, self.facts, placement);
        let known = self.eligible.known.iter().map(|node| &node.platform);
        let full = self.assess(weighing, Some(&vouched.completed(known)));
        let named = (meant.as_deref(), self.facts);
        policy.would_deny(&self.input(named, &full, weighing))
    }

    /// What a policy may look at.
    fn input<'i>(
        &self,
        (reference, facts): (Option<&'i ImageReference>, Option<&'i NamespaceFacts>),
        assessment: &'i Assessment,
        weighing: &AssessmentInput<'_>,
    ) -> DecisionInput<'i>
    where
        Self: 'i,
    {
        let AssessmentInput { places, gathered, history, counting, service_is_down, stale, .. } =
            *weighing;
        let ReviewRequest { workload, namespace, user, now, .. } = *self.subject;
        let unconfirmed = |attempt: &Attempt| attempt.lookup.is_unconfirmed();
        DecisionInput {
            verdict: assessment.verdict,
            cause: assessment.cause,
            escapes: &assessment.escapes,
            reference,
            namespace,
            facts,
            is_pod: workload.is_pod,
            makes_no_pods: self.starts_no_pods(),
            pods_rewritten: self.pods_rewritten != Some(false),
            // Of what works nobody asks it.
            wanted_since: (!assessment.is_fine()).then(|| self.wanted_since(places)).flatten(),
            refused_once: stale || gathered.attempts.iter().any(unconfirmed),
            annotations: &workload.annotations,
            user,
            secret_missing: !self.secrets.missing.is_empty(),
            secret_refused: self.secrets.broken().is_some() || gathered.refused_a_secret(),
            untried_login: assessment.doubt.is_some_and(|why| !why.is_from_history()),
            registry_in_trouble: assessment.doubt.is_some_and(Doubt::is_from_history)
                || service_is_down,
            history_hidden: counting.history_hidden,
            history_current: matches!(history.freshness, Freshness::Current | Freshness::Absent),
            now,
        }
    }

    /// Whether no pod begins with it: it makes none now, or it is changed and those that it has stay.
    fn starts_no_pods(self) -> bool {
        let ReviewRequest { workload, rollout, .. } = *self.subject;
        workload.makes_no_pods() || workload.is_scheduled() || rollout == Some(Rollout::KeepsAll)
    }

    /// Since when somebody waits for this pod with this image: its controller's creation if that is
    /// known, else the first time that such a pod was seen.
    fn wanted_since(self, places: &[ContainerImage]) -> Option<jiff::Timestamp> {
        let (health, workload) = (self.sources.health, self.subject.workload);
        let owner = workload.controller.as_ref();
        let created = owner.and_then(|owner| health.created(&owner.kind, &owner.uid));
        let image = places.first().map_or("", |place| &*place.image);
        let pod = SeenPod::of(workload, self.subject.namespace, image);
        created.or_else(|| health.first_seen(pod, self.subject.now))
    }

    fn is_recent(self, at: jiff::Timestamp) -> bool {
        let window = self.subject.policy.spec().history.window.get();
        self.subject.now.duration_since(at).unsigned_abs() < window
    }

    /// What history says, if it may be believed; its warnings count even when it is stale.
    fn history_facts(self, history: &History) -> HistoryFacts {
        let recent = |success: &Success| self.is_recent(success.at);
        HistoryFacts {
            recent_success: history.last_success.as_ref().is_some_and(recent),
            seen_here: history.last_success.is_some() || history.claimed_lately,
            registry_in_trouble: history.registry.in_trouble,
            node_login: history.registry.node_login,
            escapes_reopened: history.registry.escapes_reopened,
        }
    }
}

/// A short name that was not found in the policy's default registry may have an alias on a node,
/// and one that was found there is not to be pinned.
fn doubt_elsewhere(mut assessment: Assessment) -> Assessment {
    let broken = assessment.cause == Some(Cause::BrokenPullSecret);
    if assessment.verdict == Verdict::Fails && !broken {
        assessment.verdict = Verdict::CannotTell;
        assessment.escapes.clear();
    }
    assessment.digest = None;
    assessment
}
