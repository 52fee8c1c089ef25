//! The `pullgate` binary: parse, run, exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    pullgate::cli::run(std::env::args_os())
}
