//! What makes Pullgate at home in a shell: completions, man pages, and the name of a kubectl plugin.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::print::{print, print_message};

/// The name under which kubectl finds the program as its plugin.
const PLUGIN: &str = "kubectl-pullgate";

/// Flags of `pullgate completions`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Print the completions for a shell",
    after_help = "Example: source <(pullgate completions bash)"
)]
pub(super) struct CompletionFlags {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Flags of `pullgate man`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Print the man page of the program or of one of its commands",
    after_help = "Example: pullgate man check | man -l -"
)]
pub(super) struct ManFlags {
    /// A command, such as check
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    command: Option<String>,

    /// Write every page into this directory instead: pullgate.1, pullgate-check.1, …
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// The command as it is called: under the name of a plugin it is one of kubectl's.
pub(super) fn named_as_called(command: Command, program: Option<&OsStr>) -> Command {
    let stem = program.map(Path::new).and_then(Path::file_stem);
    if stem == Some(OsStr::new(PLUGIN)) { command.bin_name("kubectl pullgate") } else { command }
}

/// Prints completions.
pub(super) fn completions(flags: &CompletionFlags, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut command, "pullgate", &mut script);
    printed(&script)
}

/// Prints or writes man pages.
pub(super) fn man(flags: &ManFlags, mut command: Command) -> ExitCode {
    // Subcommands know their whole names only then.
    command.build();
    if let Some(directory) = &flags.directory {
        return exit_code_of(write_all(&command, directory));
    }
    let found = match &flags.command {
        None => Some(&command),
        Some(name) => command.find_subcommand(name),
    };
    let Some(found) = found else {
        let name = crate::text::clean(flags.command.as_deref().unwrap_or_default());
        return exit_code_of(Err(anyhow::anyhow!("there is no command {name}")));
    };
    page(found).map_or_else(|error| exit_code_of(Err(error.into())), |page| printed(&page))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

fn write_all(command: &Command, directory: &Path) -> anyhow::Result<()> {
    let subcommands = command.get_subcommands().filter(|one| one.get_name() != "help");
    for one in std::iter::once(command).chain(subcommands) {
        let name = one.get_display_name().unwrap_or_else(|| one.get_name());
        let path = directory.join(format!("{name}.1"));
        std::fs::write(&path, page(one)?)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

fn printed(text: &[u8]) -> ExitCode {
    exit_code_of(print(&String::from_utf8_lossy(text)).map_err(Into::into))
}

fn exit_code_of(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_message(format_args!("{error:#}"));
            ExitCode::from(super::CANNOT_JUDGE)
        }
    }
}
