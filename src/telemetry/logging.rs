//! Where log lines go and what they look like.
//!
//! Lines go to stderr. Other crates are heard from `warn` on only: at finer levels HTTP crates
//! print request paths, and the path of a review is a secret.

use std::io::IsTerminal;

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
    // A second call (in tests) finds a subscriber in place and leaves it there.
    let _already_set = tracing_subscriber::registry()
        .with(lines.with_filter(heard))
        .with(traces.map(Otlp::layer))
        .try_init();
    std::panic::set_hook(Box::new(|panic| {
        // The place only: the message may quote what was being worked on.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "pullgate", place, "a task panicked");
    }));
}
