//! The registry client: answers of registries, asked for kindly and believed cautiously.
//!
//! An edge. It speaks HTTP to registries, their token services and listed mirrors, and to nothing
//! else; it owns tokens, connections, kept answers and the state of each registry. What a
//! registry says is data ([`Outcome`]), and none of its words leave this module.

#![allow(
    clippy::result_large_err,
    reason = "an outcome is data that is moved a few times per request; a box would buy nothing"
)]

mod address;
mod blind;
mod cache;
mod challenge;
mod classify;
mod deadline;
mod decode;
mod session;
mod errors;
mod hints;
mod hosts;
mod known_manifests;
mod limits;
mod logins;
mod lookup;
mod manifest;
mod metrics;
mod options;
mod auth;
mod proof;
mod queue;
mod realm;
mod redirect;
mod resolver;
mod tag_lists;
mod tags;
mod tls;
mod token;
mod http;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use futures::future::{BoxFuture, FutureExt as _};
use ipnet::IpNet;
use ring::rand::SecureRandom as _;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

pub use address::Forbidden;
pub use challenge::{Challenge, Scheme, parse as parse_challenges};
pub use classify::confirmed_missing;
pub use decode::{ConfigLink, body_kind, config_link, config_platform, platforms};
pub use hosts::{HostsError, HostsSource};
pub use metrics::RegistryMetrics;
pub use options::{
    CacheLimits, InClusterHosts, LoadLimits, MirrorLogins, NameResolver, ProxyOptions,
    RegistryError, RegistryOptions, RegistryPolicy, StepLimits,
};
pub use tags::next_page;
pub use tls::CertificateEnd;

use crate::credential::{Credential, CredentialIdentity, Expiry, IdentitySalt};
use crate::image::{Digest, ImageReference};
use crate::node_config::{MirrorFiles, RegistryHosts, is_loopback_host};
use crate::pull::{
    BlindReason, BlindSpot, KnownManifest, ListRequest, Lookup, LookupRequest, Outcome, PullsLeft,
    REFUSALS_APART, TagList,
};
use crate::review::ManifestSource;
use crate::telemetry::lookup_span;
use cache::{AnswerRequest, Answers, Before, Key};
use lookup::{Asking, LookupService};
use tag_lists::TagLists;
use tls::CertificateFiles;

/// Refusals that wait to be repeated at most; those beyond are repeated when somebody asks.
const MOST_REPEATS: usize = 256;

/// Asks registries. One per process; cheap to share.
pub struct RegistryClient {
    /// Itself, for what goes on in the background.
    me: Weak<Self>,
    repeats: Arc<Semaphore>,
    /// Whether nobody is turned away.
    patient: bool,
    /// Whether this machine's loopback is asked without having been named.
    own_loopback: bool,
    lookups: Arc<LookupService>,
    answers: Answers,
    tags: TagLists,
    hosts: ArcSwap<RegistryHosts>,
    certificates: ArcSwap<CertificateFiles>,
    directions: Arc<ArcSwap<RegistryPolicy>>,
    salt: IdentitySalt,
    limits: StepLimits,
    metrics: Arc<RegistryMetrics>,
    blind: Arc<blind::BlindSpots>,
}

impl RegistryClient {
    /// Builds the client; loads every certificate that the options name.
    pub fn new(options: RegistryOptions) -> Result<Arc<Self>, RegistryError> {
        let mut random = [0; 32];
        ring::rand::SystemRandom::new().fill(&mut random).map_err(|_| RegistryError::Random)?;
        let metrics = Arc::new(RegistryMetrics::default());
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let is_named =
            options.allow.iter().any(|range| loopback.iter().any(|one| range.contains(one)));
        let own_loopback = options.contact_loopback && !is_named;
        let directions = Arc::new(ArcSwap::from_pointee(options.directions.clone()));
        let transport = Arc::new(http::Transport::new(&options, Arc::clone(&directions))?);
        let tokens = token::Tokens::new(
            &options,
            Arc::clone(&transport),
            Arc::clone(&directions),
            Arc::clone(&metrics),
        );
        let lookups = Arc::new(LookupService {
            means: session::SessionContext::new(
                transport,
                tokens,
                Arc::clone(&metrics),
                &options.limits,
            ),
            limits: limits::Limits::new(
                options.load.clone(),
                Arc::clone(&directions),
                Arc::clone(&metrics),
            ),
            contents: manifest::Contents::new(&options.cache, &options.limits),
            salt: IdentitySalt::new(random),
            mirror_logins: options.mirror_logins.clone(),
        });
        let tags = TagLists::new(options.cache.clone(), options.load.patient, Arc::clone(&metrics));
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            repeats: Arc::new(Semaphore::new(MOST_REPEATS)),
            patient: options.load.patient,
            own_loopback,
            lookups,
            answers: Answers::new(options.cache, options.load.lookups, Arc::clone(&metrics)),
            tags,
            certificates: ArcSwap::from_pointee(CertificateFiles::read(&options.hosts)),
            hosts: ArcSwap::from_pointee(options.hosts),
            directions,
            salt: IdentitySalt::new(random),
            limits: options.limits,
            metrics,
            blind: Arc::default(),
        }))
    }

    /// Puts other hosts in the place of those that were listed, and forgets kept answers; answers
    /// whether anything changed. If one of them cannot be used, the old ones stay.
    pub fn take_hosts(&self, hosts: RegistryHosts) -> Result<bool, RegistryError> {
        if **self.hosts.load() == hosts {
            return Ok(false);
        }
        self.lookups.means.transport.check_hosts(&hosts, &self.hosts.load())?;
        self.hosts.store(Arc::new(hosts));
        self.take_certificates();
        self.answers.forget();
        self.tags.forget();
        Ok(true)
    }

    /// Looks at the certificate files of the listed hosts, and uses those that are new; answers
    /// whether there are any. Blocks for as long as reading them takes.
    pub fn take_certificates(&self) -> bool {
        let now = CertificateFiles::read(&self.hosts.load());
        if **self.certificates.load() == now {
            return false;
        }
        self.certificates.store(Arc::new(now));
        self.lookups.means.transport.forget_certificates();
        self.answers.forget();
        self.tags.forget();
        true
    }

    /// When the client certificates end that registries are shown.
    pub fn client_certificates(&self) -> Vec<CertificateEnd> {
        self.certificates.load().ends(&self.hosts.load())
    }

    /// Follows other directions of the policy from now on.
    pub fn take_directions(&self, directions: RegistryPolicy) {
        let before = self.directions.swap(Arc::new(directions));
        let now = self.directions.load();
        if before.in_cluster != now.in_cluster || before.realms != now.realms {
            // Answers that an address or a token service was foreign no longer hold.
            self.answers.forget();
            self.tags.forget();
        }
        if before.budgets != now.budgets {
            self.lookups.limits.rebudget(&before);
        }
    }

    /// Closes these addresses to registries that are not declared to be in the cluster,
    /// beside the ranges of the options. Kept answers stay: as a rule a node was added.
    pub(crate) fn take_cluster_ranges(&self, ranges: &[IpNet]) {
        self.lookups.means.transport.close(ranges);
    }

    /// The registries of which nothing could be seen lately. Nodes may well reach them.
    pub fn blind_spots(&self) -> Vec<BlindSpot> {
        self.blind.all()
    }

    /// The metrics, to be registered once.
    pub fn metrics(&self) -> &Arc<RegistryMetrics> {
        &self.metrics
    }

    fn key(&self, reference: &ImageReference, credential: Option<&Credential>) -> Key {
        Key {
            reference: reference.canonical().into(),
            by_digest: reference.digest().is_some(),
            identity: CredentialIdentity::of(credential, &self.salt),
        }
    }

    async fn look_up_through_cache(&self, request: LookupRequest, deadline: Instant) -> Lookup {
        let key = self.key(&request.reference, request.credential.as_ref());
        let image = request.reference.clone();
        let wanted = AnswerRequest {
            detail: request.detail,
            max_age: request.max_age,
            namespace: request.namespace.clone(),
        };
        let lookups = Arc::clone(&self.lookups);
        let hosts = self.hosts.load_full();
        let until = tokio::time::Instant::now() + self.directions.load().whole;
        let whole = self.limits.whole;
        let blind = Arc::clone(&self.blind);
        let ask = move |before| {
            let span = lookup_span(request.reference.host());
            let look = async move {
                let reference = &request.reference;
                let by_digest = reference.digest().is_some();
                let routes = hosts.routes(reference.host(), reference.repository(), by_digest);
                let deadline = tokio::time::Instant::now() + whole;
                let answered = if let Before::Known(known) = before {
                    lookups.read_content(&request, &routes, known, deadline).await
                } else {
                    let was_refused = matches!(before, Before::Refused);
                    let asking = Asking { request: &request, was_refused };
                    let heard = lookups.look_up(asking, &routes, deadline).await;
                    blind.note(reference.host(), &heard.outcome);
                    heard
                };
                tracing::Span::current().record("outcome", answered.outcome.as_str());
                answered
            };
            look.instrument(span).boxed()
        };
        let mut lookup = self.answers.get(key, wanted, until.min(deadline.into()), ask).await;
        if lookup.outcome == Outcome::TooLate
            && let Some(silence) = self.backoff_outcome(&image)
        {
            lookup.outcome = silence;
        }
        lookup
    }

    /// The time-out that a registry's last look-up came to, where there was no answer since: one
    /// that is not ready in time will hardly come to more.
    fn backoff_outcome(&self, image: &ImageReference) -> Option<Outcome> {
        let hosts = self.hosts.load();
        let by_digest = image.digest().is_some();
        let routes = hosts.routes(image.host(), image.repository(), by_digest);
        let limits = &self.lookups.limits;
        routes.iter().find_map(|route| limits.backoff_outcome(&lookup::host_of(route)))
    }

    async fn list_through_cache(
        &self,
        wanted: ListRequest,
        deadline: Instant,
    ) -> Result<Arc<TagList>, Outcome> {
        let key = Key {
            reference: tag_lists::kept_as(&wanted),
            by_digest: false,
            identity: CredentialIdentity::of(wanted.credential.as_ref(), &self.salt),
        };
        let namespace = wanted.namespace.clone();
        let hosts = self.hosts.load_full();
        let (lookups, limits) = (Arc::clone(&self.lookups), self.limits.clone());
        let read = async move {
            // Mirrors seldom list what they do not hold, so the registry itself is asked.
            let route = hosts
                .routes(wanted.reference.host(), wanted.reference.repository(), false)
                .pop()
                .ok_or(Outcome::NoHost)?;
            lookups.list(&wanted, &route, &limits).await
        };
        self.tags.get(key, namespace, deadline.into(), read.boxed()).await
    }
}

impl ManifestSource for RegistryClient {
    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup> {
        Box::pin(self.look_up_through_cache(request, deadline))
    }

    fn repeat(&self, request: LookupRequest) -> BoxFuture<'static, ()> {
        let slot = Arc::clone(&self.repeats).try_acquire_owned().ok();
        let Some(client) = self.me.upgrade().filter(|_| slot.is_some() || self.patient) else {
            return Box::pin(std::future::ready(()));
        };
        let repeats = Arc::clone(&self.repeats);
        let task = tokio::spawn(async move {
            let _slot = match slot {
                Some(slot) => Some(slot),
                None => repeats.acquire_owned().await.ok(),
            };
            tokio::time::sleep(REFUSALS_APART).await;
            let whole = client.limits.whole.max(client.directions.load().whole);
            let deadline = tokio::time::Instant::now() + whole;
            // Whoever asked in the meantime has asked for all.
            let max_age = Some(REFUSALS_APART / 2);
            let request = LookupRequest { max_age, ..request };
            client.look_up_through_cache(request, deadline.into()).await;
        });
        Box::pin(async move {
            // A task that broke off has confirmed nothing, which is what is then found.
            let _ = task.await;
        })
    }

    fn certificate_end(&self, image: &ImageReference) -> Option<Expiry> {
        let (hosts, certificates) = (self.hosts.load(), self.certificates.load());
        if certificates.has_no_end() {
            return None;
        }
        let by_digest = image.digest().is_some();
        let routes = hosts.routes(image.host(), image.repository(), by_digest);
        // As long as one way needs none, or one that lasts, nodes get the image.
        let ends: Option<Vec<Expiry>> =
            routes.iter().map(|route| certificates.end_at(&route.endpoint)).collect();
        ends?.into_iter().max_by_key(|end| end.at)
    }

    fn blind_reason(&self, host: &str) -> Option<BlindReason> {
        self.blind.reason(host)
    }

    fn asks_own_loopback(&self, image: &ImageReference) -> bool {
        let routed = || self.hosts.load().files_for(image.host(), image.repository());
        self.own_loopback
            && is_loopback_host(image.host())
            && !routed().is_some_and(|files| files.routes)
    }

    fn mirror_files(&self, image: &ImageReference) -> Option<MirrorFiles> {
        self.hosts.load().files_for(image.host(), image.repository())
    }

    fn known_manifest(&self, image: &ImageReference, digest: &Digest) -> Option<KnownManifest> {
        self.lookups.contents.known(image.host(), digest)
    }

    fn pulls_left(
        &self,
        image: &ImageReference,
        credential: Option<&Credential>,
    ) -> Option<PullsLeft> {
        let hosts = self.hosts.load();
        let route = hosts.routes(image.host(), image.repository(), false).pop()?;
        let given = credential.filter(|_| route.endpoint.takes_credentials);
        let identity = CredentialIdentity::of(given, &self.salt);
        self.lookups.limits.pulls_left(&lookup::host_of(&route), identity)
    }

    fn completed(&self, short: &ImageReference) -> Option<ImageReference> {
        let full = self.hosts.load().full_name(short.short_name()?)?;
        let tag = short.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = short.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
        let full = ImageReference::parse(&format!("{full}{tag}{digest}")).ok()?;
        (!full.cri_o_refuses()).then_some(full)
    }

    fn list(
        &self,
        request: ListRequest,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Arc<TagList>, Outcome>> {
        Box::pin(self.list_through_cache(request, deadline))
    }
}
