//! Notices that files have new content, by reading them now and then.
//!
//! The kubelet swaps a symlink above mounted files: a file-system watch on the file itself is dead
//! after the first swap. Reading a few kilobytes every few seconds has no such surprise.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Files that are read together.
#[derive(Debug)]
pub(super) struct FileSet {
    paths: Vec<PathBuf>,
    seen: Vec<Vec<u8>>,
}

impl FileSet {
    /// These files, with the content that was last seen of each.
    pub(super) fn new(paths: Vec<PathBuf>, seen: Vec<Vec<u8>>) -> Self {
        Self { paths, seen }
    }

    /// Waits until the files have content that was not seen yet, and returns it, in the order of
    /// the paths. Trouble in reading is told once, not at every look.
    pub(super) async fn changed(&mut self, every: Duration) -> &[Vec<u8>] {
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
