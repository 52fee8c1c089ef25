//! Every format of a report, by its word on the command line.

use super::text::{check_report, painted};
use super::{CheckReport, github, gitlab, json, junit, markdown, sarif};

/// A format: its word on the command line, and how a report is written in it.
pub(crate) struct Format {
    /// Its word.
    pub(crate) word: &'static str,
    render: fn(&CheckReport) -> serde_json::Result<String>,
    /// How it is written on a terminal, if it is another way.
    painted: Option<fn(&CheckReport) -> String>,
}

/// Every format, the first one for whoever asks for none. A new one is a line here, a line in the help
/// of `--output`, and a module that makes text of a [`CheckReport`].
pub(crate) const FORMATS: &[Format] = &[
    Format { word: "text", render: |report| Ok(check_report(report)), painted: Some(painted) },
    Format { word: "json", render: json::check_report, painted: None },
    Format { word: "sarif", render: sarif::check_report, painted: None },
    Format { word: "junit", render: |report| Ok(junit::check_report(report)), painted: None },
    Format { word: "github", render: |report| Ok(github::check_report(report)), painted: None },
    Format { word: "gitlab", render: gitlab::check_report, painted: None },
    Format { word: "markdown", render: |report| Ok(markdown::check_report(report)), painted: None },
];

impl Format {
    /// The report in this format; in colours if they are shown, and the format has any.
    pub(crate) fn write(&self, report: &CheckReport, colours: bool) -> serde_json::Result<String> {
        match self.painted.filter(|_| colours) {
            Some(painted) => Ok(painted(report)),
            None => (self.render)(report),
        }
    }
}
