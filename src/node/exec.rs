//! Running one credential plugin, bounded in time and output.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::PluginError;
use crate::credential::{Provider, ProviderAnswer, ProviderError};
use crate::image::ImageReference;

/// The kubelet waits a minute; nobody waits that long for an answer at admission.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(10);
/// An answer holds a handful of logins.
const OUTPUT_LIMIT: u64 = 1024 * 1024;
/// Plugins that run at the same time.
static RUNNING: Semaphore = Semaphore::const_new(4);

/// Why a plugin gave no answer. Nothing that it wrote is repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it could not be started or spoken to: {0}")]
    Io(#[from] std::io::Error),
    #[error("too many plugins run already")]
    Busy,
    #[error("it did not end within {} s", TIME_LIMIT.as_secs())]
    TooSlow,
    #[error("it wrote more than {OUTPUT_LIMIT} bytes")]
    TooLong,
    #[error("it ended with {0}")]
    Status(std::process::ExitStatus),
    #[error(transparent)]
    Answer(#[from] ProviderError),
}

/// Whether a file is there and may be run.
pub(super) fn check(path: &Path) -> Result<(), PluginError> {
    use std::os::unix::fs::PermissionsExt;
    let runnable = std::fs::metadata(path)
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0);
    if runnable { Ok(()) } else { Err(PluginError::NoPlugin { path: path.to_owned() }) }
}

/// Asks a plugin about an image.
pub(super) async fn run(
    path: &Path,
    provider: &Provider,
    image: &ImageReference,
    of_registry: &Semaphore,
) -> Result<ProviderAnswer, Fault> {
    let turn = async { (of_registry.acquire().await, RUNNING.acquire().await) };
    let _turn = tokio::time::timeout(TIME_LIMIT, turn).await.map_err(|_| Fault::Busy)?;
    let output = tokio::time::timeout(TIME_LIMIT, output(path, provider, image))
        .await
        .map_err(|_| Fault::TooSlow)??;
    Ok(provider.read_answer(&output)?)
}

async fn output(
    path: &Path,
    provider: &Provider,
    image: &ImageReference,
) -> Result<Vec<u8>, Fault> {
    let mut child = Command::new(path)
        .args(&provider.args)
        .envs(provider.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let question = provider.question(image);
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let ask = async {
        // A plugin that does not read what it is asked is no fault: it may know already.
        if let Some(mut stdin) = stdin {
            let _unread = stdin.write_all(&question).await;
        }
    };
    let listen = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(OUTPUT_LIMIT + 1).read_to_end(&mut output).await?;
        }
        if output.len() as u64 > OUTPUT_LIMIT { Err(Fault::TooLong) } else { Ok(output) }
    };
    let ((), output) = tokio::join!(ask, listen);
    let output = output?;
    let status = child.wait().await?;
    if status.success() { Ok(output) } else { Err(Fault::Status(status)) }
}
