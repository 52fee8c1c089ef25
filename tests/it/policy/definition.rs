//! The CustomResourceDefinition: what the API server asks of a structural schema.

use pullgate::policy::{PullgatePolicySpec, custom_resource_definition, spec_schema};
use serde_json::Value;

/// Keywords that a structural schema may have; the API server refuses the others, or the ones that
/// this project does not want there.
const KEYWORDS: &[&str] = &[
    "type",
    "description",
    "properties",
    "items",
    "required",
    "enum",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "additionalProperties",
    "nullable",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
];

fn check(schema: &Value, at: &str) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{at} is no schema: {schema}"));
    assert!(fields.contains_key("type"), "{at} has no type: {schema}");
    for (keyword, value) in fields {
        assert!(KEYWORDS.contains(&keyword.as_str()), "{at} has `{keyword}`");
        match keyword.as_str() {
            "properties" => {
                for (name, property) in value.as_object().unwrap() {
                    check(property, &format!("{at}.{name}"));
                }
            }
            "items" => check(value, &format!("{at}[]")),
            "additionalProperties" => check(value, &format!("{at}.*")),
            _ => {}
        }
    }
}

#[test]
fn the_schema_is_structural_and_says_what_each_field_means() {
    let definition = custom_resource_definition();
    assert_eq!(definition["metadata"]["name"], "pullgatepolicies.pullgate.dev");
    assert_eq!(definition["spec"]["scope"], "Cluster");
    let version = &definition["spec"]["versions"][0];
    assert_eq!(version["name"], "v1alpha1");
    assert_eq!(version["subresources"]["status"], serde_json::json!({}));
    check(&version["schema"]["openAPIV3Schema"], "");
}

#[test]
fn every_field_of_the_spec_is_in_the_schema_with_a_meaning() {
    let schema = spec_schema();
    let spec = serde_json::to_value(PullgatePolicySpec::default()).unwrap();
    for field in spec.as_object().unwrap().keys() {
        let property = &schema["properties"][field];
        assert!(property["description"].is_string(), "{field}: {property}");
    }
}

#[test]
fn every_cause_is_a_property_of_its_own() {
    let schema = spec_schema();
    let causes = schema["properties"]["causes"]["properties"].as_object().unwrap();
    assert_eq!(causes.len(), pullgate::pull::Cause::ALL.len());
    assert_eq!(causes["tag_not_found"]["enum"], serde_json::json!(["allow", "warn", "deny"]));
}
