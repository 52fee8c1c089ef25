//! JSON Schema, as much of it as the schemas in `tests/fixtures` use. A word that is not known
//! here is a fault of the test, not passed over.

use regex::Regex;
use serde_json::{Map, Value};

/// Words that restrict nothing.
const WORDS: &[&str] = &["$schema", "$id", "id", "title", "description", "default", "format"];

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
        for (word, rule) in schema.as_object().unwrap() {
            if !WORDS.contains(&word.as_str()) {
                self.word(word, rule, schema, value, at);
            }
        }
    }

    fn word(&mut self, word: &str, rule: &Value, schema: &Value, value: &Value, at: &str) {
        let length = value.as_array().map_or(0, Vec::len) as u64;
        let number = value.as_f64().unwrap_or_default();
        let fine = match word {
            "definitions" | "additionalProperties" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                self.value(self.root.pointer(pointer).unwrap(), value, at);
                true
            }
            "type" => is_of(rule, value),
            "enum" => rule.as_array().unwrap().contains(value),
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|key| value.get(key.as_str().unwrap()).is_some()),
            "properties" => {
                self.members(rule.as_object().unwrap(), schema, value, at);
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.value(rule, item, &format!("{at}/{index}"));
                }
                true
            }
            "minItems" => !value.is_array() || length >= rule.as_u64().unwrap(),
            "uniqueItems" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                items.iter().enumerate().all(|(index, item)| !items[..index].contains(item))
            }
            "minimum" => !value.is_number() || number >= rule.as_f64().unwrap(),
            "maximum" => !value.is_number() || number <= rule.as_f64().unwrap(),
            "pattern" => {
                let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "anyOf" => self.matching(rule, value) >= 1,
            "oneOf" => self.matching(rule, value) == 1,
            _ => panic!("this test does not know `{word}`"),
        };
        if !fine {
            self.faults.push(format!("{at}: {word}: {value}"));
        }
    }

    fn members(&mut self, rules: &Map<String, Value>, schema: &Value, value: &Value, at: &str) {
        for (key, member) in value.as_object().into_iter().flatten() {
            let at = format!("{at}/{key}");
            match (rules.get(key), schema.get("additionalProperties")) {
                (None, Some(Value::Bool(false))) => self.faults.push(format!("{at}: not known")),
                (Some(rule), _) | (None, Some(rule @ Value::Object(_))) => {
                    self.value(rule, member, &at);
                }
                (None, _) => {}
            }
        }
    }

    fn matching(&self, rules: &Value, value: &Value) -> usize {
        let matches = |rule: &&Value| {
            let mut faults = Vec::new();
            Check { root: self.root, faults: &mut faults }.value(rule, value, "");
            faults.is_empty()
        };
        rules.as_array().unwrap().iter().filter(matches).count()
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
