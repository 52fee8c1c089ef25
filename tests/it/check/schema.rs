//! JSON Schema, as much of it as the schemas in `tests/fixtures` use. A word that is not known
//! here is a fault of the test, not passed over.

use regex::Regex;
use serde_json::{Map, Value};

/// Words that restrict nothing.
const WORDS: &[&str] = &[
    "$schema",
    "$id",
    "id",
    "title",
    "description",
    "default",
    "format",
    "$comment",
    "examples",
    "markdownDescription",
];

/// Everything about a value that its schema does not allow, each with its place.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    Check { root: schema, faults: &mut faults }.value(schema, value, "");
    faults
}

struct Check<'a> {
    root: &'a Value,
    faults: &'a mut Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, schema: &Value, value: &Value, at: &str) {
        if let Some(all) = schema.as_bool() {
            if !all {
                self.faults.push(format!("{at}: not allowed"));
            }
            return;
        }
        for (word, rule) in schema.as_object().unwrap() {
            if !WORDS.contains(&word.as_str()) {
                self.word(word, rule, schema, value, at);
            }
        }
    }

    fn word(&mut self, word: &str, rule: &Value, schema: &Value, value: &Value, at: &str) {
        let fine = match word {
            // The second is read with `properties`, the others with `if`.
            "definitions" | "additionalProperties" | "then" | "else" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                self.value(self.root.pointer(pointer).unwrap(), value, at);
                true
            }
            "allOf" => {
                for rule in rule.as_array().unwrap() {
                    self.value(rule, value, at);
                }
                true
            }
            "if" => {
                let then = if self.allows(rule, value) { "then" } else { "else" };
                if let Some(rule) = schema.get(then) {
                    self.value(rule, value, at);
                }
                true
            }
            "properties" | "patternProperties" => {
                // Both at once, for what neither of them names.
                if word == "properties" || schema.get("properties").is_none() {
                    self.members(schema, value, at);
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.value(rule, item, &format!("{at}/{index}"));
                }
                true
            }
            "anyOf" => self.matching(rule, value) >= 1,
            "oneOf" => self.matching(rule, value) == 1,
            "not" => !self.allows(rule, value),
            "dependencies" => rule.as_object().unwrap().iter().all(|(key, needs)| {
                value.get(key).is_none() || has_all(needs.as_array().unwrap(), value)
            }),
            _ => restricts(word, rule, value),
        };
        if !fine {
            self.faults.push(format!("{at}: {word}: {value}"));
        }
    }

    fn members(&mut self, schema: &Value, value: &Value, at: &str) {
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        for (key, member) in value.as_object().into_iter().flatten() {
            let at = format!("{at}/{key}");
            let named = schema.get("properties").and_then(|rules| rules.get(key));
            let by_pattern = patterns.into_iter().flatten();
            let by_pattern =
                by_pattern.filter(|(pattern, _)| Regex::new(pattern).unwrap().is_match(key));
            let rules: Vec<&Value> =
                named.into_iter().chain(by_pattern.map(|(_, rule)| rule)).collect();
            for rule in &rules {
                self.value(rule, member, &at);
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) if rules.is_empty() => {
                    self.faults.push(format!("{at}: not known"));
                }
                Some(rule @ Value::Object(_)) if rules.is_empty() => self.value(rule, member, &at),
                _ => {}
            }
        }
    }

    fn allows(&self, rule: &Value, value: &Value) -> bool {
        let mut faults = Vec::new();
        Check { root: self.root, faults: &mut faults }.value(rule, value, "");
        faults.is_empty()
    }

    fn matching(&self, rules: &Value, value: &Value) -> usize {
        rules.as_array().unwrap().iter().filter(|rule| self.allows(rule, value)).count()
    }
}

fn has_all(keys: &[Value], value: &Value) -> bool {
    keys.iter().all(|key| value.get(key.as_str().unwrap()).is_some())
}

/// The words that look at this value alone.
fn restricts(word: &str, rule: &Value, value: &Value) -> bool {
    let limit = || rule.as_u64().unwrap();
    let length = |value: Option<usize>| value.map(|length| length as u64);
    let items = length(value.as_array().map(Vec::len));
    let characters = length(value.as_str().map(|text| text.chars().count()));
    let members = length(value.as_object().map(Map::len));
    match word {
        "type" => is_of(rule, value),
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "required" => !value.is_object() || has_all(rule.as_array().unwrap(), value),
        "minItems" => items.is_none_or(|items| items >= limit()),
        "maxItems" => items.is_none_or(|items| items <= limit()),
        "minLength" => characters.is_none_or(|characters| characters >= limit()),
        "maxLength" => characters.is_none_or(|characters| characters <= limit()),
        "maxProperties" => members.is_none_or(|members| members <= limit()),
        "uniqueItems" => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().enumerate().all(|(index, item)| !items[..index].contains(item))
        }
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
        "pattern" => {
            let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        _ => panic!("this test does not know `{word}`"),
    }
}

fn is_of(rule: &Value, value: &Value) -> bool {
    let one = |word: &str| match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        _ => panic!("this test does not know the type `{word}`"),
    };
    match rule {
        Value::Array(words) => words.iter().any(|word| one(word.as_str().unwrap())),
        word => one(word.as_str().unwrap()),
    }
}

#[test]
fn faults_are_found() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"$ref": "#/definitions/a"}, "b": {"type": "array", "uniqueItems": true}},
        "definitions": {"a": {"enum": ["x"]}},
    });
    let faults = |value: Value| faults(&schema, &value).join("; ");
    assert_eq!(faults(serde_json::json!({"a": "x", "b": [1, 2]})), "");
    assert_eq!(faults(serde_json::json!({"a": "y", "c": 1})), "/a: enum: \"y\"; /c: not known");
    assert_eq!(
        faults(serde_json::json!({"b": [1, 1]})),
        "/b: uniqueItems: [1,1]; : required: {\"b\":[1,1]}"
    );
}

#[test]
fn faults_of_conditions_are_found() {
    let schema = serde_json::json!({
        "if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["a"]},
        "else": {"allOf": [{"not": {"required": ["a"]}}]},
        "patternProperties": {"^n": {"maxLength": 2, "minLength": 1}, "^m": {"maxItems": 1}},
        "additionalProperties": {"type": "string"}, "maxProperties": 3,
        "dependencies": {"n1": ["n2"]},
    });
    let faults = |value: Value| faults(&schema, &value).join("; ");
    assert_eq!(faults(serde_json::json!({"kind": "a", "a": "", "m": [1]})), "");
    assert_eq!(faults(serde_json::json!({"kind": "b", "n1": "xx", "n2": "x"})), "");
    assert_eq!(faults(serde_json::json!({"kind": "a"})), ": required: {\"kind\":\"a\"}");
    for (wrong, word) in [
        (serde_json::json!({"kind": "b", "a": ""}), ": not: "),
        (serde_json::json!({"kind": "b", "n2": "xxx"}), "/n2: maxLength"),
        (serde_json::json!({"kind": "b", "n2": ""}), "/n2: minLength"),
        (serde_json::json!({"kind": "b", "m": [1, 2]}), "/m: maxItems"),
        (serde_json::json!({"kind": "b", "n1": "x"}), ": dependencies"),
        (serde_json::json!({"kind": "b", "x": 1}), "/x: type"),
        (serde_json::json!({"kind": "b", "x": "", "y": "", "z": ""}), ": maxProperties"),
    ] {
        let found = faults(wrong);
        assert!(found.starts_with(word) && !found.contains(';'), "{word}: {found}");
    }
}
