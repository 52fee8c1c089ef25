//! The command line: subcommands, the runtime they run on, and the exit code.
//!
//! Data goes to standard output, words to standard error. The wiring of what a subcommand needs
//! of the outside is in its own module; nothing is decided here.

mod check;
mod context;
mod explain;
mod lock;
mod lock_file;
mod own_file;
mod pin;
mod print;
mod risk;
mod shell;
mod try_webhook;
mod whatif;

use std::ffi::OsString;
use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::serve::{self, ServeFlags};
use check::CheckFlags;
use explain::ExplainFlags;
use lock::LockFlags;
use pin::PinFlags;
use print::print_message;
use risk::RiskFlags;
use try_webhook::TryWebhookFlags;
use whatif::WhatIfFlags;

/// The exit code for what could not be judged: usage, unreadable input.
const CANNOT_JUDGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    name = "pullgate",
    version,
    about = "Check before rollout whether nodes can pull the images, and what to use instead",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer admission reviews of the API server
    Serve(Box<ServeFlags>),
    Check(Box<CheckFlags>),
    Explain(Box<ExplainFlags>),
    TryWebhook(Box<TryWebhookFlags>),
    Lock(Box<LockFlags>),
    Pin(Box<PinFlags>),
    Risk(Box<RiskFlags>),
    #[command(name = "whatif")]
    WhatIf(Box<WhatIfFlags>),
    Completions(shell::CompletionFlags),
    Man(shell::ManFlags),
    /// Print version, commit, platform and what this build understands
    Version,
}

/// Parses the arguments, the program's name first, and runs what they ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = arguments.first().map(OsString::as_os_str);
    let command = shell::named_as_called(Cli::command(), program);
    let parsed = command.try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; that nobody reads on is none either.
            let _ = error.print();
            let code = if error.use_stderr() { CANNOT_JUDGE } else { 0 };
            return ExitCode::from(code);
        }
    };
    // The one place that chooses cryptography; a second choice would be refused, and is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.command {
        Command::Serve(flags) => on_runtime(async {
            serve::run(*flags).await.unwrap_or_else(|error| {
                print_message(format_args!("{error:#}"));
                ExitCode::from(CANNOT_JUDGE)
            })
        }),
        Command::Version => version(),
        Command::Completions(flags) => shell::completions(&flags, Cli::command()),
        Command::Man(flags) => shell::man(&flags, Cli::command()),
        Command::Check(flags) => on_runtime(check::run(*flags)),
        Command::Explain(flags) => on_runtime(explain::run(*flags)),
        Command::TryWebhook(flags) => on_runtime(try_webhook::run(*flags)),
        Command::Lock(flags) => on_runtime(lock::run(*flags)),
        Command::Pin(flags) => on_runtime(pin::run(*flags)),
        Command::Risk(flags) => on_runtime(risk::run(*flags)),
        Command::WhatIf(flags) => on_runtime(whatif::run(*flags)),
    }
}

/// Runs a subcommand. What it left running in the background is not waited for.
fn on_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            print_message(format_args!("failed to start: {error}"));
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

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

/// `pullgate version`: the release, the commit it was built from, what it was built for, and what it
/// speaks, as `key: value` lines.
fn version() -> ExitCode {
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

/// The exit code of a command; where it failed that is said, and nothing was judged.
fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        print_message(format_args!("{error:#}"));
        ExitCode::from(CANNOT_JUDGE)
    })
}
