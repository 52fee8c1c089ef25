//! A file that is replaced whole or not at all, and read within a bound.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::history::Snapshot;

/// What a process that was killed while writing left is swept out after so long.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);
/// Entries of the folder that are looked at for that.
const MAX_ENTRIES: usize = 1000;
/// How files that are being written end.
const UNFINISHED: &str = ".unfinished";

/// The file.
pub(super) struct SnapshotFile {
    path: PathBuf,
    folder: PathBuf,
    name: String,
}

impl SnapshotFile {
    /// A file of this name; its folder must be there.
    pub(super) fn at(path: PathBuf) -> io::Result<Self> {
        let invalid = |words| io::Error::new(io::ErrorKind::InvalidInput, words);
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| invalid("it has no file name"))?.to_owned();
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        if !fs::metadata(&folder)?.is_dir() {
            return Err(invalid("its folder is none"));
        }
        if path.is_dir() {
            return Err(invalid("it is a folder"));
        }
        Ok(Self { path, folder, name })
    }

    /// Whether it can be written: a file beside it is made and taken away again.
    pub(super) fn try_writing(&self) -> io::Result<()> {
        let unfinished = self.unfinished();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
        made.and_then(|_file| fs::remove_file(&unfinished))
    }

    /// The content; nothing if there is none yet. Never more than a snapshot can be.
    pub(super) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        self.sweep();
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(Snapshot::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Replaces the content: a reader sees the old one or the new one, also after a power cut.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.unfinished();
        let written = replace(&unfinished, &self.path, bytes);
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        // Not every file system lets a folder be synced; the file itself is.
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
        Ok(())
    }

    /// A new name beside it. Replicas may share a folder, and all of them are process 1.
    fn unfinished(&self) -> PathBuf {
        let mark = RandomState::new().hash_one(0_u8);
        self.folder.join(format!(".{}.{mark:016x}{UNFINISHED}", self.name))
    }

    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let begins = format!(".{}.", self.name);
        for entry in entries.take(MAX_ENTRIES).flatten() {
            let name = entry.file_name();
            let ours = name
                .to_str()
                .is_some_and(|name| name.starts_with(&begins) && name.ends_with(UNFINISHED));
            let old = || {
                let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
                changed.elapsed().ok()
            };
            if ours && old().is_some_and(|age| age > LEFT_BEHIND) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn replace(unfinished: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let kept = SnapshotFile::at(folder.path().join("memory")).unwrap();
        assert_eq!(kept.read().unwrap(), None);
        kept.write(b"one").unwrap();
        kept.write(b"two").unwrap();
        assert_eq!(kept.read().unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn whether_it_can_be_written_is_tried_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let kept = SnapshotFile::at(folder.path().join("memory")).unwrap();
        kept.try_writing().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // Gone for good, which root may not write to either.
        drop(folder);
        assert!(kept.try_writing().is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(SnapshotFile::at(folder.path().join("none/memory")).is_err());
        assert!(SnapshotFile::at(folder.path().to_owned()).is_err());
    }

    #[test]
    fn what_a_killed_process_left_is_swept_out_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, hours: u64| {
            let file = File::create(folder.path().join(name)).unwrap();
            let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
            file.set_modified(at).unwrap();
        };
        file(".memory.0123.unfinished", 1);
        file(".other.0123.unfinished", 1);
        SnapshotFile::at(folder.path().join("memory")).unwrap().read().unwrap();
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".other.0123.unfinished"]);
    }
}
