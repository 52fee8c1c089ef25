//! `docs/policy.md` names every field with its default.

use std::collections::BTreeMap;

use pullgate::policy::{PullgatePolicy, PullgatePolicySpec, spec_schema};
use serde_json::Value;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.md");
    std::fs::read_to_string(path).unwrap()
}

/// Fields and their defaults as the page has them.
fn documented() -> BTreeMap<String, String> {
    let page = page();
    let table = page.split("<!-- fields").nth(1).unwrap().split("\n### ").next().unwrap();
    table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let (field, rest) = row.split_once("` |").unwrap();
            let default = rest.split('|').next().unwrap().trim().trim_matches('`');
            (field.to_owned(), default.to_owned())
        })
        .collect()
}

/// The fields of the schema: groups taken apart, lists and maps as one.
fn fields(schema: &Value, at: &str, found: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().unwrap() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        if property["type"] == "object" && name != "causes" {
            fields(property, &path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_field_is_documented() {
    let mut found = Vec::new();
    fields(&spec_schema(), "", &mut found);
    found.sort();
    let documented: Vec<_> = documented().into_keys().collect();
    assert_eq!(documented, found);
}

#[test]
fn every_default_is_the_documented_one() {
    let spec = serde_json::to_value(PullgatePolicySpec::default()).unwrap();
    for (field, default) in documented() {
        let value = field.split('.').fold(&spec, |value, key| &value[key]);
        let shown = match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string().replace('"', "").replace(',', ", "),
        };
        assert_eq!(shown, default, "{field}");
    }
}

/// `docs/enforcing.md` speaks of every vouch, and of nothing that there is not.
#[test]
fn the_way_to_enforcement_names_what_there_is() {
    let read = |path: &str| {
        std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let page = read("docs/enforcing.md");
    let table = page.split("## What to say").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut rows: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once('`').map(|(field, _)| field))
        .collect();
    rows.sort_unstable();
    let mut found = Vec::new();
    fields(&spec_schema()["properties"]["nodes"], "", &mut found);
    found.retain(|field| field != "pools");
    found.sort();
    assert_eq!(rows, found);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/telemetry/metrics");
    let metrics: String = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for name in page.split('`').filter(|word| word.starts_with("pullgate_")) {
        let name = name.split(['{', ' ']).next().unwrap();
        let registered = name.trim_start_matches("pullgate_").trim_end_matches("_total");
        assert!(metrics.contains(&format!("\"{registered}\"")), "{name}");
    }
    let status = read("deploy/chart/pullgate/files/pullgatepolicies.pullgate.dev.yaml");
    assert!(page.contains("condition `Plausible`") && status.contains("`Plausible`"));
}

#[test]
fn the_examples_can_be_put_in_force() {
    let page = page();
    let mut blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    PullgatePolicy::parse(blocks.next().unwrap(), "docs/policy.md").unwrap();
    for block in blocks {
        let indented = block.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
        let head =
            "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {name: a}\nspec:\n";
        PullgatePolicy::parse(&format!("{head}{indented}"), "docs/policy.md").unwrap();
    }
}
