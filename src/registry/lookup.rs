//! One look-up: the hosts that serve a reference, asked in the runtime's order, and what their
//! answers come to together.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::auth;
use super::cache::LookupResult;
use super::deadline::Deadline;
use super::limits::Limits;
use super::manifest::{self, Contents, Wanted};
use super::options::{MirrorLogins, StepLimits};
use super::session::{Session, SessionContext, origin};
use super::tags;
use crate::credential::{Credential, CredentialIdentity, IdentitySalt};
use crate::image::{ImageReference, registry_of_host};
use crate::node_config::{Endpoint, Route};
use crate::pull::{ListRequest, LookupRequest, Outcome, Purpose, TagList};

/// What every look-up uses.
pub(super) struct LookupService {
    pub(super) means: SessionContext,
    pub(super) limits: Limits,
    pub(super) contents: Contents,
    pub(super) salt: IdentitySalt,
    pub(super) mirror_logins: Option<Arc<dyn MirrorLogins>>,
}

/// One look-up, and whether an earlier one was refused.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) request: &'a LookupRequest,
    pub(super) was_refused: bool,
}

/// What is asked for, why, and on whose behalf.
#[derive(Clone, Copy)]
struct Question<'a> {
    reference: &'a ImageReference,
    purpose: Purpose,
    namespace: &'a str,
    /// Whether it counts what the credential may read now.
    fresh: bool,
}

/// A token lasts an hour at some registries, and allows what its owner was allowed when it was made:
/// where it counts what that is now, none is older.
const OLDEST_TOKEN: Duration = Duration::from_secs(60);

impl<'a> Question<'a> {
    fn of(request: &'a LookupRequest) -> Self {
        let LookupRequest { reference, purpose, namespace, max_age, .. } = request;
        let fresh = *purpose == Purpose::Advice || max_age.is_some();
        Self { reference, purpose: *purpose, namespace, fresh }
    }
}

impl LookupService {
    /// Asks one host after the other until one has it.
    pub(super) async fn look_up(
        &self,
        asking: Asking<'_>,
        routes: &[Route],
        mut deadline: Instant,
    ) -> LookupResult {
        let mut heard: Vec<LookupResult> = Vec::new();
        for route in routes {
            let answered = self.look_up_at(asking, route, &mut deadline).await;
            if matches!(answered.outcome, Outcome::Exists(_)) {
                return answered;
            }
            heard.push(answered);
        }
        settle(heard)
    }

    /// Brings the content of a manifest that is known to be there, from where it was found.
    pub(super) async fn read_content(
        &self,
        request: &LookupRequest,
        routes: &[Route],
        known: LookupResult,
        mut deadline: Instant,
    ) -> LookupResult {
        let route = routes.iter().find(|route| {
            let mirror = route.endpoint.is_mirror.then(|| host_of(route));
            mirror == known.mirror
        });
        let (Some(route), Outcome::Exists(found)) = (route, &known.outcome) else {
            return self.look_up(Asking { request, was_refused: false }, routes, deadline).await;
        };
        let found = found.clone();
        let at_mirror = self.at_mirror(route).filter(|_| known.node_login);
        let (route, login) = match &at_mirror {
            Some((route, login)) => (route, Some(login.clone())),
            None => (route, node_login(request, route).filter(|_| known.node_login)),
        };
        let credential = login.as_ref().or(request.credential.as_ref());
        let question = Question::of(request);
        let deeper = self
            .with_session(question, credential, route, &mut deadline, async |session| {
                session.heard.store(true, Relaxed);
                match manifest::read_content(session, found, request.detail, &self.contents).await {
                    Ok(found) => Outcome::Exists(found),
                    Err(outcome) => outcome,
                }
            })
            .await;
        match deeper {
            Ok(outcome) => LookupResult { outcome, ..known },
            // There is no asking now; what is known stays known.
            Err(_) => known,
        }
    }

    /// Asks one host. Where nobody's credential is given and the runtime has a login for the
    /// host, that login is used. A refusal is then heard without it, too: files differ in how
    /// they name a host, and what anybody may have is there for nodes.
    async fn look_up_at(
        &self,
        asking: Asking<'_>,
        route: &Route,
        deadline: &mut Instant,
    ) -> LookupResult {
        let request = asking.request;
        let mirror = route.endpoint.is_mirror.then(|| host_of(route));
        let given = request.credential.as_ref();
        if let Some((route, login)) = self.at_mirror(route) {
            let (outcome, asked_at) =
                self.look_up_with(asking, Some(&login), &route, deadline).await;
            let outcome = at_strangers(outcome);
            return LookupResult { outcome, mirror, node_login: true, asked_at };
        }
        let Some(login) = node_login(request, route) else {
            let (outcome, asked_at) = self.look_up_with(asking, given, route, deadline).await;
            let outcome = if is_stranger(route) { at_strangers(outcome) } else { outcome };
            return LookupResult { outcome, mirror, node_login: false, asked_at };
        };
        let (outcome, asked_at) = self.look_up_with(asking, Some(&login), route, deadline).await;
        if is_clear_no(&outcome) {
            let (without, asked_at) = self.look_up_with(asking, None, route, deadline).await;
            if matches!(without, Outcome::Exists(_)) {
                return LookupResult { outcome: without, mirror, node_login: false, asked_at };
            }
        }
        LookupResult { outcome, mirror, node_login: true, asked_at }
    }

    /// A mirror that does not get the pod's credentials, with the login that the runtime has for
    /// it by its own name.
    fn at_mirror(&self, route: &Route) -> Option<(Route, Credential)> {
        if !is_stranger(route) {
            return None;
        }
        let logins = self.mirror_logins.as_ref()?;
        // Docker Hub is dialled under another name than files have for it.
        let name = format!("{}/{}", registry_of_host(&host_of(route)), route.repository);
        let login = logins.login(&ImageReference::parse(&name).ok()?)?;
        let endpoint = Endpoint { takes_credentials: true, ..(*route.endpoint).clone() };
        Some((Route { endpoint: Arc::new(endpoint), ..route.clone() }, login))
    }

    /// What came of it, and when it was asked for.
    async fn look_up_with(
        &self,
        Asking { request, was_refused }: Asking<'_>,
        credential: Option<&Credential>,
        route: &Route,
        deadline: &mut Instant,
    ) -> (Outcome, Instant) {
        let reference = &request.reference;
        let wanted = Wanted {
            reference: reference.manifest_reference(),
            digest: reference.digest(),
            detail: request.detail,
            was_refused,
        };
        let question = Question::of(request);
        self.with_session(question, credential, route, deadline, async |session| {
            (manifest::find(session, &wanted, &self.contents).await, session.asked_at())
        })
        .await
        .unwrap_or_else(|outcome| (outcome, Instant::now()))
    }

    /// The tags of a repository at one host, or all repositories there.
    pub(super) async fn list(
        &self,
        wanted: &ListRequest,
        route: &Route,
        limits: &StepLimits,
    ) -> Result<Arc<TagList>, Outcome> {
        let ListRequest { reference, listing, credential, namespace } = wanted;
        let question = Question { reference, purpose: Purpose::Advice, namespace, fresh: false };
        let credential = credential.as_ref();
        let mut deadline = Instant::now() + limits.whole;
        self.with_session(question, credential, route, &mut deadline, async |session| {
            tags::list(session, reference, *listing, limits).await.map(Arc::new)
        })
        .await?
    }

    /// Waits for the right to ask, and speaks with the host; the outcome says why it may not. The
    /// time in the queue puts the deadline off: it says nothing about the registry.
    async fn with_session<T>(
        &self,
        question: Question<'_>,
        credential: Option<&Credential>,
        route: &Route,
        deadline: &mut Instant,
        speak: impl AsyncFnOnce(&Session<'_>) -> T,
    ) -> Result<T, Outcome> {
        let Question { reference, purpose, namespace, fresh } = question;
        let host = self.limits.host(&host_of(route));
        let credential = credential.filter(|_| route.endpoint.takes_credentials);
        let identity = CredentialIdentity::of(credential, &self.salt);
        let secret = credential.and_then(auth::secret_of);
        let login = (origin(&route.endpoint.url), identity);
        if secret.is_some() && self.means.logins.are_withheld(&login) {
            return Err(Outcome::LoginWithheld);
        }
        let queued = Instant::now();
        let pass = host.enter(identity, namespace, purpose).await?;
        *deadline += queued.elapsed();
        let session = Session {
            means: &self.means,
            endpoint: &route.endpoint,
            host: &host,
            repository: &route.repository,
            registry: reference.host(),
            identity,
            secret,
            purpose,
            began: Instant::now(),
            deadline: Deadline::at(*deadline),
            tokens_since: Instant::now().checked_sub(OLDEST_TOKEN).filter(|_| fresh),
            heard: AtomicBool::new(false),
            wants_login: AtomicBool::new(false),
            last_request: Mutex::new(Instant::now()),
        };
        let spoken = speak(&session).await;
        host.took(session.began.elapsed());
        drop(pass);
        Ok(spoken)
    }
}

/// Whether it is a mirror that the pod's credentials are kept from.
fn is_stranger(route: &Route) -> bool {
    route.endpoint.is_mirror && !route.endpoint.takes_credentials
}

/// What a mirror's refusal says where its login is the runtime's business: nodes may have another
/// one, in files that nobody gave us or that are read in another way.
fn at_strangers(outcome: Outcome) -> Outcome {
    if outcome.is_refusal() { Outcome::MirrorRefused } else { outcome }
}

/// The login of the nodes' runtime for this host, where it counts.
fn node_login(request: &LookupRequest, route: &Route) -> Option<Credential> {
    if request.credential.is_some() {
        return None;
    }
    route.endpoint.login.as_deref().map(auth::credential_of)
}

/// Host and port of an endpoint.
pub(super) fn host_of(route: &Route) -> Box<str> {
    let url = &route.endpoint.url;
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}").into(),
        None => host.into(),
    }
}

/// What several refusals come to: the first that leaves room for doubt, else the last, which is
/// the registry's own. They are as old as the oldest of them.
fn settle(heard: Vec<LookupResult>) -> LookupResult {
    let doubtful = heard.iter().position(|answered| !is_clear_no(&answered.outcome));
    let index = doubtful.unwrap_or(heard.len().saturating_sub(1));
    let now = Instant::now();
    let asked_at = heard.iter().map(|answered| answered.asked_at).min().unwrap_or(now);
    let decisive = heard.into_iter().nth(index).unwrap_or(LookupResult {
        outcome: Outcome::NoHost,
        mirror: None,
        node_login: false,
        asked_at,
    });
    LookupResult { asked_at, ..decisive }
}

/// Whether it is the registry's own word that the image cannot be had.
fn is_clear_no(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::TagMissing { code: Some(_) }
            | Outcome::RepositoryMissing { code: Some(_) }
            | Outcome::MissingOrDenied
            | Outcome::Unauthorized
            | Outcome::Forbidden
    )
}
