//! Where in a file something stands, and what could not be read there.

use std::sync::Arc;

/// Line and column, both from 1 and in characters; 0 where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Position {
    /// Nothing is known.
    pub(crate) const UNKNOWN: Self = Self { line: 0, column: 0 };

    /// What a parser says; what no file can have is unknown.
    pub(crate) fn new(line: u64, column: u64) -> Self {
        let known = |number: u64| u32::try_from(number).unwrap_or_default();
        Self { line: known(line), column: known(column) }
    }

    /// The line, where the column says nothing more.
    pub(crate) fn line_alone(self) -> Self {
        Self { column: 0, ..self }
    }

    /// The line, if it is known.
    pub(crate) fn known_line(self) -> Option<u32> {
        (self.line > 0).then_some(self.line)
    }

    /// The column, if it is known.
    pub(crate) fn known_column(self) -> Option<u32> {
        (self.line > 0 && self.column > 0).then_some(self.column)
    }
}

/// A place in a file.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The file, as it was named or found; `stdin` for `-`.
    pub(crate) file: Arc<str>,
    /// Where in it.
    pub(crate) at: Position,
}

/// Why a file could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", self.place())]
pub(crate) struct InputError {
    /// The file's name; `stdin` for `-`.
    pub(crate) file: Box<str>,
    /// Where in it.
    pub(crate) at: Position,
    /// What is wrong.
    pub(crate) problem: String,
}

impl InputError {
    pub(crate) fn new(file: &str, at: Position, problem: impl Into<String>) -> Self {
        Self { file: file.into(), at, problem: problem.into() }
    }

    fn place(&self) -> String {
        match self.at {
            Position { line: 0, .. } => format!("{}: ", self.file),
            Position { line, column: 0 } => format!("{}:{line}: ", self.file),
            Position { line, column } => format!("{}:{line}:{column}: ", self.file),
        }
    }
}
