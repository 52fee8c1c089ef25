//! Where in a file something stands, and what could not be read there.

use std::sync::Arc;

/// Line and column, both from 1 and in characters; 0 where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) struct Position {
    pub(in crate::cli) line: u32,
    pub(in crate::cli) column: u32,
}

impl Position {
    /// Nothing is known.
    pub(in crate::cli) const UNKNOWN: Self = Self { line: 0, column: 0 };

    /// What a parser says; what no file can have is unknown.
    pub(in crate::cli) fn new(line: u64, column: u64) -> Self {
        let known = |number: u64| u32::try_from(number).unwrap_or_default();
        Self { line: known(line), column: known(column) }
    }

    /// The line, where the column says nothing more.
    pub(in crate::cli) fn line_alone(self) -> Self {
        Self { column: 0, ..self }
    }

    /// The line, if it is known.
    pub(super) fn known_line(self) -> Option<u32> {
        (self.line > 0).then_some(self.line)
    }

    /// The column, if it is known.
    pub(super) fn known_column(self) -> Option<u32> {
        (self.line > 0 && self.column > 0).then_some(self.column)
    }
}

/// A place in a file.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Place {
    /// The file, as it was named or found; `stdin` for `-`.
    pub(in crate::cli) file: Arc<str>,
    /// Where in it.
    pub(in crate::cli) at: Position,
}

/// Why a file could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", self.place())]
pub(in crate::cli) struct InputError {
    /// The file's name; `stdin` for `-`.
    pub(in crate::cli) file: Box<str>,
    /// Where in it.
    pub(in crate::cli) at: Position,
    /// What is wrong.
    pub(in crate::cli) problem: String,
}

impl InputError {
    pub(in crate::cli) fn new(file: &str, at: Position, problem: impl Into<String>) -> Self {
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
