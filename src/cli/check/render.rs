//! `--render`: Helm charts and kustomizations, rendered by the programs of the person.
//!
//! A program may hang and may print without end: it has a time and an amount, and gets no input.
//! What is only a part of something else (a base, a component, a library chart) is rendered with it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::input::{CHART, KUSTOMIZATIONS, Unrendered};
use crate::telemetry::instant;
use crate::text::clean;
use crate::yaml::{InputError, Node, Position, Tree, documents};

/// How long one program may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes that one may print.
const MAX_OUTPUT: usize = 64 << 20;
/// Bytes of what it says about a failure, and how much of that is told.
const MAX_WORDS: usize = 16 << 10;
const MAX_TOLD: usize = 300;
/// Bytes of a kustomization or a `Chart.yaml`.
const MAX_FILE: u64 = 4 << 20;
/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long its output may go on after its end: somebody else may have it open.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// What a program made of a directory.
pub(super) struct Rendered {
    /// The file that names the directory's kind: what is in it stands for all that was rendered.
    pub(super) file: String,
    pub(super) output: Result<Vec<u8>, InputError>,
}

/// Renders what is whole by itself.
pub(super) fn all(unrendered: &[Unrendered]) -> Vec<Rendered> {
    let parts = parts(unrendered);
    let whole = unrendered.iter().filter(|one| {
        let directory = one.directory();
        !parts.contains(&fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned()))
    });
    whole.map(one).collect()
}

fn one(unrendered: &Unrendered) -> Rendered {
    let directory = unrendered.directory();
    let file = unrendered.file().display().to_string();
    let fault = |problem: String| InputError::new(&file, Position::UNKNOWN, problem);
    // Never taken for a flag.
    let argument = Path::new(".").join(directory);
    let argument = if directory.is_absolute() { directory } else { &argument };
    let candidates: &[&[&str]] = match unrendered {
        Unrendered::Chart(_) => &[&["helm", "template"]],
        Unrendered::Kustomization(_) => &[&["kustomize", "build"], &["kubectl", "kustomize"]],
    };
    for words in candidates {
        let Some((program, rest)) = words.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(rest).arg(argument);
        match run(command, PATIENCE) {
            Err(Fault::NotThere) => {}
            Err(error) => {
                let problem = format!("{} {error}", words.join(" "));
                return Rendered { output: Err(fault(problem)), file };
            }
            Ok(output) => return Rendered { output: Ok(output), file },
        }
    }
    let programs: Vec<_> = candidates.iter().filter_map(|words| words.first()).copied().collect();
    let problem = format!("cannot be rendered: {} is not on the PATH", programs.join(" or "));
    Rendered { output: Err(fault(problem)), file }
}

/// Why a program rendered nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("is not there")]
    NotThere,
    #[error("could not be run: {0}")]
    Io(#[from] io::Error),
    #[error("was stopped after {} s", .0.as_secs())]
    Late(Duration),
    #[error("printed more than 64 MiB")]
    TooMuch,
    #[error("failed: {0}")]
    Failed(String),
}

fn run(mut command: Command, patience: Duration) -> Result<Vec<u8>, Fault> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::NotThere,
        _ => Fault::Io(error),
    })?;
    let printed = child.stdout.take().map(|stdout| reader(stdout, MAX_OUTPUT));
    let said = child.stderr.take().map(|stderr| reader(stderr, MAX_WORDS));
    let ended = wait(&mut child, patience);
    if !matches!(ended, Ok(Some(_))) {
        // It may have ended by itself in the meantime.
        let _ = child.kill();
        let _ = child.wait();
    }
    let Some(status) = ended? else { return Err(Fault::Late(patience)) };
    let printed = text(printed);
    if !status.success() {
        let said = clean(&String::from_utf8_lossy(&text(said).unwrap_or_default()));
        let said: String = said.trim().chars().take(MAX_TOLD).collect();
        return Err(Fault::Failed(if said.is_empty() { status.to_string() } else { said }));
    }
    match printed {
        Some(output) if output.len() <= MAX_OUTPUT => Ok(output),
        Some(_) => Err(Fault::TooMuch),
        None => Err(Fault::Late(patience)),
    }
}

fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let until = instant() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if instant() >= until {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// Reads to the end, keeps the first bytes, one more than allowed where there are more, and lets the
/// rest go, so that the program can end.
fn reader(mut from: impl Read + Send + 'static, most: usize) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let read = from.by_ref().take(limit).read_to_end(&mut kept);
        if read.is_ok() {
            let _ = io::copy(&mut from, &mut io::sink());
        }
        sender.send(kept)
    });
    receiver
}

fn text(receiver: Option<Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    receiver?.recv_timeout(AFTERWARDS).ok()
}

/// Directories that others are made of, and those that make nothing by themselves.
fn parts(unrendered: &[Unrendered]) -> BTreeSet<PathBuf> {
    let mut parts = BTreeSet::new();
    for one in unrendered {
        let (directory, file) = (one.directory(), one.file());
        for tree in trees(&file) {
            let is_part = match one {
                Unrendered::Chart(_) => tree.text_of("type") == "library",
                Unrendered::Kustomization(_) => tree.text_of("kind") == "Component",
            };
            let used = ["resources", "bases", "components"].map(|field| tree.items_of(field));
            let used = used.into_iter().flatten().filter_map(|item| match &item.node {
                Node::Text(path) => fs::canonicalize(directory.join(path)).ok(),
                _ => None,
            });
            if matches!(one, Unrendered::Kustomization(_)) {
                parts.extend(used);
            }
            parts.extend(is_part.then(|| fs::canonicalize(directory).ok()).flatten());
        }
    }
    parts
}

fn trees(file: &Path) -> Vec<Tree> {
    let mut content = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(MAX_FILE).read_to_end(&mut content));
    let mut trees = Vec::new();
    if read.is_ok() {
        let name = file.display().to_string();
        documents(&name, &content, &mut |document| trees.extend(document.ok()));
    }
    trees
}

impl Unrendered {
    /// The directory.
    fn directory(&self) -> &Path {
        match self {
            Self::Chart(directory) | Self::Kustomization(directory) => directory,
        }
    }

    /// The file that makes it what it is.
    fn file(&self) -> PathBuf {
        let directory = self.directory();
        let mut names = KUSTOMIZATIONS.iter().map(|name| directory.join(name));
        match self {
            Self::Chart(_) => directory.join(CHART),
            Self::Kustomization(_) => {
                names.find(|file| file.is_file()).unwrap_or_else(|| directory.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_has_a_time_and_an_amount() {
        let short = Duration::from_millis(300);
        assert_eq!(run(shell("echo a: 1"), PATIENCE).unwrap(), b"a: 1\n");
        let late = run(shell("exec sleep 60"), short).unwrap_err();
        assert!(late.to_string().contains("was stopped"), "{late}");
        let endless = format!("head -c {} /dev/zero; exit 0", MAX_OUTPUT + 2);
        assert!(matches!(run(shell(&endless), PATIENCE), Err(Fault::TooMuch)));
        let failed =
            run(shell("printf 'no\\033[1m such value' >&2; exit 3"), PATIENCE).unwrap_err();
        assert_eq!(failed.to_string(), "failed: no [1m such value");
        let silent = run(shell("exit 3"), PATIENCE).unwrap_err();
        assert_eq!(silent.to_string(), "failed: exit status: 3");
        let nobody = run(Command::new("pullgate-has-no-such-program"), PATIENCE);
        assert!(matches!(nobody, Err(Fault::NotThere)));
    }

    #[test]
    fn parts_of_others_are_not_rendered_by_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("base/kustomization.yaml", "resources: [deployment.yaml]\n");
        write("part/kustomization.yaml", "kind: Component\n");
        write("prod/kustomization.yaml", "resources:\n- ../base\ncomponents: [../part]\n");
        write("app/Chart.yaml", "name: app\n");
        write("lib/Chart.yaml", "type: library\n");
        let at = |name: &str| directory.path().join(name);
        let all = [
            Unrendered::Kustomization(at("base")),
            Unrendered::Kustomization(at("part")),
            Unrendered::Kustomization(at("prod")),
            Unrendered::Chart(at("app")),
            Unrendered::Chart(at("lib")),
        ];
        let parts = parts(&all);
        let is_part =
            |one: &Unrendered| parts.contains(&fs::canonicalize(one.directory()).unwrap());
        assert_eq!(all.each_ref().map(is_part), [true, true, false, false, true]);
    }
}
