//! `pullgate serve`: builds everything from the configuration, runs it, and stops it in order.
//!
//! Every task is looked after: they all run until the process is told to stop, so one that ends
//! before ends the process, and whoever started it starts it again.

mod audit;
mod callers;
mod drift;
mod reload;
mod expiries;
mod findings;
mod events;
mod config;
mod flags;
mod pages;
mod wiring;
mod snapshot;
mod certificates;
mod policy;
mod kept_policy;
mod reports;
mod cluster_tasks;
pub(crate) mod registries;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::telemetry::{self, Otlp};
pub use config::{
    CallerProof, Config, ConfigError, NodeSettings, PolicyPlace, RegistrySettings, TlsSource,
};
pub use flags::{ClusterFlags, NodeFlags, OwnFlags, OwnSettings, RegistryFlags, ServeFlags};
pub(crate) use flags::{NODES_HEADING, REGISTRY_HEADING};
pub(crate) use pages::overview;
use wiring::App;

/// How long requests under way may take after the lame duck's time. With the default lame duck
/// this stays below the 30 s that Kubernetes gives a pod.
const DRAIN: Duration = Duration::from_secs(20);

/// A task's name, and why it ended.
type Ended = (&'static str, anyhow::Result<()>);

/// Runs the server until it is told to stop. An error means that it never started: flags or files
/// that cannot be used. What ends it later is logged, and is a failure of the process.
pub(crate) async fn run(flags: ServeFlags) -> anyhow::Result<ExitCode> {
    let config = Config::try_from(flags)?;
    let otlp = config.otlp.as_ref().map(|endpoint| {
        let replica = config.own.as_ref().map_or("pullgate", |own| own.replica.as_str());
        Otlp::to(endpoint, replica, telemetry::now().into()).map(Arc::new)
    });
    let otlp = otlp.transpose()?;
    telemetry::init(config.log_format, config.log_level, otlp.as_deref());
    if config.check_only {
        wiring::check(config)?;
        tracing::info!("a replica could start with these flags and files");
        return Ok(ExitCode::SUCCESS);
    }
    let lame_duck = config.lame_duck;
    let app = App::build(config, otlp.clone()).await?;
    let served = serve(app, lame_duck).await;
    if let Some(otlp) = otlp {
        let _ended = tokio::task::spawn_blocking(move || otlp.end()).await;
    }
    Ok(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopping");
            ExitCode::FAILURE
        }
    })
}

/// Signals that ask to stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What is told to stop, each at its time.
#[derive(Default)]
struct Stops {
    /// Leading: at once, so that another replica can.
    leading: CancellationToken,
    /// It is done.
    stepped_down: CancellationToken,
    /// Answering reviews.
    reviews: CancellationToken,
    /// The admin port.
    admin: CancellationToken,
}

async fn serve(app: App, lame_duck: Duration) -> anyhow::Result<()> {
    let mut signals = Stop::listen()?;
    if let Some(bundle) = &app.ca_bundle {
        // The one thing a person has to copy; the log goes to standard error.
        let _ = writeln!(std::io::stdout().lock(), "caBundle: {bundle}");
    }
    let (stops, keeps) = (Stops::default(), app.keeps_its_own());
    let (readiness, memory) = (app.readiness.clone(), app.memory.clone());
    let mut tasks = JoinSet::new();
    let servers = app.run(&mut tasks, &stops);
    tokio::select! {
        ended = tasks.join_next() => return unexpected(ended),
        () = signals.asked() => {}
    }
    readiness.stop();
    stops.leading.cancel();
    tracing::info!(
        seconds = lame_duck.as_secs(),
        "asked to stop: no longer ready, still answering"
    );
    tokio::select! {
        ended = tasks.join_next() => return unexpected(ended),
        () = tokio::time::sleep(lame_duck) => {}
        () = signals.asked() => tracing::info!("asked again: stopping at once"),
    }
    stops.reviews.cancel();
    let drained = drained(&mut tasks, servers);
    tokio::select! {
        ended = drained => ended?,
        () = tokio::time::sleep(DRAIN + Duration::from_secs(2)) => {
            tracing::warn!("stopped with requests under way");
        }
        () = signals.asked() => tracing::warn!("asked again: stopping with requests under way"),
    }
    stops.admin.cancel();
    if keeps {
        let stepped_down = stops.stepped_down.cancelled();
        let _in_time = tokio::time::timeout(Duration::from_secs(2), stepped_down).await;
    }
    snapshot::last_write(memory).await;
    tracing::info!("stopped");
    Ok(())
}

/// A task has ended although nothing should.
fn unexpected(ended: Option<Result<Ended, tokio::task::JoinError>>) -> anyhow::Result<()> {
    match ended {
        Some(Ok((name, Ok(())))) => anyhow::bail!("the task {name} has ended"),
        Some(Ok((name, Err(error)))) => Err(error.context(format!("the task {name} has failed"))),
        Some(Err(panicked)) => Err(anyhow::Error::new(panicked).context("a task has failed")),
        None => anyhow::bail!("no task is left"),
    }
}

/// Waits until the admission server has ended.
async fn drained(tasks: &mut JoinSet<Ended>, server: &'static str) -> anyhow::Result<()> {
    loop {
        match tasks.join_next().await {
            Some(Ok((name, result))) if name == server => return result,
            ended => unexpected(ended)?,
        }
    }
}
