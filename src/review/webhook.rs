//! One admission review: decode, what needs no judging, the review, the answer, the record.

use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use jiff::Timestamp;

use super::record::{ReviewRecord, Rulings, Skip};
use super::restricted::{PublicSources, Unmetered};
use super::reviewer::Reviewer;
use super::shared_answers::{AskedPod, Told};
use super::{
    EventRequest, Review, ReviewRequest, SeenPod, Sources, accuracy, blindness, mutate, recall,
    restart,
};
use crate::admission::{
    AdmissionRequest, Answer, DecodeError, Object, Operation, decode, decode_with_pod, encode,
};
use crate::history::{PodVerdicts, ReportTarget};
use crate::message::{
    denial, held_back_by, history_hidden, ignored_label, lines, reopened, still_learning,
};
use crate::policy::{Decision, Mode, Mutation, PullgatePolicy, Reason};
use crate::pull::Escape;
use crate::workload::{ExtractError, PodPlace, Rollout, Workload, pod_path};

/// Namespaces that are never judged: nothing may keep a cluster's own parts from starting.
const NEVER_JUDGED: &str = "kube-system";

/// Which of the two webhooks was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Warns and denies; changes nothing.
    Validate,
    /// Changes what the policy allows; never denies.
    Mutate,
}

impl Endpoint {
    /// The word in paths, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Mutate => "mutate",
        }
    }
}

/// The answer to one review, and what is recorded of it.
#[derive(Debug)]
pub struct AdmissionOutcome {
    /// The body to answer with.
    pub body: Vec<u8>,
    /// What is recorded.
    pub record: ReviewRecord,
}

/// How well a caller has proven itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is the API server.
    Certain,
    /// It knows the path, which API servers write into errors that anybody may read.
    Path,
}

/// One request, and with what it is answered.
struct Call<'r> {
    endpoint: Endpoint,
    request: &'r AdmissionRequest<'r>,
    policy: &'r Arc<PullgatePolicy>,
    sources: Sources<'r>,
    /// Bytes of the review as it came.
    bytes: usize,
    /// Whether the caller has proven that it is the API server.
    is_proven: bool,
    now: Timestamp,
    deadline: Instant,
}

impl Reviewer {
    /// Answers one review. A readable request is always answered; what cannot be judged in time
    /// is let through. A caller of whom it is not certain that it is the API server learns what
    /// anybody could find out, and nothing of what it says is believed or written down.
    pub async fn admit(
        &self,
        endpoint: Endpoint,
        proof: Proof,
        body: &[u8],
        (now, deadline): (Timestamp, Instant),
    ) -> Result<AdmissionOutcome, DecodeError> {
        let unproven = match proof {
            Proof::Certain => None,
            Proof::Path => Some(PublicSources::of(self.sources())),
        };
        let request = match endpoint {
            Endpoint::Validate => decode_with_pod(body)?,
            // What is changed is changed where it is written.
            Endpoint::Mutate => decode(body)?,
        };
        let mut record = ReviewRecord {
            uid: request.uid.clone().into_owned(),
            kind: request.kind.clone().into_owned(),
            namespace: request.namespace.clone().into_owned(),
            dry_run: request.dry_run,
            ..ReviewRecord::default()
        };
        let policy = self.policy.load_full();
        let call = Call {
            endpoint,
            request: &request,
            policy: &policy,
            sources: unproven.as_ref().map_or_else(|| self.sources(), PublicSources::sources),
            bytes: body.len(),
            is_proven: unproven.is_none(),
            now,
            deadline,
        };
        let answer = match asked_to_recall(endpoint, &request, &policy) {
            Some((workload, asked)) => {
                record.skipped = Some(Skip::Explained);
                let subject = self.subject(&workload, &call);
                Box::pin(recall::answer(&asked, call.sources, subject)).await
            }
            None => match self.to_judge(endpoint, &request, &policy) {
                Err(skip) => {
                    record.skipped = Some(skip);
                    self.unjudged(&call, skip).await
                }
                Ok((workload, mutations)) => {
                    self.judged(&call, workload, &mutations, &mut record).await
                }
            },
        };
        Ok(AdmissionOutcome { body: encode(&request.uid, &answer), record })
    }

    /// What is said although nothing is judged: how a restart's pods will differ.
    async fn unjudged(&self, call: &Call<'_>, skip: Skip) -> Answer {
        let restarts = skip == Skip::Unchanged && call.endpoint == Endpoint::Validate;
        let workload = restarts.then(|| restarted(call.request, call.policy)).flatten();
        let warnings = match workload {
            Some(workload) => {
                let subject = self.subject(&workload, call);
                Box::pin(restart::notes(call.sources, subject)).await
            }
            None => Vec::new(),
        };
        Answer { warnings, ..Answer::default() }
    }

    /// The review, what is remembered and recorded of it, and the answer.
    async fn judged(
        &self,
        call: &Call<'_>,
        workload: Workload,
        mutations: &[Mutation],
        record: &mut ReviewRecord,
    ) -> Answer {
        let request = call.request;
        record.name = workload.object.name.to_string();
        if call.endpoint == Endpoint::Mutate {
            return Box::pin(self.changed(call, &workload, mutations, record)).await;
        }
        let told = self.told(call, &workload).await;
        record.note(&told.rulings, &request.user.username);
        if is_remembered(request, &workload) {
            let verdicts = PodVerdicts {
                namespace: &request.namespace,
                uid: &workload.uid,
                secrets: &workload.pull_secrets,
                denied: told.rulings.decision == Decision::Deny,
                verdicts: told.verdicts.clone(),
            };
            call.sources.health.remember(verdicts, call.now);
            for place in &workload.images {
                let pod = SeenPod::of(&workload, &request.namespace, &place.image);
                call.sources.health.note_seen(pod, call.now);
            }
        }
        if told.rulings.decision != Decision::Allow && call.is_proven {
            self.queue_event(request, call.policy, workload);
        }
        Arc::try_unwrap(told).map_or_else(|told| told.answer.clone(), |told| told.answer)
    }

    /// What is to be changed in the object.
    async fn changed(
        &self,
        call: &Call<'_>,
        workload: &Workload,
        mutations: &[Mutation],
        record: &mut ReviewRecord,
    ) -> Answer {
        let (sources, subject) = (call.sources, self.subject(workload, call));
        let review = self.review(call, subject).await;
        record.note(&Rulings::of(&review), &call.request.user.username);
        let Some(pod) = call.request.object.as_ref().and_then(Object::written) else {
            return Answer::default();
        };
        let patch = mutate::patch(sources, subject, pod, &review, mutations).await;
        Answer { patch, ..Answer::default() }
    }

    /// What is said of the images: what one just like it was told, else what a review finds.
    async fn told(&self, call: &Call<'_>, workload: &Workload) -> Arc<Told> {
        let request = call.request;
        let remembered = is_remembered(request, workload);
        let may_share = remembered && call.is_proven && request.operation == Operation::Create;
        let about = (&*request.namespace, &request.user);
        let pod = || AskedPod::of(about, workload, call.policy, (call.now, call.bytes));
        let pod = may_share.then(pod).flatten();
        if let Some(told) = pod.and_then(|pod| self.shared_answers.of(pod)) {
            return told;
        }
        let subject = self.subject(workload, call);
        let mut review = Box::pin(self.review(call, subject));
        let (review, waited) = match futures::poll!(review.as_mut()) {
            Poll::Ready(review) => (review, false),
            Poll::Pending => (review.await, true),
        };
        let mut answer = answer(&review, call.policy.name());
        answer.warnings.extend(blindness::lines(&self.blindness, call.sources, &subject, &review));
        let verdicts = if remembered { accuracy::verdicts(&review) } else { Vec::new() };
        let told = Arc::new(Told { rulings: Rulings::of(&review), verdicts, answer });
        if let Some(pod) = pod.filter(|_| !waited) {
            self.shared_answers.keep(pod, &told);
        }
        told
    }

    /// The review. A dry run costs no pull.
    async fn review(&self, call: &Call<'_>, subject: ReviewRequest<'_>) -> Review {
        let unmetered = Unmetered(call.sources.registry);
        let mut sources = call.sources;
        if call.request.dry_run {
            sources.registry = &unmetered;
        }
        super::review(sources, subject).await
    }

    /// What is reviewed, for whom and until when.
    fn subject<'r>(&self, workload: &'r Workload, call: &Call<'r>) -> ReviewRequest<'r> {
        ReviewRequest {
            workload,
            namespace: &call.request.namespace,
            user: &call.request.user,
            policy: call.policy,
            runtime: self.runtime,
            account_applied: workload.is_pod,
            patient: false,
            rollout: rollout(call, workload),
            now: call.now,
            deadline: call.deadline,
        }
    }

    /// Hands on what was warned of. Never of a dry run: it has no side effects.
    fn queue_event(
        &self,
        request: &AdmissionRequest<'_>,
        policy: &PullgatePolicy,
        workload: Workload,
    ) {
        if let Some(queue) = &self.event_queue
            && policy.spec().advice.events
            && !request.dry_run
        {
            queue.offer(EventRequest { workload, namespace: request.namespace.as_ref().into() });
        }
    }

    /// Where its evidence comes from.
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            registry: &*self.registry,
            cluster: &*self.cluster,
            nodes: &*self.nodes,
            health: &*self.health,
            access: &*self.access,
        }
    }

    /// The workload to judge, with what is to be changed in it if that is the question, or why
    /// there is nothing to judge.
    fn to_judge(
        &self,
        endpoint: Endpoint,
        request: &AdmissionRequest<'_>,
        policy: &PullgatePolicy,
    ) -> Result<(Workload, Vec<Mutation>), Skip> {
        let workload = self.workload(request, policy)?;
        if endpoint == Endpoint::Validate {
            return Ok((workload, Vec::new()));
        }
        let facts = self.cluster.namespace(&request.namespace);
        let mutations = mutate::asked(policy, &workload, facts.as_deref());
        if mutations.is_empty() || request.operation != Operation::Create {
            return Err(Skip::NothingAsked);
        }
        Ok((workload, mutations))
    }

    /// The workload to judge, or why there is nothing to judge.
    fn workload(
        &self,
        request: &AdmissionRequest<'_>,
        policy: &PullgatePolicy,
    ) -> Result<Workload, Skip> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Err(Skip::Operation);
        }
        let place = place_of(request, policy).ok_or(Skip::Kind)?;
        let own = self.own_namespace.as_deref() == Some(request.namespace.as_ref());
        let facts = self.cluster.namespace(&request.namespace);
        let mode = policy.mode(&request.namespace, facts.as_deref()).mode;
        if request.namespace == NEVER_JUDGED || own || mode == Mode::Off {
            return Err(Skip::Namespace);
        }
        let object = request.object.as_ref().ok_or(Skip::Operation)?;
        let read = |read: Result<Workload, ExtractError>| {
            let mut workload = read.map_err(|_| Skip::Unreadable)?;
            // Each is a question of its own, and a review has to end.
            workload.images.truncate(MOST_IMAGES);
            Ok(workload)
        };
        let workload = read(object.read(&place))?;
        if workload.is_mirror {
            return Err(Skip::MirrorPod);
        }
        if workload.images.is_empty() {
            return Err(Skip::NoImages);
        }
        let workload = match (request.operation, request.old_object) {
            (Operation::Update, Some(old)) => workload.pulled_anew(&read(place.read(old))?),
            _ => workload,
        };
        if workload.images.is_empty() { Err(Skip::Unchanged) } else { Ok(workload) }
    }
}

/// Images of one object that are looked at; a pod has a few. What is beyond them is let through.
const MOST_IMAGES: usize = 256;

/// Whether it is remembered what was said of an object, until a node has spoken.
fn is_remembered(request: &AdmissionRequest<'_>, workload: &Workload) -> bool {
    workload.is_pod && !request.dry_run
}

/// What is asked of the memory, if this dry run is there to ask it.
fn asked_to_recall(
    endpoint: Endpoint,
    request: &AdmissionRequest<'_>,
    policy: &PullgatePolicy,
) -> Option<(Workload, ReportTarget)> {
    let asks =
        endpoint == Endpoint::Validate && request.dry_run && request.operation == Operation::Create;
    let object = request.object.as_ref().filter(|_| asks)?;
    let workload = object.read(&place_of(request, policy)?).ok()?;
    let asked = recall::question(&workload)?;
    Some((workload, asked))
}

/// The workload whose pods are made anew as they are, if it is to be noted what they will run.
fn restarted(request: &AdmissionRequest<'_>, policy: &PullgatePolicy) -> Option<Workload> {
    let wanted = policy.notes_drift() && restart::is_restart(request);
    let object = request.object.as_ref().filter(|_| wanted)?;
    object.read(&place_of(request, policy)?).ok()
}

/// How a workload that is being changed replaces its pods.
fn rollout(call: &Call<'_>, workload: &Workload) -> Option<Rollout> {
    let Call { request, policy, .. } = call;
    let object = request.object.as_ref().filter(|_| request.operation == Operation::Update)?;
    let old = || place_of(request, policy)?.read(request.old_object?).ok();
    let grows = || old().is_some_and(|old| workload.adds_pods_to(&old));
    Rollout::of(&request.kind, object.written()?, grows)
}

/// Where the pod of this object is, for the kinds of Kubernetes and those the policy adds. Of the
/// subresources only ephemeral containers bring images.
fn place_of(request: &AdmissionRequest<'_>, policy: &PullgatePolicy) -> Option<PodPlace> {
    if !matches!(request.sub_resource.as_ref(), "" | "ephemeralcontainers") {
        return None;
    }
    pod_path(&request.group, &request.kind).map(PodPlace::Template).or_else(|| {
        let mut kinds = policy.extra_kinds();
        let kind = kinds.find(|kind| kind.group == request.group && kind.kind == request.kind)?;
        Some(kind.place)
    })
}

/// The answer to a review: a denial carries the lines of what is denied, everything else warns.
fn answer(review: &Review, policy: &str) -> Answer {
    let namespace = &*review.namespace;
    let said = |decision: Decision| {
        let images = review.images.iter().filter(|image| image.ruling.decision == decision);
        lines(&images.map(|image| review.finding(image)).collect::<Vec<_>>())
    };
    let mut warnings = said(Decision::Warn);
    let noted = review.images.iter().filter(|image| image.is_noted());
    warnings.extend(lines(&noted.map(|image| review.finding(image)).collect::<Vec<_>>()));
    let denials = said(Decision::Deny);
    let rulings = || review.images.iter().map(|image| &image.ruling);
    let held_back = |reopened: bool| {
        let mut images = review.images.iter();
        images.any(|image| {
            image.ruling.escapes_hold_back() && image.history.registry.escapes_reopened == reopened
        })
    };
    let unheard = |image: &&super::ImageReview| image.ruling.reason == Reason::Learning;
    if let Some(image) = review.images.iter().find(unheard) {
        warnings.push(still_learning(image.history.freshness, namespace));
    }
    if rulings().any(|ruling| ruling.reason == Reason::HistoryHidden) {
        warnings.push(history_hidden(namespace));
    }
    if held_back(true) {
        warnings.push(reopened(namespace));
    }
    if held_back(false) {
        let open = |escape: &Escape| {
            let mut images = review.images.iter().filter(|image| image.ruling.escapes_hold_back());
            images.any(|image| image.assessment.escapes.contains(escape))
        };
        let open: Vec<_> = Escape::ALL.iter().copied().filter(open).collect();
        warnings.extend(held_back_by(policy, namespace, &open));
    }
    if !(warnings.is_empty() && denials.is_empty()) {
        warnings
            .extend(rulings().find_map(|ruling| ignored_label(ruling.label)).map(str::to_owned));
    }
    let denial = (!denials.is_empty()).then(|| denial(&denials, policy, namespace));
    Answer { denial, warnings, patch: None }
}
