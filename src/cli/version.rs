//! `pullgate version`: the release, the commit it was built from, and what it was built for.

use std::io::Write as _;
use std::process::ExitCode;

/// Prints the version as `key: value` lines.
pub(super) fn run() -> ExitCode {
    // That nobody reads on is no error.
    let _ = write!(
        std::io::stdout().lock(),
        "pullgate: {}\ncommit: {}\nplatform: {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("PULLGATE_COMMIT").unwrap_or("unknown"),
        std::env::consts::OS,
        std::env::consts::ARCH,
    );
    ExitCode::SUCCESS
}
