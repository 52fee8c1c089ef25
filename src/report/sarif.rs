//! SARIF 2.1.0, for code scanning.
//!
//! Forges show every result as something to act on, whatever its `kind`: what works is no result,
//! and stands with all other images under `properties.images` of the run.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::rule::{Fingerprints, Rule, rule_id, rules};
use super::{CheckReport, ImageEntry, Severity};
use crate::text::clean;
use crate::yaml::{InputError, Position};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// What paths are relative to: the directory that the check was run in.
const ROOT: &str = "%SRCROOT%";
/// The version of what goes into a fingerprint.
const FINGERPRINT: &str = "pullgateImage/v1";

/// The whole report, with a line end.
pub(super) fn check_report(report: &CheckReport) -> serde_json::Result<String> {
    let rules = rules();
    let mut fingerprints = Fingerprints::default();
    let results: Vec<Value> = report
        .images
        .iter()
        .filter_map(|entry| {
            let level = level(report.severity(entry))?;
            let mut result = result(entry, level, &rules, &fingerprints.next(entry));
            if report.has_baseline {
                result["baselineState"] = if entry.known { "unchanged" } else { "new" }.into();
            }
            Some(result)
        })
        .collect();
    let body = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "Pullgate",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.unread.is_empty(),
                "toolExecutionNotifications": report.unread.iter().map(notification).collect::<Vec<_>>(),
            }],
            "results": results,
            "properties": {"images": report.images.iter().map(image).collect::<Vec<_>>()},
        }],
    });
    Ok(serde_json::to_string_pretty(&body)? + "\n")
}

const fn level(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::None => None,
        Severity::Note => Some("note"),
        Severity::Warning => Some("warning"),
        Severity::Error => Some("error"),
    }
}

fn rule(rule: &Rule) -> Value {
    let Rule { id, summary, evidence, next_step, is_transient } = rule;
    let link = rule.link();
    json!({
        "id": id,
        "name": id.split('_').map(super::rule::capitalised).collect::<String>(),
        "shortDescription": {"text": summary},
        "fullDescription": {"text": format!("{summary}. Next step: {next_step}.")},
        "help": {
            "text": format!("{summary}.\nEvidence: {evidence}.\nNext step: {next_step}.\n{link}"),
            "markdown": format!(
                "{summary}.\n\n- Evidence: {evidence}.\n- Next step: {next_step}.\n\n\
                 [More about `{id}`]({link})"
            ),
        },
        "helpUri": link,
        "defaultConfiguration": {"level": if *is_transient { "note" } else { "error" }},
        "properties": {"tags": ["kubernetes", "container-image"]},
    })
}

fn result(entry: &ImageEntry, level: &str, rules: &[Rule], fingerprint: &str) -> Value {
    let id = rule_id(entry);
    // What GitHub compares runs by; it would make its own of the lines of the file.
    let line_hash = format!("{}:1", fingerprint.get(..16).unwrap_or_default());
    json!({
        "ruleId": id,
        "ruleIndex": rules.iter().position(|rule| rule.id == id),
        "level": level,
        "message": {"text": entry.line()},
        "locations": [location(entry)],
        "partialFingerprints": {FINGERPRINT: fingerprint, "primaryLocationLineHash": line_hash},
        "properties": facts(entry),
    })
}

/// What could not be read.
fn notification(error: &InputError) -> Value {
    json!({
        "level": "error",
        "message": {"text": error.problem},
        "locations": [{"physicalLocation": physical(artifact(&error.file), error.at)}],
    })
}

/// An image that stands in no file is its own artifact: forges want a path with every result.
fn location(entry: &ImageEntry) -> Value {
    let artifact = match entry.file() {
        Some(file) => artifact(file),
        None => json!({"uri": uri(&entry.image)}),
    };
    json!({
        "physicalLocation": physical(artifact, entry.position()),
        "logicalLocations": [{
            "name": clean(&entry.container),
            "fullyQualifiedName": entry.subject_words(),
            "kind": "resource",
        }],
    })
}

fn artifact(file: &str) -> Value {
    if file.starts_with('/') {
        json!({"uri": format!("file://{}", uri(file))})
    } else {
        json!({"uri": uri(file.trim_start_matches("./")), "uriBaseId": ROOT})
    }
}

fn physical(artifact: Value, at: Position) -> Value {
    let mut physical = Map::new();
    physical.insert("artifactLocation".to_owned(), artifact);
    if let Some(line) = at.known_line() {
        let mut region = json!({"startLine": line});
        if let Some(column) = at.known_column() {
            region["startColumn"] = column.into();
        }
        physical.insert("region".to_owned(), region);
    }
    physical.into()
}

/// A path as a relative reference: what is more than a name or a slash is escaped, a colon too.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

fn image(entry: &ImageEntry) -> Value {
    let mut image = facts(entry);
    image["image"] = clean(&entry.image).into();
    image["object"] = entry.subject_words().into();
    image["file"] = entry.file().into();
    image["line"] = entry.position().known_line().into();
    image
}

fn facts(entry: &ImageEntry) -> Value {
    let finding = &entry.finding;
    let pull = &finding.pull;
    json!({
        "verdict": finding.verdict,
        "cause": finding.cause,
        "decision": finding.decision.as_str(),
        "known": entry.known,
        "escapes": finding.escapes,
        "reference": finding.reference,
        "digest": pull.digest.as_ref().map(ToString::to_string),
        "platforms": pull.platforms.iter().map(|one| clean(&one.to_string())).collect::<Vec<_>>(),
        "pulledWith": pull.pulled_with.as_deref().map(clean),
        "seconds": pull.took.map(|took| took.as_secs_f64()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("a b/ü#%.yaml"), "a%20b/%C3%BC%23%25.yaml");
        assert_eq!(uri("r.example:5000/a@sha256:0"), "r.example%3A5000/a%40sha256%3A0");
    }
}
