//! The evidence: the pod's pull secrets, and what the registry answers to each credential.

use std::borrow::Cow;
use std::time::Duration;

use futures::future::join_all;

use super::context::{MAX_CREDENTIALS, PodSecrets, SecretsOrigin};
use super::{
    Fetched, ObjectQuery, Reading, ResolvedName, ReviewContext, ReviewRequest, Sources, forecast,
};
use crate::credential::{
    Credential, CredentialOrigin, CredentialSource, Keyring, PullSecret, RuntimeLogin,
};
use crate::image::{DOCKER_HUB, ImageReference};
use crate::pull::{
    Attempt, Detail, ListRequest, Listing, LookupRequest, Outcome, PullsLeft, RepositoryAccess,
    Runtime, SecretsState, Vouch,
};
use crate::workload::{ContainerImage, ImagePullPolicy, PULL_SECRETS_AT_MOST, Workload};

/// What the registry answered for one image.
#[derive(Default)]
pub(super) struct Gathered {
    /// Per credential, in the kubelet's order, up to the first that worked.
    pub(super) attempts: Vec<Attempt>,
    /// Whether the nodes may have a credential that could not be asked for.
    pub(super) nodes_unclear: bool,
    /// Which attempt was made with the runtime's own login and did not get the image, where who does not
    /// log in gets it.
    pub(super) refused_login: Option<usize>,
    /// Whether a 404 can be the registry's way of hiding the repository.
    pub(super) repository: RepositoryAccess,
    /// Questions that were refused, and only once so far.
    pub(super) refused_once: Vec<LookupRequest>,
    /// What its registry last said is left of its pull limit for what got it.
    pub(super) pulls_left: Option<PullsLeft>,
}

impl Gathered {
    /// Whether the registry refused what a pull secret holds.
    pub(super) fn refused_a_secret(&self) -> bool {
        let is_secret =
            |source: &CredentialSource| matches!(source.origin, CredentialOrigin::Secret(_));
        let by_secret = |attempt: &&Attempt| attempt.source.as_ref().is_some_and(is_secret);
        self.attempts.iter().filter(by_secret).any(|attempt| attempt.lookup.outcome.is_refusal())
    }

    /// Whether an answer that is no image was older than this when the last one was there: the
    /// credentials are tried one after the other.
    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        let lookups = || self.attempts.iter().map(|attempt| &attempt.lookup);
        let Some(complete) = lookups().map(|lookup| lookup.since + lookup.age).max() else {
            return false;
        };
        lookups()
            .filter(|lookup| !matches!(lookup.outcome, Outcome::Exists(_)))
            .any(|lookup| complete.saturating_duration_since(lookup.since) > age)
    }
}

/// Registries that answer 401 or 403 for what one may not see, never 404, so that a 404 is the
/// truth. A dot in front stands for all below. Seen in reports about each:
/// distribution/distribution#1291 (Docker Hub), dexidp/dex#2672 (GHCR), jgsqware/clairctl#62 (Quay),
/// google/fuzzbench#1981 (Google), containerd/containerd#11901 (GitLab).
const HIDE_NOTHING: [&str; 7] =
    [DOCKER_HUB, "ghcr.io", "quay.io", "gcr.io", ".gcr.io", ".pkg.dev", "registry.gitlab.com"];

pub(super) fn hides_nothing(host: &str) -> bool {
    HIDE_NOTHING
        .iter()
        .any(|known| host == *known || (known.starts_with('.') && host.ends_with(known)))
}

const fn is_confirmed_missing(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::TagMissing { code: Some(_) } | Outcome::RepositoryMissing { code: Some(_) }
    )
}

/// Whether nobody logs in with it.
fn is_unnamed(credential: Option<&Credential>) -> bool {
    credential.is_none_or(Credential::is_anonymous)
}

/// Under what names AWS suggests to keep what ECR's pull-through caches fetch.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache-creating-rule.html>
const PULL_THROUGH: [&str; 8] = [
    "ecr-public/",
    "kubernetes/",
    "quay/",
    "docker-hub/",
    "github/",
    "azure/",
    "gitlab/",
    "chainguard/",
];

/// Whether the registry may fetch what it lacks for a node that asks, and not for Pullgate: ECR does it for
/// whoever has `ecr:BatchImportUpstreamImage`.
fn imports(image: &ImageReference) -> bool {
    let is_ecr = image.host().contains(".dkr.ecr") || image.host().contains(".dkr-ecr.");
    is_ecr && PULL_THROUGH.iter().any(|prefix| image.repository().starts_with(prefix))
}

/// Whether it asks with what a credential plugin gave. It ran here under an identity of Pullgate's own,
/// and on a node under that of the node: that it is refused says nothing of the nodes.
fn is_of_a_plugin(request: &LookupRequest) -> bool {
    let source = request.credential.as_ref().map(Credential::source);
    source.is_some_and(|source| matches!(source.origin, CredentialOrigin::NodePlugin(_)))
}

/// The workload as its pods will be placed, where its template names a `RuntimeClass`; pods have
/// it by the time that they come here.
pub(super) async fn with_runtime_class(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
) -> Option<Workload> {
    let workload = subject.workload;
    let name = workload.placement.runtime_class().filter(|_| !workload.is_pod)?;
    let class = sources.cluster.runtime_class(name, subject.deadline).await?;
    let placement = workload.placement.with_runtime_class(&class);
    Some(Workload { placement, ..workload.clone() })
}

/// Reads the pull secrets as the kubelet would: the pod's own list, else its ServiceAccount's.
pub(super) async fn secrets(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    reading: Reading,
) -> PodSecrets {
    let (cluster, namespace, deadline) = (sources.cluster, subject.namespace, subject.deadline);
    let (origin, names) = secret_names(sources, subject, reading).await;
    let mut unread = names == SecretNames::Unknown;
    let account_not_given = names == SecretNames::NotInFiles;
    let mut names = if let SecretNames::Known(names) = names { names } else { Vec::new() };
    // Whoever names thousands gets none of them read for nothing.
    unread |= names.len() > PULL_SECRETS_AT_MOST;
    names.truncate(PULL_SECRETS_AT_MOST);
    let asked = names.iter().map(|name| {
        let wanted = ObjectQuery { namespace, name, reading };
        cluster.pull_secret(wanted, deadline)
    });
    let answers = join_all(asked).await;
    let mut found: Vec<PullSecret> = Vec::new();
    let mut missing = Vec::new();
    for (name, answer) in names.iter().zip(answers) {
        match answer {
            Fetched::Found(secret) => found.push(secret),
            Fetched::Missing => missing.push(name.clone()),
            Fetched::Unavailable | Fetched::NotInFiles => unread = true,
        }
    }
    let keyring = Keyring::from_secrets(&found);
    PodSecrets { origin, names, missing, unread, account_not_given, keyring }
}

/// What is known of the names of the pull secrets.
#[derive(PartialEq, Eq)]
enum SecretNames {
    Known(Vec<Box<str>>),
    /// The ServiceAccount is not in the files that were given.
    NotInFiles,
    Unknown,
}

/// The names of the pull secrets, and where they come from.
async fn secret_names(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    reading: Reading,
) -> (SecretsOrigin, SecretNames) {
    let workload = subject.workload;
    if !workload.pull_secrets.is_empty() || subject.account_applied {
        return (SecretsOrigin::Pod, SecretNames::Known(workload.pull_secrets.clone()));
    }
    let Some(account) = &workload.service_account else {
        return (SecretsOrigin::NotYetKnown, SecretNames::Unknown);
    };
    let (cluster, namespace, deadline) = (sources.cluster, subject.namespace, subject.deadline);
    let wanted = ObjectQuery { namespace, name: account, reading };
    let names = match cluster.service_account(wanted, deadline).await {
        Fetched::Found(facts) => SecretNames::Known(facts.pull_secrets),
        Fetched::NotInFiles => SecretNames::NotInFiles,
        // No pod is made before the account is there, and what it names then nobody knows: a
        // Deployment is often applied before its account.
        Fetched::Missing | Fetched::Unavailable => SecretNames::Unknown,
    };
    (SecretsOrigin::ServiceAccount(account.clone()), names)
}

impl ReviewContext<'_> {
    /// Asks where the runtimes do. The kubelet chooses credentials by the name as Docker Hub would
    /// have it, so for a name that is looked up elsewhere none that fits is sent.
    pub(super) async fn look_up_where_runtimes_do(
        self,
        places: &[ContainerImage],
        asked: ResolvedName<'_>,
        max_age: Option<Duration>,
    ) -> Gathered {
        let Some(elsewhere) = asked.elsewhere else {
            return self.look_up(places, asked.written.as_ref().ok(), max_age).await;
        };
        let never = places.first().is_some_and(|place| place.pull_policy == ImagePullPolicy::Never);
        if never || self.secrets.keyring.is_err() || self.is_off(elsewhere) {
            return Gathered::default();
        }
        let attempt = self.attempt(elsewhere, None, max_age).await;
        Gathered { attempts: vec![attempt], nodes_unclear: true, ..Gathered::default() }
    }

    /// Asks the registry with each credential in the kubelet's order until one works.
    pub(super) async fn look_up(
        self,
        places: &[ContainerImage],
        reference: Option<&ImageReference>,
        max_age: Option<Duration>,
    ) -> Gathered {
        let never = places.first().is_some_and(|place| place.pull_policy == ImagePullPolicy::Never);
        let (Some(reference), Ok(keyring), false) = (reference, &self.secrets.keyring, never)
        else {
            return Gathered::default();
        };
        if self.is_off(reference) {
            return Gathered::default();
        }
        let nodes = self.sources.nodes.node_credentials(reference, self.subject.deadline).await;
        let untried = nodes.credentials.len() > MAX_CREDENTIALS;
        let own = keyring.lookup(reference).into_iter().take(MAX_CREDENTIALS);
        let mut credentials: Vec<Option<Credential>> =
            own.chain(nodes.credentials.into_iter().take(MAX_CREDENTIALS)).map(Some).collect();
        let runtime = self.runtime_login(reference, &credentials);
        // CRI-O takes it wherever the kubelet sends no user name.
        if let RuntimeLogin::Login(login) = &runtime {
            let unnamed = credentials.iter().position(|one| is_unnamed(one.as_ref()));
            let place = unnamed.unwrap_or(credentials.len());
            credentials.insert(place, Some(login.clone()));
        }
        // Files differ in how they name a registry: the login of the runtime may be nobody's.
        if credentials.iter().flatten().all(|one| Some(one) == runtime.login()) {
            credentials.push(None);
        }
        // What was not tried may be what a node gets in with.
        let nodes_unclear = nodes.unclear || untried || runtime == RuntimeLogin::Unclear;
        let mut gathered = Gathered { nodes_unclear, ..Gathered::default() };
        let mut refused_login = None;
        for credential in credentials {
            let request = self.question(reference, credential, max_age);
            let attempt = self.answer_to(request.clone()).await;
            let done = matches!(attempt.lookup.outcome, Outcome::Exists(_));
            if done && is_unnamed(request.credential.as_ref()) {
                gathered.refused_login = refused_login;
            } else if request.credential.as_ref().is_some_and(|one| Some(one) == runtime.login()) {
                refused_login = (!done).then_some(gathered.attempts.len());
            }
            // A mirror's answer, or one to the runtime's own login, says nothing of this one's limit.
            let own = attempt.lookup.mirror.is_none() && !attempt.lookup.node_login;
            let LookupRequest { reference, credential, .. } = &request;
            if done && own && reference.is_on_docker_hub() && forecast::is_due(self) {
                gathered.pulls_left =
                    self.sources.registry.pulls_left(reference, credential.as_ref());
            }
            let missing = is_confirmed_missing(&attempt.lookup.outcome);
            let by_plugin = is_of_a_plugin(&request);
            gathered.nodes_unclear |= by_plugin
                && (attempt.lookup.outcome.is_refusal()
                    || (missing && imports(&request.reference)));
            if missing && gathered.repository == RepositoryAccess::NotAsked {
                let by_mirror = attempt.lookup.mirror.is_some();
                let unclear = gathered.nodes_unclear || by_plugin;
                let access = self.repository_access(&request, by_mirror, unclear);
                gathered.repository = Box::pin(access).await;
            } else if attempt.lookup.is_first_refusal() {
                gathered.refused_once.push(request);
            }
            gathered.attempts.push(attempt);
            if done {
                break;
            }
        }
        gathered
    }

    /// Whether who was answered 404 may see the repository. It matters only while there may be
    /// credentials that nobody tried.
    async fn repository_access(
        self,
        answered: &LookupRequest,
        by_mirror: bool,
        nodes_unclear: bool,
    ) -> RepositoryAccess {
        let LookupRequest { reference, credential, .. } = answered;
        let ReviewRequest { policy, namespace, deadline, .. } = *self.subject;
        let placement = Some(&self.subject.workload.placement);
        let vouches = policy.vouches(Some(reference), namespace, self.facts, placement);
        let nodes_tried = match vouches.credentials {
            Vouch::None => true,
            Vouch::Listed => !nodes_unclear,
            Vouch::Unknown => false,
        };
        let own_tried = self.secrets.state(Some(reference)) == SecretsState::Read;
        let all_tried = own_tried && nodes_tried;
        // What nobody knows the account of may run long after this, when the tag was pushed.
        if all_tried || self.secrets.origin == SecretsOrigin::NotYetKnown {
            return RepositoryAccess::NotAsked;
        }
        // A mirror in its place hides what its own software hides.
        if hides_nothing(reference.host()) && !by_mirror {
            return RepositoryAccess::Readable;
        }
        let request = ListRequest {
            reference: reference.clone(),
            listing: Listing::Tags,
            credential: credential.clone(),
            namespace: namespace.into(),
        };
        match self.sources.registry.list(request, deadline).await {
            // A list without a tag may be of what one may see. Where only the nodes' own logins were
            // not tried, these are a way that stays open.
            Ok(list) if own_tried || !list.tags.is_empty() => RepositoryAccess::Readable,
            Ok(_) | Err(_) => RepositoryAccess::NotSeen,
        }
    }

    /// The name that the nodes ask for: CRI-O completes short names by its own list, where all
    /// nodes are known to have it. The kubelet's keyring goes by the name as containerd has it.
    pub(super) fn resolved(self, reference: &ImageReference) -> Cow<'_, ImageReference> {
        // Whole names mean the same everywhere: no need to look at the nodes.
        if !reference.is_short() {
            return Cow::Borrowed(reference);
        }
        let mut nodes = self.eligible.where_it_may_run().peekable();
        let cri_o = if nodes.peek().is_none() {
            self.subject.runtime == Some(Runtime::CriO)
        } else {
            nodes.all(|node| Runtime::parse(&node.runtime) == Runtime::CriO)
        };
        let completed = || self.sources.registry.completed(reference);
        cri_o.then(completed).flatten().map_or(Cow::Borrowed(reference), Cow::Owned)
    }

    /// What CRI-O has itself where one of these credentials, or none at all, leaves it without a user
    /// name (`PullImage` in `server/image_pull.go` of CRI-O); nothing where no node can have it.
    fn runtime_login(
        self,
        reference: &ImageReference,
        credentials: &[Option<Credential>],
    ) -> RuntimeLogin {
        let all_named =
            !credentials.is_empty() && !credentials.iter().flatten().any(Credential::is_anonymous);
        if all_named {
            return RuntimeLogin::None;
        }
        let asked = self.resolved(reference);
        let files = self.sources.registry.mirror_files(&asked);
        let login = if files.is_some_and(|files| files.credential_helpers) {
            RuntimeLogin::Unclear
        } else {
            self.sources.nodes.runtime_login(&asked)
        };
        // The nodes are looked through last: there may be thousands.
        if login == RuntimeLogin::None || self.may_be_cri_o() { login } else { RuntimeLogin::None }
    }

    /// Whether a node that the pods may land on has CRI-O, as far as it is known.
    fn may_be_cri_o(self) -> bool {
        let other = |runtime: Runtime| !matches!(runtime, Runtime::Containerd(..));
        let mut nodes = self.eligible.where_it_may_run().peekable();
        if nodes.peek().is_none() {
            return self.subject.runtime.is_none_or(other);
        }
        nodes.any(|node| other(Runtime::parse(&node.runtime)))
    }

    /// One look-up with one credential.
    pub(super) async fn attempt(
        self,
        reference: &ImageReference,
        credential: Option<Credential>,
        max_age: Option<Duration>,
    ) -> Attempt {
        self.answer_to(self.question(reference, credential, max_age)).await
    }

    fn question(
        self,
        reference: &ImageReference,
        credential: Option<Credential>,
        max_age: Option<Duration>,
    ) -> LookupRequest {
        let reference = self.resolved(reference).into_owned();
        let detail = self.detail(&reference);
        let purpose = self.purpose;
        let namespace = self.subject.namespace.into();
        LookupRequest { reference, credential, detail, max_age, purpose, namespace }
    }

    async fn answer_to(self, request: LookupRequest) -> Attempt {
        let source = request.credential.as_ref().map(|credential| credential.source().clone());
        let lookup = self.sources.registry.look_up(request, self.subject.deadline).await;
        let source = source.or_else(|| lookup.node_login.then(CredentialSource::node_runtime));
        Attempt { source, lookup }
    }

    /// How much to read: without nodes to compare with, nothing of the content.
    fn detail(self, reference: &ImageReference) -> Detail {
        if self.eligible.nodes.is_empty() && self.eligible.asked {
            // Whether it is an index still matters: then the nodes decide, and none is known.
            Detail::Platforms
        } else if self.eligible.nodes.is_empty() {
            Detail::Presence
        } else if reference.is_on_docker_hub() {
            // It counts the GET of a manifest as a pull.
            Detail::Platforms
        } else {
            Detail::Config
        }
    }

    /// Whether nothing is asked about this image: its mode is off, or the policy skips it.
    pub(super) fn is_off(self, reference: &ImageReference) -> bool {
        let policy = self.subject.policy;
        policy.skips(reference)
            || policy.skips(&self.resolved(reference))
            || policy.mode(self.subject.namespace, self.facts).mode == crate::policy::Mode::Off
    }
}
