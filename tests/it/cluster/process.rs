//! Programs that were started, and the certainty that they end.
//!
//! Owns child processes: each is killed and reaped when its [`Process`] is dropped. Rust drops no
//! statics, and a killed test process drops nothing at all, so there is a guard besides: a small
//! shell that knows the children and the temporary folders and holds the other end of a pipe.
//! When the pipe closes, for whatever reason this process ended, it kills and removes what is left.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::NotYet;

/// What the guard runs: it learns of children and folders line by line, and acts at the end of
/// its input. It runs in a process group of its own, so that Ctrl-C does not reach it.
pub const GUARD: &str = r#"
pids= folders=
while read -r verb value; do
  case $verb in
    started) pids="$pids $value" ;;
    ended) left=; for p in $pids; do [ "$p" = "$value" ] || left="$left $p"; done; pids=$left ;;
    folder) folders="$folders$value
" ;;
  esac
done
for p in $pids; do kill -KILL "$p" 2>/dev/null; done
printf '%s' "$folders" | while IFS= read -r folder; do
  tries=0
  # A program that is being killed may still write a file into a folder that is being removed.
  until rm -rf -- "$folder" 2>/dev/null || [ "$tries" -ge 30 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
done
"#;

struct Guard {
    shell: Child,
    input: Option<ChildStdin>,
}

static GUARD_SHELL: LazyLock<Mutex<Guard>> = LazyLock::new(|| {
    let mut shell = Command::new("sh")
        .args(["-c", GUARD])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell that guards the started programs");
    let input = shell.stdin.take();
    Mutex::new(Guard { shell, input })
});

/// Does something that the guard has to know of, and tells it, in one go: nothing is started that
/// a guard on its way out would miss. Once it is dismissed this process is about to end, and
/// whoever comes here waits for that.
fn guarded<T>(act: impl FnOnce() -> T, told: impl FnOnce(&T) -> Option<String>) -> T {
    let mut guard = GUARD_SHELL.lock().unwrap_or_else(PoisonError::into_inner);
    while guard.input.is_none() {
        drop(guard);
        std::thread::park();
        guard = GUARD_SHELL.lock().unwrap_or_else(PoisonError::into_inner);
    }
    let done = act();
    if let (Some(input), Some(line)) = (&mut guard.input, told(&done)) {
        writeln!(input, "{line}").expect("the guard is gone");
    }
    done
}

/// Closes the guard's pipe and waits until it has killed and removed what was left. For a program
/// that ends in order; a test process just ends.
pub fn dismiss_guard() {
    let mut guard = GUARD_SHELL.lock().unwrap_or_else(PoisonError::into_inner);
    drop(guard.input.take());
    let _ = guard.shell.wait();
}

/// A new temporary folder; gone with its value or with this process.
pub fn folder(name: &str) -> TempDir {
    let make = || tempfile::Builder::new().prefix(&format!("pullgate-{name}-")).tempdir();
    guarded(make, |made| Some(format!("folder {}", made.as_ref().ok()?.path().display())))
        .expect("a temporary folder")
}

/// A program that runs beside the tests; its output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with an environment of its own (only `PATH` and a `HOME` in `folder`, so
    /// that no proxy or credential of the person running the tests has a part in them) and its
    /// output in `folder/name.log`.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self, String> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log);
        let output = output.map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        clean_environment(command, folder);
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = guarded(
            || command.spawn(),
            |child| Some(format!("started {}", child.as_ref().ok()?.id())),
        )
        .map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// An error with the end of its output if the program has ended.
    pub fn still_runs(&mut self) -> Result<(), NotYet> {
        let reason = match self.child.try_wait() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => format!("{} ended with {status}:\n{}", self.name, tail(&self.log)),
            Err(error) => format!("{}: {error}", self.name),
        };
        Err(NotYet::GiveUp(reason))
    }

    /// All it has written so far.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM), and kills it if it has not within `grace`. Its exit status.
    pub fn terminate(&mut self, grace: Duration) -> ExitStatus {
        if self.child.try_wait().ok().flatten().is_none() {
            // The shell's own `kill`: small machines have no program of that name.
            let ask = format!("kill -TERM {}", self.child.id());
            let _ = Command::new("sh").args(["-c", &ask]).status();
            let asked = Instant::now();
            while asked.elapsed() < grace && self.child.try_wait().ok().flatten().is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.kill()
    }

    fn kill(&mut self) -> ExitStatus {
        let id = self.child.id();
        let end = || {
            let _ = self.child.kill();
            self.child.wait().expect("a child can be waited for")
        };
        guarded(end, |_| Some(format!("ended {id}")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Leaves a program nothing of the environment but `PATH`, with `folder` as its home.
pub fn clean_environment(command: &mut Command, folder: &Path) {
    let set_here: Vec<_> = command
        .get_envs()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect();
    command.env_clear();
    command.env("HOME", folder).env("TMPDIR", folder);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.envs(set_here);
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// What a program that ran to its end left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit status; -1 after a signal or when it was killed for being late.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output of a program that succeeded, or everything as an error.
    pub fn ok(self) -> Result<String, String> {
        if self.code == 0 {
            return Ok(self.stdout);
        }
        Err(format!("exit status {}\n{}{}", self.code, self.stdout, self.stderr))
    }
}

/// How long what a program started itself may keep its output open after it has ended.
const LEFT_OPEN: Duration = Duration::from_secs(5);

/// Runs `command` to its end, with `input` on its standard input, for at most `limit`.
pub fn run(command: &mut Command, input: &str, limit: Duration) -> Finished {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let stdout = collect(child.stdout.take().expect("a pipe"));
    let stderr = collect(child.stderr.take().expect("a pipe"));
    let input = input.as_bytes().to_vec();
    // A program may end without reading all of its input: that is no fault of ours.
    std::thread::spawn(move || stdin.write_all(&input));
    let started = Instant::now();
    let mut late = false;
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break status,
            None if started.elapsed() > limit && !late => {
                late = true;
                let _ = child.kill();
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let until = Instant::now() + LEFT_OPEN;
    let (stdout, mut stderr) = (all_of(&stdout, until), all_of(&stderr, until));
    if late {
        stderr.push_str("\n(killed: it took too long)");
    }
    Finished { code: if late { -1 } else { status.code().unwrap_or(-1) }, stdout, stderr }
}

/// Reads a pipe beside the test, piece by piece.
fn collect(mut pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (tell, pieces) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            if tell.send(buffer[..read].to_vec()).is_err() {
                break;
            }
        }
    });
    pieces
}

/// All that was read up to the end of the pipe, or so far when it is not reached in time.
fn all_of(pieces: &mpsc::Receiver<Vec<u8>>, until: Instant) -> String {
    let mut bytes = Vec::new();
    let left = || until.saturating_duration_since(Instant::now());
    while let Ok(piece) = pieces.recv_timeout(left()) {
        bytes.extend(piece);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
