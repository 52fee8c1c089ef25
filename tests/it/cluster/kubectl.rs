//! kubectl, run as a person runs it: its output and exit status are what tests assert on.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::PATIENCE;
use super::process::{self, Finished};

/// kubectl with the log-in of one user.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    folder: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl for the user whose kubeconfig is in `folder`.
    pub fn new(programs: &Path, folder: &Path, user: &str) -> Self {
        Self {
            program: programs.join("kubectl"),
            folder: folder.to_owned(),
            kubeconfig: folder.join(format!("{user}.kubeconfig")),
        }
    }

    /// Runs it with nothing on its standard input.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, "")
    }

    /// Runs it with `input` on its standard input (for `-f -`).
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Finished {
        let mut command = Command::new(&self.program);
        process::clean_environment(&mut command, &self.folder);
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        process::run(&mut command, input, PATIENCE * 2)
    }

    /// Creates an object that must be created.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub fn create(&self, object: &Value) {
        self.run_with(&["create", "-f", "-"], &object.to_string())
            .ok()
            .unwrap_or_else(|error| panic!("create {object}: {error}"));
    }

    /// Asserts that `kubectl diff` with these arguments finds nothing.
    ///
    /// It reads twice, so what a controller or the holder of a Lease writes in between looks like a
    /// difference. What really differs does so every time.
    ///
    /// # Panics
    /// When it finds something each of ten times.
    pub fn finds_no_drift(&self, arguments: &[&str], input: &str) {
        let mut all = vec!["diff"];
        all.extend_from_slice(arguments);
        let mut last = None;
        let same = (0..10).any(|_| {
            let diff = last.insert(self.run_with(&all, input));
            (diff.code, diff.stdout.as_str()) == (0, "")
        });
        assert!(same, "kubectl diff {arguments:?}: {last:#?}");
    }

    /// An object, or a list of objects, as JSON: `arguments` are those of `kubectl get`.
    pub fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        let mut all = vec!["get", "-o", "json"];
        all.extend_from_slice(arguments);
        let text = self.run(&all).ok()?;
        serde_json::from_str(&text).map_err(|error| format!("kubectl get: {error}"))
    }
}
