//! Notices that files have new content, by reading them now and then.
//!
//! The kubelet swaps a symlink above mounted files: a file-system watch on the file itself is dead
//! after the first swap. Reading a few kilobytes every few seconds has no such surprise.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files that are read together.
#[derive(Debug)]
pub(crate) struct WatchedFiles {
    paths: Vec<PathBuf>,
    seen: Vec<Vec<u8>>,
}

impl WatchedFiles {
    /// These files, with the content that was last seen of each.
    pub(crate) fn new(paths: Vec<PathBuf>, seen: Vec<Vec<u8>>) -> Self {
        Self { paths, seen }
    }

    /// One file, read now.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let content = std::fs::read(&path)?;
        Ok(Self { paths: vec![path], seen: vec![content] })
    }

    /// The text of the first file as it was last seen.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        self.seen.first().map_or(Cow::Borrowed(""), |content| String::from_utf8_lossy(content))
    }

    /// The first file.
    pub(crate) fn path(&self) -> &Path {
        self.paths.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// Waits until the files have content that was not seen yet, and returns it, in the order of
    /// the paths. Trouble in reading is told once, not at every look.
    pub(crate) async fn changed(&mut self, every: Duration) -> &[Vec<u8>] {
        let mut told = None;
        loop {
            tokio::time::sleep(every).await;
            match self.read().await {
                Ok(now) if now == self.seen => told = None,
                Ok(now) => {
                    self.seen = now;
                    return &self.seen;
                }
                Err(error) if told == Some(error.kind()) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to read a watched file, its old content stays");
                    told = Some(error.kind());
                }
            }
        }
    }

    async fn read(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut contents = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            contents.push(tokio::fs::read(path).await.map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?);
        }
        Ok(contents)
    }
}
