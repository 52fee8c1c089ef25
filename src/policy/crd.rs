//! The CustomResourceDefinition of `PullgatePolicy`, generated from the Rust types.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::document::PullgatePolicyObject;

/// The CustomResourceDefinition, as the API server takes it: a structural schema, without default
/// values (they would be written into stored objects, and a later default would not reach them).
pub fn custom_resource_definition() -> Value {
    let mut definition = serde_json::to_value(PullgatePolicyObject::crd()).unwrap_or_default();
    for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        tidy(schema);
        add_validations(&mut schema["properties"]["spec"]);
    }
    definition
}

/// The schema of `spec` alone, as the definition has it.
pub fn spec_schema() -> Value {
    let mut definition = custom_resource_definition();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].take()
}

/// Rules across fields, in the API server's expression language. The same are checked when a
/// document is read from a file.
fn add_validations(spec: &mut Value) {
    let rule = |rule: &str, message: &str| json!({ "rule": rule, "message": message });
    let lookups = &mut spec["properties"]["lookups"];
    lookups["x-kubernetes-validations"] = json!([
        rule(
            "!has(self.total) || (duration(self.total) > duration('0s') && \
             duration(self.total) <= duration('29s'))",
            "total must be above 0 and at most 29s"
        ),
        rule(
            "!has(self.each) || (duration(self.each) > duration('0s') && \
             duration(self.each) <= duration(has(self.total) ? self.total : '2s'))",
            "each must be above 0, and one look-up cannot take longer than all"
        ),
    ]);
    let exceptions = &mut spec["properties"]["exceptions"];
    exceptions["x-kubernetes-list-type"] = json!("map");
    exceptions["x-kubernetes-list-map-keys"] = json!(["name"]);
    exceptions["items"]["properties"]["match"]["x-kubernetes-validations"] = json!([rule(
        "(has(self.images) && size(self.images) > 0) || has(self.namespaceSelector)",
        "name namespaces or images"
    )]);
}

/// Takes out what the API server does not take or what would change stored objects.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if is_schema(fields) {
                fields.remove("default");
                if fields.get("title").is_some_and(Value::is_string) {
                    fields.remove("title");
                }
                // Formats of Rust numbers, which the API server does not know.
                if fields.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with('u'))
                {
                    fields.remove("format");
                }
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Whether these are the keywords of a schema, not properties that happen to have their names.
fn is_schema(fields: &Map<String, Value>) -> bool {
    fields.get("type").is_some_and(Value::is_string)
        || fields.get("description").is_some_and(Value::is_string)
}
