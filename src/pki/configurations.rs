//! The two fields of the webhook configurations that are known only at run time: the path with the
//! token, and the CA bundle. Nothing else of them is touched. Where reviews come by way of the
//! aggregation layer they need neither, and the `APIService` gets the bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PatchParams};
use serde_json::{Value, json};

use super::Names;
use super::material::PkiSecret;

/// The configurations of this installation.
pub(super) struct Configurations {
    /// Each with the first part of its path.
    apis: [(&'static str, Api<DynamicObject>); 2],
    service: AggregatedService,
    names: Names,
}

impl Configurations {
    pub(super) fn new(client: &kube::Client, names: &Names) -> Self {
        let validating = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let mutating = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        Self {
            apis: [
                ("validate", Api::all_with(client.clone(), &validating)),
                ("mutate", Api::all_with(client.clone(), &mutating)),
            ],
            service: AggregatedService::new(client),
            names: names.clone(),
        }
    }

    /// Writes what is missing or different. One that does not exist is nobody's fault: the
    /// mutating one is there only where somebody wants it. Says whether anything was written.
    pub(super) async fn write(
        &self,
        kept: &PkiSecret,
        with_bundle: bool,
    ) -> Result<bool, kube::Error> {
        let bundle = with_bundle.then(|| STANDARD.encode(kept.bundle()));
        if self.names.aggregated {
            // The webhook configurations name the API server itself, and nothing secret.
            let Some(bundle) = bundle else { return Ok(false) };
            return self.service.write(&self.names, &bundle).await;
        }
        let Some(token) = kept.token.as_deref() else { return Ok(false) };
        let mut written = false;
        for (endpoint, api) in &self.apis {
            let name = &self.names.configurations;
            let Some(found) = api.get_opt(name).await? else { continue };
            let address = format!("/{endpoint}/{token}");
            let patch = changes(&found.data, &self.names, &address, bundle.as_deref());
            if patch.0.is_empty() {
                continue;
            }
            let patch = kube::api::Patch::Json::<()>(patch);
            match api.patch(name, &PatchParams::default(), &patch).await {
                Ok(_) => written = true,
                // Somebody changed it meanwhile and the patch's test failed: look again soon.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    written = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

/// The patch that brings path and bundle to the webhooks that call our Service.
fn changes(configuration: &Value, names: &Names, path: &str, bundle: Option<&str>) -> Patch {
    let mut operations = Vec::new();
    let webhooks = configuration["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, webhook) in webhooks.iter().enumerate() {
        let client = &webhook["clientConfig"];
        let service = &client["service"];
        if service["name"] != *names.service || service["namespace"] != *names.namespace {
            continue;
        }
        let mut ours = Vec::new();
        let mut put = |at: &str, is: &Value, wanted: &str| {
            if is != wanted {
                let pointer = pointer(index, at);
                let operation = AddOperation { path: pointer, value: json!(wanted) };
                ours.push(PatchOperation::Add(operation));
            }
        };
        put("clientConfig/service/path", &service["path"], path);
        if let Some(bundle) = bundle {
            put("clientConfig/caBundle", &client["caBundle"], bundle);
        }
        if !ours.is_empty() {
            // Webhooks may have been added or removed meanwhile.
            let name =
                TestOperation { path: pointer(index, "name"), value: webhook["name"].clone() };
            operations.push(PatchOperation::Test(name));
            operations.append(&mut ours);
        }
    }
    Patch(operations)
}

fn pointer(index: usize, at: &str) -> PointerBuf {
    let index = index.to_string();
    let tokens = ["webhooks", &index].into_iter().chain(at.split('/'));
    PointerBuf::from_tokens(tokens)
}

/// Its name is its version and group.
const API_SERVICE: &str = "v1.admission.pullgate.dev";

/// The object of this installation.
pub(super) struct AggregatedService {
    api: Api<DynamicObject>,
}

impl AggregatedService {
    pub(super) fn new(client: &kube::Client) -> Self {
        Self { api: Api::all_with(client.clone(), &ApiResource::erase::<APIService>(&())) }
    }

    /// Writes the bundle where it is missing or different, if the object leads to our Service.
    /// Says whether anything was written.
    pub(super) async fn write(&self, names: &Names, bundle: &str) -> Result<bool, kube::Error> {
        let Some(found) = self.api.get_opt(API_SERVICE).await? else { return Ok(false) };
        let patch = bundle_changes(&found.data, names, bundle);
        if patch.0.is_empty() {
            return Ok(false);
        }
        let patch = kube::api::Patch::Json::<()>(patch);
        match self.api.patch(API_SERVICE, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(true),
            // Somebody changed it meanwhile: look again soon.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn bundle_changes(object: &Value, names: &Names, bundle: &str) -> Patch {
    let service = &object["spec"]["service"];
    let ours = service["name"] == *names.service && service["namespace"] == *names.namespace;
    if !ours || object["spec"]["caBundle"] == *bundle {
        return Patch(Vec::new());
    }
    let pointer = |at: &str| PointerBuf::from_tokens(["spec", at]);
    Patch(vec![
        PatchOperation::Test(TestOperation { path: pointer("service"), value: service.clone() }),
        PatchOperation::Add(AddOperation { path: pointer("caBundle"), value: json!(bundle) }),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            namespace: "pullgate".to_owned(),
            secret: "pullgate".to_owned(),
            service: "pullgate".to_owned(),
            configurations: "pullgate".to_owned(),
            replica: "a".to_owned(),
            aggregated: false,
        }
    }

    fn configuration() -> Value {
        json!({"webhooks": [
            {"name": "other", "clientConfig": {"service": {"name": "other", "namespace": "pullgate"}}},
            {"name": "url", "clientConfig": {"url": "https://example.com"}},
            {"name": "pods", "clientConfig": {"service":
                {"name": "pullgate", "namespace": "pullgate", "port": 443}}},
        ]})
    }

    #[test]
    fn only_our_webhooks_get_path_and_bundle_and_only_once() {
        let mut configuration = configuration();
        let patch = changes(&configuration, &names(), "/validate/t", Some("Qg=="));
        assert_eq!(patch.0.len(), 3);
        json_patch::patch(&mut configuration, &patch).unwrap();
        let webhooks = &configuration["webhooks"];
        assert_eq!(webhooks[2]["clientConfig"]["service"]["path"], "/validate/t");
        assert_eq!(webhooks[2]["clientConfig"]["caBundle"], "Qg==");
        assert_eq!(webhooks[2]["clientConfig"]["service"]["port"], 443);
        assert_eq!(webhooks[0]["clientConfig"]["service"].get("path"), None);
        assert!(changes(&configuration, &names(), "/validate/t", Some("Qg==")).0.is_empty());
    }

    #[test]
    fn a_bundle_that_others_write_is_left_alone() {
        let patch = changes(&configuration(), &names(), "/validate/t", None);
        assert_eq!(patch.0.len(), 2);
        assert!(!format!("{patch:?}").contains("caBundle"));
    }

    #[test]
    fn a_patch_does_not_hit_a_webhook_that_has_moved() {
        let patch = changes(&configuration(), &names(), "/validate/t", None);
        let mut moved = configuration();
        moved["webhooks"].as_array_mut().unwrap().remove(0);
        assert!(json_patch::patch(&mut moved, &patch).is_err());
    }

    #[test]
    fn only_ours_gets_the_bundle_and_only_once() {
        let names = Names {
            namespace: "pullgate".to_owned(),
            secret: "pullgate".to_owned(),
            service: "pullgate".to_owned(),
            configurations: "pullgate".to_owned(),
            replica: "a".to_owned(),
            aggregated: true,
        };
        let service = json!({"name": "pullgate", "namespace": "pullgate", "port": 443});
        let mut object = json!({"spec": {"group": "admission.pullgate.dev", "service": service}});
        let patch = bundle_changes(&object, &names, "Qg==");
        json_patch::patch(&mut object, &patch).unwrap();
        assert_eq!(object["spec"]["caBundle"], "Qg==");
        assert!(bundle_changes(&object, &names, "Qg==").0.is_empty());
        object["spec"]["service"]["namespace"] = json!("other");
        assert!(bundle_changes(&object, &names, "Qw==").0.is_empty());
    }
}
