//! The two admission routes: who asks, how much, by when; then [`Admit`], in a task of its own.
//!
//! A caller that has not proven itself gets 403 and an empty body, whatever it sent. A readable
//! review of a proven caller is always answered with its own uid: if the review behind panics, is
//! late, or there are too many, it is admitted without a look and counted.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::acceptor::Peer;
use super::caller::Callers;
use super::{answer, deadline};
use crate::telemetry::{CutShort, Metrics, Refusal, Rejection};

/// The API server takes objects of up to 3 MiB, and a review may carry two of them.
pub const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Which of the two webhooks is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The validating one: warns and denies.
    Validate,
    /// The mutating one: patches.
    Mutate,
}

impl Endpoint {
    /// The word in the path, in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Mutate => "mutate",
        }
    }
}

/// What is sent back, and the word for it in metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200 for every readable review, else 4xx.
    pub status: u16,
    /// An AdmissionReview, or a plain fault.
    pub body: Vec<u8>,
    /// `allow`, `warn`, `deny`, `patch`, or `unreadable`.
    pub decision: &'static str,
}

/// Answers reviews. Must answer by the deadline; is cut short if it does not.
pub trait Admit: Send + Sync + 'static {
    /// Answers one review of a proven caller.
    fn admit(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        now: Timestamp,
        deadline: Instant,
    ) -> BoxFuture<'_, Answer>;
}

/// How much may be under way at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Reviews; those beyond are admitted without a look.
    pub reviews: usize,
    /// Mebibytes of request bodies in memory; requests beyond get 503, which the webhook
    /// configuration's failure policy covers.
    pub body_mebibytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reviews: 512, body_mebibytes: 128 }
    }
}

/// What the admission routes need.
#[derive(Clone)]
pub struct AdmissionRoutes {
    admit: Arc<dyn Admit>,
    callers: Callers,
    metrics: Arc<Metrics>,
    slots: Arc<Semaphore>,
    memory: Arc<Semaphore>,
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
        let (slots, memory) = (Semaphore::new(limits.reviews), Semaphore::new(blocks));
        Self { admit, callers, metrics, slots: Arc::new(slots), memory: Arc::new(memory) }
    }

    /// The router: `/validate` and `/mutate`, each with the path token or without.
    pub fn router(self) -> Router {
        let router = Router::new().fallback(unknown);
        let router =
            [Endpoint::Validate, Endpoint::Mutate].into_iter().fold(router, |router, endpoint| {
                let path = format!("/{}", endpoint.as_str());
                router
                    .route(
                        &format!("{path}/{{token}}"),
                        any(move |s, t, r| by_token(endpoint, s, t, r)),
                    )
                    .route(&path, any(move |s, p, r| by_certificate(endpoint, s, p, r)))
            });
        router.with_state(self)
    }
}

async fn unknown(State(routes): State<AdmissionRoutes>) -> Response {
    routes.metrics.refused(Refusal::Path);
    refuse()
}

async fn by_certificate(
    endpoint: Endpoint,
    State(routes): State<AdmissionRoutes>,
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
    routes.proven(endpoint, request).await
}

async fn by_token(
    endpoint: Endpoint,
    State(routes): State<AdmissionRoutes>,
    Path(token): Path<String>,
    request: Request<Body>,
) -> Response {
    if !routes.callers.knows_token(&token) {
        routes.metrics.refused(Refusal::Token);
        return refuse();
    }
    routes.proven(endpoint, request).await
}

/// 403 with an empty body: the caller learns nothing.
fn refuse() -> Response {
    StatusCode::FORBIDDEN.into_response()
}

impl AdmissionRoutes {
    /// Reads the review of a proven caller and answers it.
    async fn proven(&self, endpoint: Endpoint, request: Request<Body>) -> Response {
        let (now, arrived) = clock();
        if request.method() != Method::POST {
            return self.reject(Rejection::Method);
        }
        let timeout = deadline::timeout_from_query(request.uri().query());
        let deadline = deadline::deadline_from_query(request.uri().query(), arrived);
        let last_call = deadline + deadline::margin(timeout) / 2;
        let mut reserved = Vec::new();
        let reading = self.read(request, &mut reserved);
        let body = match tokio::time::timeout_at(last_call.into(), reading).await {
            Ok(Ok(body)) => body,
            Ok(Err(rejection)) => return self.reject(rejection),
            Err(_late) => return self.reject(Rejection::Incomplete),
        };
        let answer = self.answer(endpoint, body, now, deadline, last_call).await;
        let seconds = arrived.elapsed().as_secs_f64();
        match answer {
            Some(answer) => {
                self.metrics.review(endpoint.as_str(), answer.decision, seconds);
                if answer.status >= 400 {
                    self.metrics.rejected(Rejection::Unreadable);
                }
                let status = StatusCode::from_u16(answer.status)
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                answer::json(status, answer.body)
            }
            None => self.reject(Rejection::Unreadable),
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
        let mut body = BytesMut::with_capacity(announced.unwrap_or_default().min(BLOCK));
        let mut chunks = request.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_broken| Rejection::Incomplete)?;
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(Rejection::TooLarge);
            }
            while (body.len() + chunk.len()).div_ceil(BLOCK) > reserved.len() {
                reserved.push(self.memory.try_acquire().map_err(|_full| Rejection::Overload)?);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Lets the review run in its own task, so that a panic or a caller that hangs up ends
    /// neither the server nor a look-up; `None` if there is nothing readable to answer.
    async fn answer(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        now: Timestamp,
        deadline: Instant,
        last_call: Instant,
    ) -> Option<Answer> {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return self.unseen(&body, CutShort::Overload);
        };
        let (admit, in_flight) = (Arc::clone(&self.admit), self.metrics.review_begins());
        let review = {
            let body = body.clone();
            async move {
                let _held = (slot, in_flight);
                admit.admit(endpoint, body, now, deadline).await
            }
        };
        let mut task = tokio::spawn(review);
        match tokio::time::timeout_at(last_call.into(), &mut task).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_panicked)) => self.unseen(&body, CutShort::Panic),
            Err(_late) => {
                task.abort();
                self.unseen(&body, CutShort::Late)
            }
        }
    }

    fn unseen(&self, body: &[u8], reason: CutShort) -> Option<Answer> {
        let body = answer::allow_unseen(body)?;
        self.metrics.cut_short(reason);
        tracing::warn!(reason = reason.as_str(), "admitted a review without a look");
        Some(Answer { status: 200, body, decision: "allow" })
    }

    fn reject(&self, rejection: Rejection) -> Response {
        self.metrics.rejected(rejection);
        let (status, words) = match rejection {
            Rejection::Unreadable => (StatusCode::BAD_REQUEST, "the body is no AdmissionReview\n"),
            Rejection::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 8 MiB\n")
            }
            Rejection::Incomplete => {
                (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time, or broke off\n")
            }
            Rejection::Method => (StatusCode::METHOD_NOT_ALLOWED, "reviews are POSTed\n"),
            Rejection::Overload => {
                (StatusCode::SERVICE_UNAVAILABLE, "too many requests are being read\n")
            }
        };
        answer::fault(status, words)
    }
}

#[expect(clippy::disallowed_methods, reason = "an edge reads the clock, once per request")]
fn clock() -> (Timestamp, Instant) {
    (Timestamp::now(), Instant::now())
}
