//! Messages explained without a cluster: one for a person, or a stream of them for programs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use anyhow::Context;

use crate::cli::print::{OutputFormat, print, print_message};
use crate::failure::{CredentialProblem, explain_line, explain_message};
use crate::message::sentence;
use crate::pull::Verdict;

/// Bytes of one line.
const MAX_LINE: u64 = 1 << 20;

/// Explains one message.
pub(super) fn one(reason: Option<&str>, message: &str, format: OutputFormat) -> anyhow::Result<()> {
    let explanation = explain_message(reason, message);
    let text = match format {
        OutputFormat::Json => serde_json::to_string(&explanation)? + "\n",
        OutputFormat::Text => {
            let cause = explanation.cause;
            let transient = if explanation.transient {
                "yes: a retry may help"
            } else {
                "no: retrying does not help"
            };
            let mut rows = vec![
                ("Cause", format!("{cause}: {}", sentence(cause, Verdict::Fails))),
                ("Transient", transient.to_owned()),
            ];
            rows.extend(explanation.registry.map(|registry| ("Registry", registry)));
            let login = explanation.credential_problem.map(login);
            rows.extend(login.map(|words| ("Login", words.to_owned())));
            rows.extend(explanation.address.map(|address| ("Address", address)));
            rows.push(("Next step", explanation.next_step.to_owned()));
            rows.iter()
                .fold(String::new(), |page, (label, words)| page + &format!("{label:<11}{words}\n"))
        }
    };
    print(&text).context("failed to write the answer")
}

/// What a message says about the credentials, for a person: the sentence of a cause speaks of
/// "these credentials", whether the registry saw any or not.
const fn login(problem: CredentialProblem) -> &'static str {
    match problem {
        CredentialProblem::Missing => "the registry saw none",
        CredentialProblem::Rejected => "seen, and not accepted",
        CredentialProblem::Expired => "expired",
        CredentialProblem::Insufficient => "not enough for this",
    }
}

/// Explains JSON Lines, each as soon as it is read. False if there were lines that cannot be
/// read: they are told with their number and left out.
pub(super) fn many(file: &Path) -> anyhow::Result<bool> {
    let (name, reader): (String, Box<dyn Read>) = if file.as_os_str() == "-" {
        ("stdin".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let name = file.display().to_string();
        let opened = File::open(file).with_context(|| name.clone())?;
        (name, Box::new(opened))
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let told = stream(&name, &mut BufReader::new(reader), &mut out);
    match told.and_then(|good| out.flush().map(|()| good)) {
        // Whoever reads no further has all they want.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        told => told.with_context(|| name),
    }
}

fn stream(name: &str, input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<bool> {
    let mut good = true;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let too_long = line.len() as u64 == MAX_LINE && !line.ends_with(b"\n");
        if too_long {
            input.skip_until(b'\n')?;
        }
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        match explain_line(&text) {
            _ if too_long => {}
            Ok(answer) => writeln!(out, "{answer}")?,
            Err(error) => {
                good = false;
                print_message(format_args!("{name}:{number}: {error}"));
            }
        }
        if too_long {
            good = false;
            print_message(format_args!("{name}:{number}: longer than 1 MiB"));
        }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_answered_one_by_one() {
        let long = format!("{{\"message\":\"{}\"}}", "x".repeat(2 << 20));
        let input = format!(
            "{{\"id\":1,\"message\":\"manifest unknown\"}}\n\nnonsense\n{long}\n\
             {{\"id\":\"b\",\"message\":\"toomanyrequests\"}}"
        );
        let mut out = Vec::new();
        assert!(!stream("f", &mut input.as_bytes(), &mut out).unwrap());
        let out = String::from_utf8(out).unwrap();
        let ids: Vec<serde_json::Value> = out
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["id"].clone())
            .collect();
        assert_eq!(ids, [serde_json::json!(1), serde_json::json!("b")]);
    }
}
