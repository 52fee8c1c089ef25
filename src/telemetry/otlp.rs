//! Traces and metrics for an OpenTelemetry collector (OTLP over HTTP, binary). Off unless an
//! endpoint is given, and then neither a review nor a look-up waits for it: what cannot be sent is
//! dropped.
//!
//! The metrics are those of `/metrics`, read from the same page, so that both are always the same.

mod convert;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

/// The target of spans that are for a collector alone: no log line is made of them.
const SPANS: &str = "otlp";
/// How long one request to the collector may take.
const SEND: Duration = Duration::from_secs(10);
/// Between two sendings of the metrics.
pub(crate) const METRICS_EVERY: Duration = Duration::from_secs(30);

/// Why traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The HTTP client cannot be built.
    #[error("failed to set up the HTTP client for the collector")]
    Client(#[source] reqwest::Error),
    /// The exporter cannot be built.
    #[error("failed to set up the exporter of traces")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// The way to a collector.
pub struct Otlp {
    provider: SdkTracerProvider,
    sender: Sender,
    metrics: Url,
    attributes: Vec<(&'static str, String)>,
    started: SystemTime,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otlp")
    }
}

impl Otlp {
    /// A way to the collector at this address, to which `v1/traces` and `v1/metrics` are added.
    /// Needs a running tokio.
    pub fn to(endpoint: &Url, replica: &str, started: SystemTime) -> Result<Self, OtlpError> {
        let redirects = reqwest::redirect::Policy::none();
        // A collector stands in the cluster; the proxy of the environment is for registries.
        let client = reqwest::Client::builder().timeout(SEND).redirect(redirects).no_proxy();
        let client = client.build().map_err(OtlpError::Client)?;
        let sender = Sender { client, runtime: tokio::runtime::Handle::current() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender.clone())
            .with_endpoint(below(endpoint, "v1/traces"))
            .with_timeout(SEND)
            .build()
            .map_err(OtlpError::Exporter)?;
        let attributes = vec![
            ("service.name", "pullgate".to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", replica.to_owned()),
        ];
        let resource = attributes.iter().map(|(name, value)| KeyValue::new(*name, value.clone()));
        let resource = Resource::builder_empty().with_attributes(resource).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        let metrics = below(endpoint, "v1/metrics").parse().unwrap_or_else(|_| endpoint.clone());
        Ok(Self { provider, sender, metrics, attributes, started })
    }

    /// What makes spans of ours into spans of a trace.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        let layer = tracing_opentelemetry::layer().with_tracer(self.provider.tracer("pullgate"));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_filter(Targets::new().with_target(SPANS, tracing::Level::INFO))
    }

    /// Sends the metrics of a page in `OpenMetrics`; whether the collector took them.
    pub(crate) async fn send_metrics(&self, page: &str, now: SystemTime) -> bool {
        let request = convert::request(page, &self.attributes, self.started, now);
        let body = Bytes::from(request.encode_to_vec());
        let sent = self.sender.client.post(self.metrics.clone());
        let sent = sent.header("content-type", "application/x-protobuf").body(body).send().await;
        sent.is_ok_and(|answer| answer.status().is_success())
    }

    /// Sends what waits, and ends; blocks for a moment.
    pub fn end(&self) {
        let _late = self.provider.shutdown_with_timeout(Duration::from_secs(2));
    }
}

fn below(endpoint: &Url, path: &str) -> String {
    format!("{}/{path}", endpoint.as_str().trim_end_matches('/'))
}

/// A span for one review; a trace that its caller has begun goes on in it.
pub(crate) fn review_span(endpoint: &'static str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: SPANS,
        "review",
        otel.kind = "server",
        endpoint,
        uid = tracing::field::Empty,
        kind = tracing::field::Empty,
        dry_run = tracing::field::Empty,
        decision = tracing::field::Empty,
    );
    if !span.is_disabled() {
        let _without_layer = span.set_parent(caller(headers));
    }
    span
}

/// A span for one look-up at a registry.
pub(crate) fn lookup_span(registry: &str) -> Span {
    tracing::info_span!(
        target: SPANS,
        "look-up",
        otel.kind = "client",
        registry,
        outcome = tracing::field::Empty,
    )
}

/// The trace that a caller has begun, as `traceparent` says (W3C Trace Context).
fn caller(headers: &HeaderMap) -> Context {
    struct Headers<'a>(&'a HeaderMap);
    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).and_then(|value| value.to_str().ok())
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(http::HeaderName::as_str).collect()
        }
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
}

/// Sends on the runtime of the program, whoever asks: the exporter has a thread of its own.
#[derive(Clone)]
struct Sender {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl HttpClient for Sender {
    fn send_bytes<'this, 'sent>(
        &'this self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'this: 'sent,
        Self: 'sent,
    {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let (head, body) = request.into_parts();
            let url = head.uri.to_string();
            let sent = client.request(head.method, url).headers(head.headers).body(body).send();
            let answer = sent.await?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            Ok::<_, reqwest::Error>(response)
        });
        Box::pin(async move { Ok(sending.await??) })
    }
}
