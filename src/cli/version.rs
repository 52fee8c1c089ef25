//! `pullgate version`: the release, the commit it was built from, what it was built for, and what
//! it speaks.

use std::io::Write as _;
use std::process::ExitCode;

/// What this build understands: of the API server, of policies, and of the nodes' runtimes.
const FEATURES: &str = "admission.k8s.io/v1 pullgate.dev/v1alpha1 containerd cri-o";

/// As image platforms name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Prints the version as `key: value` lines.
pub(super) fn run() -> ExitCode {
    // That nobody reads on is no error.
    let _ = write!(
        std::io::stdout().lock(),
        "pullgate: {}\ncommit: {}\nplatform: {}/{}\nfeatures: {}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("PULLGATE_COMMIT").unwrap_or("unknown"),
        std::env::consts::OS,
        architecture(),
        FEATURES,
    );
    ExitCode::SUCCESS
}
