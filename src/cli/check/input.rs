//! The files that `-f` names: directories walked, sizes bounded, standard input read once.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::document::InputError;
use crate::cli::output::Position;

/// Bytes of one file.
pub(super) const MAX_FILE: u64 = 64 << 20;
/// Files in all.
const MAX_FILES: usize = 20_000;
/// Directories within directories.
const MAX_NESTING: usize = 32;
/// Endings of files that are read in a directory.
const ENDINGS: &[&str] = &["yaml", "yml", "json"];
/// The name of standard input on the command line.
const STDIN: &str = "-";

/// One file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Standard input.
    Stdin,
    /// A file that was named.
    Named(PathBuf),
    /// A file that was found in a directory: what is no object of Kubernetes in it is passed over.
    Found(PathBuf),
}

impl Input {
    /// How it is called in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "stdin".to_owned(),
            Self::Named(path) | Self::Found(path) => path.display().to_string(),
        }
    }

    /// Its bytes, at most [`MAX_FILE`].
    pub(super) fn read(&self, stdin: &mut dyn Read) -> Result<Vec<u8>, InputError> {
        let fault = |error: &io::Error| self.fault(&error.to_string());
        let mut bytes = Vec::new();
        match self {
            Self::Stdin => stdin.take(MAX_FILE + 1).read_to_end(&mut bytes),
            Self::Named(path) | Self::Found(path) => fs::File::open(path)
                .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)),
        }
        .map_err(|error| fault(&error))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(self.fault("it is larger than 64 MiB"));
        }
        Ok(bytes)
    }

    fn fault(&self, problem: &str) -> InputError {
        InputError::new(&self.name(), Position::UNKNOWN, problem)
    }
}

/// The files behind what was named, in that order; those of a directory sorted by their path.
pub(super) fn inputs(named: &[PathBuf]) -> Result<Vec<Input>, InputError> {
    let mut found = Vec::new();
    for path in named {
        if path.as_os_str() == STDIN {
            if found.contains(&Input::Stdin) {
                return Err(InputError::new(
                    "stdin",
                    Position::UNKNOWN,
                    "standard input can be read only once",
                ));
            }
            found.push(Input::Stdin);
        } else if path.is_dir() {
            let before = found.len();
            walk(path, 0, &mut found)?;
            if found.len() == before {
                let problem = "no file named *.yaml, *.yml or *.json in this directory";
                return Err(InputError::new(
                    &path.display().to_string(),
                    Position::UNKNOWN,
                    problem,
                ));
            }
        } else {
            found.push(Input::Named(path.clone()));
        }
        if found.len() > MAX_FILES {
            let problem = format!("more than {MAX_FILES} files");
            return Err(InputError::new(&path.display().to_string(), Position::UNKNOWN, problem));
        }
    }
    Ok(found)
}

fn walk(directory: &Path, nesting: usize, found: &mut Vec<Input>) -> Result<(), InputError> {
    let fault = |error: &io::Error| {
        InputError::new(&directory.display().to_string(), Position::UNKNOWN, error.to_string())
    };
    if nesting > MAX_NESTING || found.len() > MAX_FILES {
        return Ok(());
    }
    let mut entries = fs::read_dir(directory)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(&error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| fault(&error))?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if kind.is_dir() {
            walk(&path, nesting + 1, found)?;
        } else if ENDINGS.contains(&ending) && path.is_file() {
            found.push(Input::Found(path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_walked_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in
            ["b.yaml", "a.yml", "c.json", "d.txt", ".hidden.yaml", "sub/e.yaml", ".git/f.yaml"]
        {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let found = inputs(&[root.to_owned()]).unwrap();
        let names: Vec<String> = found
            .iter()
            .map(|input| input.name().replace(&format!("{}/", root.display()), ""))
            .collect();
        assert_eq!(names, ["a.yml", "b.yaml", "c.json", "sub/e.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        assert!(inputs(&[directory.path().to_owned()]).is_err());
        assert!(inputs(&["-".into(), "-".into()]).is_err());
        let missing = inputs(&["/nowhere/x.yaml".into()]).unwrap().remove(0);
        let error = missing.read(&mut io::empty()).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/x.yaml: "), "{error}");
    }

    #[test]
    fn the_size_is_bounded() {
        let error = Input::Stdin.read(&mut io::repeat(b'#')).unwrap_err().to_string();
        assert!(error.contains("64 MiB"), "{error}");
    }
}
