//! Network policies that select the pods behind a Service, and whom they let in.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/network-policies/>

use std::collections::BTreeMap;

use kube::api::ListParams;
use serde::Deserialize;

use super::list;
use crate::cluster::client::Connection;
use crate::cluster::get::get_text;
use crate::cluster::pages::Page;
use crate::history::{AllowedSources, SelectingNetworkPolicy};

/// Policies of one namespace that are read.
const MAX_POLICIES: u32 = 200;
/// Pods of a Service that are looked at.
const MAX_PODS: u32 = 20;

type Labels = BTreeMap<Box<str>, Box<str>>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServiceWire {
    spec: ServiceSpecWire,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServiceSpecWire {
    selector: Labels,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectWire {
    metadata: MetaWire,
    spec: PolicySpecWire,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MetaWire {
    name: Box<str>,
    labels: Labels,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PolicySpecWire {
    pod_selector: SelectorWire,
    policy_types: Option<Vec<Box<str>>>,
    ingress: Vec<RuleWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RuleWire {
    from: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SelectorWire {
    match_labels: Labels,
    match_expressions: Vec<ExpressionWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ExpressionWire {
    key: Box<str>,
    operator: Box<str>,
    values: Vec<Box<str>>,
}

impl SelectorWire {
    fn selects(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|one| one.holds(labels))
    }
}

impl ExpressionWire {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match &*self.operator {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

impl PolicySpecWire {
    /// Whom it lets in; nothing if it says nothing about that.
    fn allowed(&self) -> Option<AllowedSources> {
        // Without the field every policy is one of ingress.
        let about_ingress = self
            .policy_types
            .as_ref()
            .is_none_or(|types| types.iter().any(|kind| &**kind == "Ingress"));
        about_ingress.then(|| match self.ingress.as_slice() {
            [] => AllowedSources::Nobody,
            rules if rules.iter().any(|rule| rule.from.is_empty()) => AllowedSources::Everybody,
            _ => AllowedSources::Some,
        })
    }
}

/// The policies that select pods of this Service; nothing if they could not be read.
pub(super) async fn of_service(
    connection: &Connection,
    namespace: &str,
    service: &str,
) -> Option<Vec<SelectingNetworkPolicy>> {
    let text = get_text(connection, namespace, "services", service).await.found()?;
    let selector = serde_json::from_str::<ServiceWire>(&text).ok()?.spec.selector;
    if selector.is_empty() {
        return Some(Vec::new());
    }
    let labels: Vec<String> =
        selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let params = ListParams::default().labels(&labels.join(",")).limit(MAX_PODS);
    let text = list(connection, &format!("/api/v1/namespaces/{namespace}/pods"), &params).await?;
    // Where there is no pod, the Service's own selector is what its pods will have at least.
    let mut pods = labels_of(&text)?;
    if pods.is_empty() {
        pods.push(selector);
    }
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies");
    let text = list(connection, &path, &ListParams::default().limit(MAX_POLICIES)).await?;
    network_policies(&text, &pods)
}

fn objects(text: &str) -> Option<Vec<ObjectWire>> {
    let page: Page<'_> = serde_json::from_str(text).ok()?;
    let items = page.items.unwrap_or_default();
    Some(items.iter().filter_map(|item| serde_json::from_str(item.get()).ok()).collect())
}

fn labels_of(text: &str) -> Option<Vec<Labels>> {
    Some(objects(text)?.into_iter().map(|pod| pod.metadata.labels).collect())
}

fn network_policies(text: &str, pods: &[Labels]) -> Option<Vec<SelectingNetworkPolicy>> {
    let selecting = objects(text)?.into_iter().filter_map(|policy| {
        let selected = pods.iter().any(|labels| policy.spec.pod_selector.selects(labels));
        let allowed = policy.spec.allowed().filter(|_| selected)?;
        Some(SelectingNetworkPolicy { name: policy.metadata.name, allowed })
    });
    Some(selecting.collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case(json!({"podSelector": {}}), Some(AllowedSources::Nobody))]
    #[case(json!({"podSelector": {"matchLabels": {"app": "registry"}}, "ingress": [{}]}), Some(AllowedSources::Everybody))]
    #[case(json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}), Some(AllowedSources::Some))]
    #[case(json!({"podSelector": {}, "policyTypes": ["Egress"]}), None)]
    #[case(json!({"podSelector": {"matchLabels": {"app": "web"}}}), None)]
    #[case(json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["registry"]}]}}), Some(AllowedSources::Nobody))]
    #[case(json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}), None)]
    #[case(json!({"podSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}}), Some(AllowedSources::Nobody))]
    fn policies_that_select_the_registrys_pods(
        #[case] spec: Value,
        #[case] allowed: Option<AllowedSources>,
    ) {
        let policies = json!({"items": [{"metadata": {"name": "p"}, "spec": spec}]}).to_string();
        let pods = vec![Labels::from([("app".into(), "registry".into())])];
        let found = network_policies(&policies, &pods).unwrap();
        assert_eq!(found.first().map(|policy| policy.allowed), allowed);
    }
}
