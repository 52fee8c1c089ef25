//! Runs the binary in a directory of its own, with no docker configuration but the test's.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::registry;

/// A registry and a directory with files.
pub struct Scene {
    pub registry: SocketAddr,
    pub directory: tempfile::TempDir,
}

/// What the binary said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    /// Standard output, with the registry's address as `REGISTRY`.
    pub out: String,
    /// Standard error, the same way.
    pub err: String,
}

impl Scene {
    pub async fn new() -> Self {
        Self { registry: registry::start().await, directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file in which `REGISTRY` stands for the registry's address.
    pub fn file(self, name: &str, content: &str) -> Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content.replace("REGISTRY", &self.registry.to_string())).unwrap();
        self
    }

    pub async fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "").await
    }

    /// Runs `pullgate` with these arguments and this on standard input.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let registry = self.registry.to_string();
        let arguments = arguments.iter().map(|argument| argument.replace("REGISTRY", &registry));
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_pullgate"))
            .args(arguments)
            .current_dir(self.path())
            .env("DOCKER_CONFIG", self.path().join("docker"))
            .env("HOME", self.path())
            .env_remove("KUBECONFIG")
            .env("NO_PROXY", "127.0.0.1")
            .env("PULLGATE_ALLOW_ADDRESS", "127.0.0.0/8")
            .env("PATH", format!("{}:/usr/bin:/bin", self.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Whoever does not read it closes it early.
        let _ = stdin.write_all(input.replace("REGISTRY", &registry).as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
            .await
            .expect("pullgate ends by itself")
            .unwrap();
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&registry, "REGISTRY");
        Said {
            code: output.status.code().expect("an exit code"),
            out: shown(&output.stdout),
            err: shown(&output.stderr),
        }
    }
}

/// A Deployment with one container.
pub fn deployment(name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         template:\n    spec:\n      containers:\n      - name: web\n        image: {image}\n"
    )
}

/// A pull secret with the login of the private repository, or another password.
pub fn pull_secret(name: &str, password: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop}}\n\
         type: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '{{\"auths\": \
         {{\"REGISTRY\": {{\"username\": \"{}\", \"password\": \"{password}\"}}}}}}'\n",
        registry::USER
    )
}

/// The words of a report, with lines joined.
pub fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
