//! The oracle as a child process: one JSON line to it, one JSON line back.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::cluster::{BIN_VARIABLE, skipped};

/// The program, or nothing after a line that says why the test is skipped.
pub fn program() -> Option<PathBuf> {
    let folder = std::env::var_os(BIN_VARIABLE).filter(|folder| !folder.is_empty());
    let Some(folder) = folder else {
        skipped(&format!("{BIN_VARIABLE} is not set (see tests/oracle/README.md)"));
        return None;
    };
    let program = PathBuf::from(folder).join("pullgate-oracle");
    assert!(program.is_file(), "no {}; tests/oracle/build.sh builds it", program.display());
    Some(program)
}

/// A running oracle; it ends with the test.
pub struct Oracle {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Where it writes the files of questions; removed with it.
    _folder: tempfile::TempDir,
}

impl Oracle {
    /// Starts it, or says why the test is skipped.
    pub fn start() -> Option<Self> {
        let program = program()?;
        let folder = crate::cluster::process::folder("oracle");
        let mut child = Command::new(&program)
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, stdin, stdout, _folder: folder })
    }

    /// Asks one question.
    pub fn ask(&mut self, question: &Value) -> Value {
        let mut line = question.to_string();
        line.push('\n');
        self.stdin.write_all(line.as_bytes()).expect("the oracle reads");
        line.clear();
        self.stdout.read_line(&mut line).expect("the oracle answers");
        let answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the oracle answered {line:?}: {error}"));
        assert!(answer.get("unreadable").is_none(), "{question} was answered by {answer}");
        answer
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It ends by itself when its input does; this is for when the test was interrupted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A string of the answer.
pub fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field} in {answer}"))
}
