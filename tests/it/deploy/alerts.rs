//! The alerts: as Prometheus itself reads them, of metrics that there are, each with what to do.

use std::process::Command;

use serde_json::json;

use super::chart::render;
use super::{one, program};
use crate::cluster::process;

/// The names in an expression that are ours.
fn metrics(expression: &str) -> Vec<&str> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    expression.split(word).filter(|word| word.starts_with("pullgate_")).collect()
}

#[test]
fn prometheus_reads_every_alert_and_the_metrics_are_there() {
    let (Some(helm), Some(alerts)) = (program("helm"), program("alerts")) else { return };
    let on = ["prometheusRule.enabled=true", "prometheusRule.digestDrift=true"];
    let objects = render(&helm, &on).unwrap();
    let spec = &one(&objects, "PrometheusRule", "pullgate")["spec"];
    let folder = process::folder("alerts");
    let file = folder.path().join("rules.json");
    let read = |spec: &serde_json::Value| {
        std::fs::write(&file, spec.to_string()).unwrap();
        Command::new(&alerts).arg(&file).output().unwrap()
    };
    let output = read(spec);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let broken = json!({"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "sum(a{b)"}]}]});
    assert!(!read(&broken).status.success(), "it reads anything");

    // A family without a sample is not on the page, so the names are those that are registered.
    let telemetry = std::fs::read_dir(super::root().join("src/telemetry/metrics")).unwrap();
    let mut registered = super::read("src/registry/metrics.rs");
    for file in telemetry {
        registered += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    let known = |name: &str| {
        let ends = ["_total", "_bucket", "_count", "_sum"];
        let stem = ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        registered.contains(&format!("\"{}\",", stem.trim_start_matches("pullgate_")))
    };
    let rules = spec["groups"][0]["rules"].as_array().unwrap();
    for rule in rules {
        let found = metrics(rule["expr"].as_str().unwrap());
        assert!(!found.is_empty(), "{rule}");
        for name in found {
            assert!(known(name), "{}: there is no metric {name}", rule["alert"]);
        }
        assert!(rule["annotations"]["summary"].is_string(), "{rule}");
    }
    let stale = rules.iter().find(|rule| rule["alert"] == "PullgateHistoryStale").unwrap();
    assert!(stale["annotations"]["description"].as_str().unwrap().contains("/readyz"));
}
