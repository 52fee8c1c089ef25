//! What a person at a terminal gets besides: colours, and how far the work is.
//!
//! Colours only where a terminal shows them and `NO_COLOR` (no-color.org) is not set; the line about
//! the work on standard error, only there, and only if it takes long.

use crate::telemetry::instant;
use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Work that is over by then needs no line.
const AFTER: Duration = Duration::from_millis(700);
/// Between two lines.
const BETWEEN: Duration = Duration::from_millis(100);
/// To the start of the line, and nothing left on it.
const CLEAR: &str = "\r\x1b[2K";

/// How words are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Bold,
    Red,
    Yellow,
    Green,
}

impl Paint {
    /// The text in this colour.
    pub(super) fn on(self, text: &str) -> String {
        let code = match self {
            Self::Bold => 1,
            Self::Red => 31,
            Self::Yellow => 33,
            Self::Green => 32,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether standard output shows colours.
pub(super) fn has_colours() -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !unwanted && !is_dumb()
}

fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb")
}

/// How far the work is, on a line of its own that is gone at the end.
pub(in crate::cli) struct Progress {
    all: usize,
    done: usize,
    /// When the next line is due; nothing where nobody would see it.
    due: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Work on so many objects begins.
    pub(in crate::cli) fn of(all: usize) -> Self {
        let seen = io::stderr().is_terminal() && !is_dumb();
        Self { all, done: 0, due: seen.then(|| instant() + AFTER), is_shown: false }
    }

    /// One more is done.
    pub(in crate::cli) fn step(&mut self) {
        self.done += 1;
        let now = instant();
        if self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + BETWEEN);
            self.is_shown = true;
            let line = format!("{CLEAR}{} of {} objects checked", self.done, self.all);
            write(&line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            write(CLEAR);
        }
    }
}

/// Nothing can be done if that fails.
fn write(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
