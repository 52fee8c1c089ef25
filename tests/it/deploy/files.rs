//! Files that are written once and have to fit the rest: the image's, the definition, the keys
//! that must not be there.

use std::path::Path;

use pullgate::policy::{PullgatePolicy, custom_resource_definition};
use serde_json::Value;

use super::{objects, read, root};

/// Where the chart has the definition. Written anew with `PULLGATE_BLESS=1`.
const DEFINITION: &str = "deploy/chart/pullgate/files/pullgatepolicies.pullgate.dev.yaml";

#[test]
fn the_definition_in_the_chart_is_the_one_of_the_code() {
    let generated = custom_resource_definition();
    if std::env::var_os("PULLGATE_BLESS").is_some() {
        let text = format!(
            "# Generated from the Rust types: PULLGATE_BLESS=1 cargo test --test it deploy::files\n{}",
            serde_saphyr::to_string(&generated).unwrap()
        );
        std::fs::write(root().join(DEFINITION), text).unwrap();
    }
    assert_eq!(objects(&read(DEFINITION)), [generated], "run it with PULLGATE_BLESS=1");
}

/// The chart's schema of values; its part about the policy is the definition's.
const VALUES_SCHEMA: &str = "deploy/chart/pullgate/values.schema.json";

/// The definition's schema in the words of JSON Schema: what the API server would drop or refuse,
/// helm refuses before it replaces anything.
fn as_json_schema(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut made = serde_json::Map::new();
    for (name, value) in fields {
        match name.as_str() {
            // Defaults are the program's own; null is what an empty value of helm's is.
            "default" | "nullable" | "format" => {}
            name if name.starts_with("x-kubernetes-") => {}
            "properties" => {
                let Value::Object(all) = value else { continue };
                let all = all.iter().map(|(name, one)| (name.clone(), as_json_schema(one)));
                made.insert(name.clone(), Value::Object(all.collect()));
                if !fields.contains_key("additionalProperties") {
                    made.insert("additionalProperties".to_owned(), false.into());
                }
            }
            "items" | "additionalProperties" | "not" => {
                made.insert(name.clone(), as_json_schema(value));
            }
            "anyOf" | "oneOf" | "allOf" => {
                // Its parts name what is required, and declare nothing.
                made.insert(name.clone(), value.clone());
            }
            _ => {
                made.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(made)
}

/// The fields without a description.
fn undescribed(at: &str, schema: &Value, found: &mut Vec<String>) {
    for (name, one) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        if !one["description"].is_string() {
            found.push(at.clone());
        }
        undescribed(&at, one, found);
        undescribed(&at, &one["items"], found);
    }
}

#[test]
fn helm_knows_the_fields_of_the_policy() {
    let definition = custom_resource_definition();
    let definition = serde_json::to_value(&definition).unwrap();
    let version = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let wanted = as_json_schema(&version["properties"]["spec"]);
    let mut schema: Value = serde_json::from_str(&read(VALUES_SCHEMA)).unwrap();
    if std::env::var_os("PULLGATE_BLESS").is_some() {
        schema["properties"]["policy"] = wanted.clone();
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        std::fs::write(root().join(VALUES_SCHEMA), text).unwrap();
    }
    assert_eq!(schema["properties"]["policy"], wanted, "run it with PULLGATE_BLESS=1");
    // Everything that can be set is described.
    let mut found = Vec::new();
    undescribed("", &schema, &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_value_is_in_the_schema_and_every_field_of_the_schema_is_a_value() {
    fn compare(at: &str, values: &Value, schema: &Value, wrong: &mut Vec<String>) {
        let (Some(values), Some(fields)) = (values.as_object(), schema["properties"].as_object())
        else {
            return;
        };
        for name in fields.keys().filter(|name| !values.contains_key(*name)) {
            wrong.push(format!("{at}.{name} is in no values.yaml"));
        }
        for (name, value) in values {
            match fields.get(name) {
                Some(one) => compare(&format!("{at}.{name}"), value, one, wrong),
                None => wrong.push(format!("{at}.{name} is in no schema")),
            }
        }
    }
    let values = objects(&read("deploy/chart/pullgate/values.yaml")).remove(0);
    let mut schema: Value = serde_json::from_str(&read(VALUES_SCHEMA)).unwrap();
    let fields = schema["properties"].as_object_mut().unwrap();
    // Helm's own, and the policy, whose fields have defaults in the program.
    fields.remove("global").unwrap();
    fields["policy"] = Value::Null;
    let mut wrong = Vec::new();
    let volumes = |one: &String| one.contains("issuerRef.");
    compare("", &values, &schema, &mut wrong);
    wrong.retain(|one| !volumes(one));
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_policies_that_are_shipped_can_be_put_in_force() {
    let example = read("deploy/kustomize/example/policy.yaml");
    PullgatePolicy::parse(&example, "example").unwrap();
    let base = super::base();
    let map = super::one(&base, "ConfigMap", "pullgate-policy");
    let policy =
        PullgatePolicy::parse(map["data"]["policy.yaml"].as_str().unwrap(), "chart").unwrap();
    assert_eq!(policy.spec(), PullgatePolicy::default().spec());
}

/// The sources of a Dockerfile's COPY lines from the build context.
fn copied(dockerfile: &str) -> Vec<&str> {
    dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from="))
        .flat_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words[..words.len() - 1].to_vec()
        })
        .collect()
}

#[test]
fn what_the_image_is_built_of_exists_and_reaches_the_builder() {
    let dockerfile = read("Dockerfile");
    let ignored = read(".dockerignore");
    let sources = copied(&dockerfile);
    for needed in ["Cargo.toml", "Cargo.lock", "src"] {
        assert!(sources.contains(&needed), "{needed} is not copied");
    }
    for source in sources {
        assert!(root().join(source).exists(), "{source} is copied and does not exist");
        let let_in = ignored.lines().any(|line| line == format!("!{source}"));
        assert!(let_in, ".dockerignore keeps {source} from the builder");
    }
}

#[test]
fn every_target_that_the_manifest_names_is_copied() {
    // Cargo refuses a manifest whose targets do not exist, whatever is to be built.
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let dockerfile = read("Dockerfile");
    let sources = copied(&dockerfile);
    for section in ["test", "bench", "example", "bin"] {
        let targets = manifest.get(section).and_then(toml::Value::as_array);
        for target in targets.into_iter().flatten() {
            let path = target["path"].as_str().unwrap();
            let copied = sources.iter().any(|source| Path::new(path).starts_with(source));
            assert!(copied, "{path} is named in Cargo.toml and not copied");
        }
    }
}

#[test]
fn the_image_runs_what_it_builds_as_nobody_and_without_a_shell() {
    let dockerfile = read("Dockerfile");
    let last = dockerfile.rsplit("\nFROM ").next().unwrap();
    assert!(last.starts_with("scratch\n"), "{last}");
    assert!(last.contains("\nUSER 65532:65532\n"));
    assert!(last.contains("\nENTRYPOINT [\"/pullgate\"]\n"));
    assert!(dockerfile.contains("--bin pullgate"));
    assert!(dockerfile.contains("deploy/image/root.sh target/release/pullgate /out\n"));
    assert!(dockerfile.contains("--locked"));
    // Builders without a default registry need the full name, and nothing may need a front end of
    // Docker Hub's; static linking would be asked of procedural macros too.
    assert!(dockerfile.contains("\nARG RUST_IMAGE=docker.io/library/rust:"));
    assert!(!dockerfile.contains("syntax=") && !dockerfile.contains("crt-static"));
    let base = super::base();
    let deployment = super::one(&base, "Deployment", "pullgate");
    assert_eq!(deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"], 65532);
}

#[test]
fn no_private_key_is_committed() {
    fn look(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
            } else {
                let text = std::fs::read(&path).unwrap();
                let needle = format!("{} KEY-----", "PRIVATE");
                if text.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["deploy", "certs"] {
        look(&root().join(folder), &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}

/// The tests that docs/failures.md names for what happens when something fails.
fn named_tests() -> Vec<String> {
    let page = read("docs/failures.md");
    let table = page.split("<!-- failures -->").nth(1).unwrap();
    let table = table.split("<!-- /failures -->").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.flat_map(|row| {
        let shown: Vec<_> = row.split('|').nth(3).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!shown.is_empty(), "{row}");
        shown.into_iter().map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_tests_that_the_table_of_failures_names_exist() {
    let named = named_tests();
    assert!(named.len() >= 9);
    for test in named {
        let (module, function) = test.rsplit_once("::").unwrap();
        let text = read(&format!("tests/it/{}.rs", module.replace("::", "/")));
        let at = text.find(&format!("fn {function}()"));
        let before = &text[..at.unwrap_or_else(|| panic!("{test} does not exist"))];
        let attribute = before.trim_end().trim_end_matches("async").trim_end();
        assert!(attribute.ends_with("test]"), "{test} is no test");
    }
}

/// Who reads why Pullgate is blind is sent to a value that is there.
#[test]
fn what_helps_against_blindness_is_a_value_of_the_chart() {
    let values: Value = serde_saphyr::from_str(&read("deploy/chart/pullgate/values.yaml")).unwrap();
    let mut named = 0;
    for reason in pullgate::pull::BlindReason::ALL {
        let Some((_, value)) = reason.fix().rsplit_once("chart value ") else { continue };
        let path = format!("/{}", value.replace('.', "/"));
        assert!(values.pointer(&path).is_some(), "{reason:?}: {value}");
        named += 1;
    }
    assert!(named >= 6, "{named}");
}

/// So is who reads the alert.
#[test]
fn the_alert_about_blindness_says_what_changes_each_reason() {
    let alerts = read("deploy/chart/pullgate/templates/monitoring.yaml");
    for reason in pullgate::pull::BlindReason::ALL {
        let told =
            format!("eq $labels.reason \\\"{}\\\" }}}}\" }}}}{}\n", reason.as_str(), reason.fix());
        assert!(alerts.contains(&told), "{reason:?}: no {told}");
    }
}
