//! The two admission routes: who asks, how much, by when; then [`Admit`], in a task of its own.
//!
//! A caller that has not proven itself gets 403 and an empty body, whatever it sent. A readable
//! review of a proven caller is always answered with its own uid: if the review behind panics, is
//! late, or there are too many, it is admitted without a look and counted.

use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::acceptor::Peer;
use super::aggregated::Page;
use super::answer::FailOpenAnswer;
use super::caller::Callers;
use super::shares::Shares;
use super::{Readiness, answer, deadline, record};
use crate::admission::DecodeError;
use crate::review::{AdmissionOutcome, Endpoint, Proof, Reviewer};
use crate::telemetry::{FailOpenReason, Metrics, Refusal, Rejection, review_span};

/// The API server takes objects of up to 3 MiB, and a review may carry two of them.
pub const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// A review that came in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Which webhook is asked.
    pub endpoint: Endpoint,
    /// How well the caller has proven itself.
    pub proof: Proof,
    /// The `AdmissionReview`, JSON.
    pub body: Bytes,
    /// When it came.
    pub now: Timestamp,
    /// When the answer must be there.
    pub deadline: Instant,
}

/// Answers reviews. Must answer by the deadline; is cut short if it does not.
pub trait Admit: Send + Sync + 'static {
    /// Answers one review, or says what is wrong with the body.
    fn admit(&self, review: Arrival) -> BoxFuture<'_, Result<AdmissionOutcome, DecodeError>>;

    /// How long an answer may take at most; what the API server waits counts too.
    fn longest(&self) -> Duration {
        Duration::MAX
    }
}

impl Admit for Reviewer {
    fn admit(&self, review: Arrival) -> BoxFuture<'_, Result<AdmissionOutcome, DecodeError>> {
        let Arrival { endpoint, proof, body, now, deadline } = review;
        Box::pin(async move { Self::admit(self, endpoint, proof, &body, (now, deadline)).await })
    }

    fn longest(&self) -> Duration {
        self.policy.load().spec().lookups.total.get()
    }
}

/// How much may be under way at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Reviews, three quarters of them of one namespace; those beyond are admitted without a look.
    pub reviews: usize,
    /// Mebibytes of request bodies in memory; requests beyond get 503, which the webhook
    /// configuration's failure policy covers.
    pub body_mebibytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reviews: 1400, body_mebibytes: 128 }
    }
}

/// What the admission routes need.
pub struct AdmissionRoutes {
    admit: Arc<dyn Admit>,
    callers: Callers,
    metrics: Arc<Metrics>,
    slots: Arc<Shares>,
    memory: Arc<Semaphore>,
    readiness: Option<Arc<Readiness>>,
}

/// Body memory is handed out in these.
const BLOCK: usize = 64 * 1024;

impl AdmissionRoutes {
    /// Puts the parts together.
    pub fn new(
        admit: Arc<dyn Admit>,
        callers: Callers,
        metrics: Arc<Metrics>,
        limits: Limits,
    ) -> Self {
        let blocks = limits.body_mebibytes * (1024 * 1024 / BLOCK);
        let slots = Arc::new(Shares::new(limits.reviews));
        let memory = Arc::new(Semaphore::new(blocks));
        Self { admit, callers, metrics, slots, memory, readiness: None }
    }

    /// Asks callers to leave with every answer while the server is about to stop. The API server keeps
    /// its connections (HTTP/1.1) for the next review, and one that is closed under a review loses it.
    #[must_use]
    pub fn close_when_stopping(self, readiness: Arc<Readiness>) -> Self {
        Self { readiness: Some(readiness), ..self }
    }

    /// The router: `/validate` and `/mutate`, each with the path token or without.
    pub fn router(self) -> Router {
        let router =
            Router::new().fallback(|s: Routes, v| parting(s.clone(), v, ready(unknown(s))));
        let router =
            [Endpoint::Validate, Endpoint::Mutate].into_iter().fold(router, |router, endpoint| {
                let path = format!("/{}", endpoint.as_str());
                router
                    .route(
                        &format!("{path}/{{token}}"),
                        any(move |s: Routes, v, t, p, r| {
                            parting(s.clone(), v, by_token(endpoint, s, t, p, r))
                        }),
                    )
                    .route(
                        &path,
                        any(move |s: Routes, v, p, r| {
                            parting(s.clone(), v, by_certificate(endpoint, s, p, r))
                        }),
                    )
                    .route(
                        &format!("{}{path}", Page::Resources.path()),
                        any(move |s: Routes, v, p, r| {
                            parting(s.clone(), v, by_aggregation(endpoint, s, p, r))
                        }),
                    )
            });
        let router = Page::ALL.into_iter().fold(router, |router, page| {
            router.route(
                &page.path(),
                get(move |s: Routes, v, p, h: HeaderMap| {
                    parting(s.clone(), v, ready(discovery(page, s, p, &h)))
                }),
            )
        });
        router.with_state(Arc::new(self))
    }
}

type Routes = State<Arc<AdmissionRoutes>>;

/// The answer, and to leave with it if the server is about to stop.
async fn parting(
    State(routes): Routes,
    version: Version,
    answer: impl Future<Output = Response>,
) -> Response {
    let mut response = answer.await;
    // HTTP/2 has its own way of saying so.
    let keeps = version <= Version::HTTP_11;
    if keeps && routes.readiness.as_ref().is_some_and(|readiness| readiness.is_stopping()) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

fn unknown(State(routes): Routes) -> Response {
    routes.metrics.refused(Refusal::Path);
    refuse()
}

async fn by_certificate(
    endpoint: Endpoint,
    State(routes): Routes,
    peer: Option<Extension<Peer>>,
    request: Request<Body>,
) -> Response {
    let proven = peer.is_some_and(|Extension(peer)| peer.certificate);
    if !(routes.callers.accepts_certificates() && proven) {
        let certificates = routes.callers.accepts_certificates();
        let reason = if certificates { Refusal::Certificate } else { Refusal::Token };
        routes.metrics.refused(reason);
        return refuse();
    }
    routes.proven(endpoint, request, Proof::Certain).await
}

/// By way of the API server's aggregation layer, and by the API server itself: whoever else may post
/// there, by whatever right, is refused.
async fn by_aggregation(
    endpoint: Endpoint,
    State(routes): Routes,
    peer: Option<Extension<Peer>>,
    request: Request<Body>,
) -> Response {
    let layer = peer.is_some_and(|Extension(peer)| peer.front_proxy);
    let front_proxy = routes.callers.front_proxy().filter(|_| layer);
    if !front_proxy.is_some_and(|known| known.speaks_for_itself(request.headers())) {
        routes.metrics.refused(Refusal::Aggregation);
        return refuse();
    }
    routes.proven(endpoint, request, Proof::Certain).await
}

fn discovery(
    page: Page,
    State(routes): Routes,
    peer: Option<Extension<Peer>>,
    headers: &HeaderMap,
) -> Response {
    let layer = peer.is_some_and(|Extension(peer)| peer.front_proxy);
    if routes.callers.front_proxy().is_none() || !layer {
        routes.metrics.refused(Refusal::Aggregation);
        return refuse();
    }
    page.response(headers)
}

async fn by_token(
    endpoint: Endpoint,
    State(routes): Routes,
    Path(token): Path<String>,
    peer: Option<Extension<Peer>>,
    request: Request<Body>,
) -> Response {
    if !routes.callers.knows_token(&token) {
        routes.metrics.refused(Refusal::Token);
        return refuse();
    }
    let certificate = routes.callers.accepts_certificates()
        && peer.as_ref().is_some_and(|Extension(peer)| peer.certificate);
    if let Some(Extension(peer)) = peer {
        peer.prove();
    }
    let certain = certificate || routes.callers.trusts_path();
    let proof = if certain { Proof::Certain } else { Proof::Path };
    routes.proven(endpoint, request, proof).await
}

/// 403 with an empty body: the caller learns nothing.
fn refuse() -> Response {
    StatusCode::FORBIDDEN.into_response()
}

impl AdmissionRoutes {
    /// Reads the review of a proven caller and answers it.
    async fn proven(&self, endpoint: Endpoint, request: Request<Body>, proof: Proof) -> Response {
        let (now, arrived) = clock();
        let span = review_span(endpoint.as_str(), request.headers());
        if request.method() != Method::POST {
            return self.reject(Rejection::Method);
        }
        let timeout = deadline::timeout_from_query(request.uri().query());
        let deadline = deadline::deadline_from_query(request.uri().query(), arrived);
        let longest = arrived.checked_add(self.admit.longest());
        let deadline = longest.map_or(deadline, |longest| deadline.min(longest));
        let last_call = deadline + deadline::margin(timeout) / 2;
        let mut reserved = Vec::new();
        let reading = self.read(request, &mut reserved);
        let body = match tokio::time::timeout_at(last_call.into(), reading).await {
            Ok(Ok(body)) => body,
            Ok(Err(rejection)) => return self.reject(rejection),
            Err(_late) => return self.reject(Rejection::Incomplete),
        };
        let review = Arrival { endpoint, proof, body, now, deadline };
        let answer = self.answer(review, last_call).instrument(span.clone()).await;
        let seconds = arrived.elapsed().as_secs_f64();
        match answer {
            ReviewAnswer::Reviewed(outcome) => {
                record::record(&self.metrics, endpoint.as_str(), &outcome.record, seconds);
                span.record("uid", &outcome.record.uid);
                span.record("kind", &outcome.record.kind);
                span.record("dry_run", outcome.record.dry_run);
                span.record("decision", record::decision(&outcome.record));
                answer::json(StatusCode::OK, outcome.body)
            }
            ReviewAnswer::FailOpenAnswer(fail_open, reason) => {
                record::fail_open(
                    &self.metrics,
                    endpoint.as_str(),
                    &fail_open.uid,
                    reason,
                    seconds,
                );
                answer::json(StatusCode::OK, fail_open.body)
            }
            ReviewAnswer::Unreadable(fault) => {
                self.metrics.rejected(Rejection::Unreadable);
                answer::fault(StatusCode::BAD_REQUEST, fault + "\n")
            }
        }
    }

    /// Reads the body within the limits; what it takes is reserved until `reserved` is dropped.
    async fn read<'a>(
        &'a self,
        request: Request<Body>,
        reserved: &mut Vec<tokio::sync::SemaphorePermit<'a>>,
    ) -> Result<Bytes, Rejection> {
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > BODY_LIMIT) {
            return Err(Rejection::TooLarge);
        }
        let mut body = BytesMut::new();
        let mut chunks = request.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_broken| Rejection::Incomplete)?;
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(Rejection::TooLarge);
            }
            while (body.len() + chunk.len()).div_ceil(BLOCK) > reserved.len() {
                reserved.push(self.memory.try_acquire().map_err(|_full| Rejection::Overload)?);
            }
            if body.is_empty() {
                if chunks.is_end_stream() {
                    // All of it, where it was received.
                    return Ok(chunk);
                }
                body.reserve(announced.unwrap_or_default().min(BLOCK));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Lets the review run, in a task of its own as soon as it has to wait: a panic or a caller that
    /// hangs up ends neither the server nor a look-up.
    async fn answer(&self, review: Arrival, last_call: Instant) -> ReviewAnswer {
        let body = review.body.clone();
        let Some(slot) = self.slots.take(&answer::namespace(&body)) else {
            return fail_open(&body, FailOpenReason::Overload);
        };
        let (admit, in_flight) = (Arc::clone(&self.admit), self.metrics.review_begins());
        let review = async move {
            let _held = (slot, in_flight);
            admit.admit(review).await
        };
        let mut review = Box::pin(AssertUnwindSafe(review).catch_unwind());
        // Most reviews wait for nothing: everything that they ask for is kept. What takes long to read
        // is not read here: the deadline holds for it, too.
        if body.len() <= BLOCK
            && let Poll::Ready(done) = futures::poll!(review.as_mut())
        {
            return answered(&body, done);
        }
        let mut task = tokio::spawn(review.in_current_span());
        match tokio::time::timeout_at(last_call.into(), &mut task).await {
            Ok(Ok(done)) => answered(&body, done),
            Ok(Err(_panicked)) => fail_open(&body, FailOpenReason::Panic),
            Err(_late) => {
                task.abort();
                fail_open(&body, FailOpenReason::Late)
            }
        }
    }

    fn reject(&self, rejection: Rejection) -> Response {
        self.metrics.rejected(rejection);
        let (status, words) = match rejection {
            Rejection::Unreadable => (StatusCode::BAD_REQUEST, "the body is not readable\n"),
            Rejection::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 8 MiB\n")
            }
            Rejection::Incomplete => {
                (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time, or was cut off\n")
            }
            Rejection::Method => (StatusCode::METHOD_NOT_ALLOWED, "reviews are POSTed\n"),
            Rejection::Overload => {
                (StatusCode::SERVICE_UNAVAILABLE, "too many requests are being read\n")
            }
        };
        answer::fault(status, words)
    }
}

/// What came of a request.
enum ReviewAnswer {
    /// It was reviewed.
    Reviewed(Box<AdmissionOutcome>),
    /// It was admitted without a look.
    FailOpenAnswer(FailOpenAnswer, FailOpenReason),
    /// It is no review.
    Unreadable(String),
}

/// What became of a review that ran to its end, or panicked.
fn answered(
    body: &[u8],
    done: std::thread::Result<Result<AdmissionOutcome, DecodeError>>,
) -> ReviewAnswer {
    match done {
        Ok(Ok(outcome)) => ReviewAnswer::Reviewed(Box::new(outcome)),
        Ok(Err(fault)) => ReviewAnswer::Unreadable(fault.to_string()),
        Err(_panicked) => fail_open(body, FailOpenReason::Panic),
    }
}

fn fail_open(body: &[u8], reason: FailOpenReason) -> ReviewAnswer {
    match answer::allow_unseen(body) {
        Some(fail_open) => ReviewAnswer::FailOpenAnswer(fail_open, reason),
        None => {
            ReviewAnswer::Unreadable("the body is not an AdmissionReview with a uid".to_owned())
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an edge reads the clock, once per request")]
fn clock() -> (Timestamp, Instant) {
    (Timestamp::now(), Instant::now())
}
