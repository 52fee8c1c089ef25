//! A real cluster to test against: etcd, kube-apiserver and kube-controller-manager, real
//! registries, `pullgate serve` beside them, everything on loopback and on free ports.
//!
//! The programs are built from Go modules by `tests/cluster/build.sh`; the environment variable
//! `PULLGATE_CLUSTER_BIN` says where they are. Without it every test here prints `skipped: …`.
//! There are no nodes: `nodes` writes Node objects and pod statuses through the API, as a kubelet
//! would. One cluster is shared by all tests of a process (`shared`), each test has its own
//! namespaces. Everything that was started ends with this process, however it ends (`process`).

pub mod control_plane;
pub mod images;
pub mod kubectl;
pub mod nodes;
pub mod pki;
pub mod process;
pub mod proxy;
pub mod pullgate;
pub mod registry;
pub mod scenes;
pub mod stage;
pub mod token_server;
pub mod webhook;

#[cfg(test)]
mod aggregation_test;
#[cfg(test)]
mod command_line_test;
#[cfg(test)]
mod check_cluster_test;
#[cfg(test)]
mod advice_test;
#[cfg(test)]
mod certificate_test;
#[cfg(test)]
mod commands_test;
#[cfg(test)]
mod control_plane_test;
#[cfg(test)]
mod drift_test;
#[cfg(test)]
mod crowd_test;
#[cfg(test)]
mod front_door_test;
#[cfg(test)]
mod builds_test;
#[cfg(test)]
mod itself_test;
#[cfg(test)]
mod hidden_test;
#[cfg(test)]
mod lived_test;
#[cfg(test)]
mod mutation_test;
#[cfg(test)]
mod on_call_test;
#[cfg(test)]
mod quota_test;
#[cfg(test)]
mod registry_test;
#[cfg(test)]
mod risk_test;
#[cfg(test)]
mod rollout_test;
#[cfg(test)]
mod scenes_test;
#[cfg(test)]
mod told_test;
#[cfg(test)]
mod trouble_test;
#[cfg(test)]
mod watches_test;
#[cfg(test)]
mod webhook_test;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use control_plane::ControlPlane;

/// How long anything may take before a test gives up on it; generous, because continuous
/// integration machines are slow and busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The environment variable that names the folder of the built programs.
pub const BIN_VARIABLE: &str = "PULLGATE_CLUSTER_BIN";

/// The folder of the programs, or why there is none.
pub fn programs() -> Result<PathBuf, String> {
    let Some(folder) = std::env::var_os(BIN_VARIABLE).filter(|value| !value.is_empty()) else {
        return Err(format!("{BIN_VARIABLE} is not set (`make test` builds the programs)"));
    };
    // Tests are run in the folder of the package; a relative path is meant from there.
    let folder = std::path::absolute(PathBuf::from(folder)).map_err(|error| error.to_string())?;
    for program in ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "registry"] {
        assert!(
            folder.join(program).is_file(),
            "{BIN_VARIABLE}={} but there is no {program}; build it with tests/cluster/build.sh",
            folder.display()
        );
    }
    Ok(folder)
}

/// The cluster of this test process, started by the first test that asks; `None`, after a line
/// `skipped: …` on the terminal, when the programs are not there.
///
/// # Panics
/// When the cluster cannot be started: a test that cannot run has failed.
pub fn shared() -> Option<&'static ControlPlane> {
    static CLUSTER: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    let folder = match programs() {
        Ok(folder) => folder,
        Err(reason) => {
            skipped(&reason);
            return None;
        }
    };
    match CLUSTER.get_or_init(|| ControlPlane::start(&folder)) {
        Ok(cluster) => Some(cluster),
        Err(reason) => panic!("the cluster did not start: {reason}"),
    }
}

/// Says that the test of this thread was not run, past the capturing of test output, so that a
/// skip is never silent.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr().lock(), "skipped: {name}: {reason}");
}

/// The threads on which the harness' own servers and clients run; tests themselves are plain
/// functions.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        // The clients of this process choose their cryptography by this default.
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime for the harness")
    });
    &RUNTIME
}

/// A port that nobody listens on right now. Somebody else may take it before it is used: what is
/// started on it is started again with another one (`process::start_on_free_port`).
///
/// Not one of those that the system gives away by itself, to listeners and connections alike: another
/// test would be given it before the program is up.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 12_000..30_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(331);
    (0..PORTS.end - PORTS.start)
        .filter_map(|_| {
            let nth = begin.wrapping_add(NEXT.fetch_add(1, Relaxed)) % (PORTS.end - PORTS.start);
            u16::try_from(PORTS.start + nth).ok()
        })
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port on loopback")
}

/// Why [`wait_until`] has no answer yet.
pub enum NotYet {
    /// It may come.
    Wait(String),
    /// It will not come any more: what should give it has ended.
    GiveUp(String),
}

impl From<String> for NotYet {
    fn from(reason: String) -> Self {
        Self::Wait(reason)
    }
}

/// Asks until the answer is `Ok`, at most [`PATIENCE`]; then the last refusal is the error.
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Result<T, NotYet>) -> Result<T, String> {
    let started = Instant::now();
    loop {
        match ask() {
            Ok(value) => return Ok(value),
            Err(NotYet::GiveUp(reason)) => return Err(format!("{what}: {reason}")),
            Err(NotYet::Wait(reason)) if started.elapsed() > PATIENCE => {
                return Err(format!("{what}: not within {} s: {reason}", PATIENCE.as_secs()));
            }
            Err(NotYet::Wait(_)) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Ctrl-C, and being asked to end, end everything that was started first.
pub fn end_on_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let _in_runtime = runtime().enter();
    for (kind, status) in [(SignalKind::interrupt(), 130), (SignalKind::terminate(), 143)] {
        let mut signal = signal(kind).expect("a signal can be listened for");
        runtime().spawn(async move {
            signal.recv().await;
            let _ = writeln!(std::io::stderr().lock(), "\nstopping what was started");
            process::dismiss_guard();
            std::process::exit(status);
        });
    }
}
