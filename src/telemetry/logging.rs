//! Where log lines go and what they look like.
//!
//! Lines go to stderr. Other crates are heard from `warn` on only: at finer levels HTTP crates
//! print request paths, and the path of a review is a secret.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::Otlp;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// From which level on Pullgate's own lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogLevel {
    /// Only what needs somebody's attention now.
    Error,
    /// Also what will need it.
    Warn,
    /// Also one line per review that warned, denied, or let something past the policy.
    #[default]
    Info,
    /// Also one line for every other review, and steps within.
    Debug,
}

impl LogLevel {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        }
    }
}

/// Starts logging for the whole process and makes panics log lines. The first call wins.
pub fn init(format: LogFormat, level: LogLevel, traces: Option<&Otlp>) {
    // A second call (in tests) finds a subscriber in place and leaves it there.
    let _already_set = subscriber(format, level, traces).try_init();
    std::panic::set_hook(Box::new(|panic| {
        // The place only: the message may quote what was being worked on.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "pullgate", place, "a task panicked");
    }));
}

/// Who hears of lines and spans: the log, and the collector where there is one.
fn subscriber(
    format: LogFormat,
    level: LogLevel,
    traces: Option<&Otlp>,
) -> impl Subscriber + Send + Sync + use<> {
    let heard = Targets::new()
        .with_default(LevelFilter::WARN.min(level.filter()))
        // Its one line of this kind says less than our own about the same call.
        .with_target("kube_client", LevelFilter::OFF)
        .with_target("pullgate", level.filter());
    let lines = fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::NONE);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    // Not one layer on the other: a filter below a layer without one (`None` is such a layer) disables
    // nothing, and spans for a collector that is not there would be made all the same.
    let mut layers = vec![lines.with_filter(heard).boxed()];
    layers.extend(traces.map(|otlp| otlp.layer().boxed()));
    tracing_subscriber::registry().with(layers)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::telemetry::otlp::{lookup_span, review_span};

    /// Whether spans of a review and of a look-up are made.
    fn makes_spans(level: LogLevel, traces: Option<&Otlp>) -> [bool; 2] {
        let subscriber = subscriber(LogFormat::Json, level, traces);
        tracing::subscriber::with_default(subscriber, || {
            let review = review_span("validate", &HeaderMap::new());
            [review, lookup_span("r.example.com")].map(|span| !span.is_disabled())
        })
    }

    /// The threads of this process that send traces.
    fn senders() -> usize {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names =
            threads.filter_map(|one| std::fs::read_to_string(one.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("OpenTelemetry")).count()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_collector_no_span_is_made_and_nothing_is_there_to_send_one() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug] {
            assert_eq!(makes_spans(level, None), [false, false], "{level:?}");
        }
        assert_eq!(senders(), 0);
        let _ = rustls::crypto::ring::default_provider().install_default();
        // With one both are made, at whatever level lines are written.
        let nobody = "http://127.0.0.1:9/".parse().unwrap();
        let otlp = Otlp::to(&nobody, "a", std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(makes_spans(LogLevel::Error, Some(&otlp)), [true, true]);
        // A thread gives itself its name once it runs.
        for _ in 0..500 {
            if senders() == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        assert_eq!(senders(), 1);
    }
}
