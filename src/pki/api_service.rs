//! The CA bundle of the `APIService` by which the API server passes reviews on. Nothing else of it
//! is touched.

use json_patch::{AddOperation, Patch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PatchParams};
use serde_json::{Value, json};

use super::Names;

/// Its name is its version and group.
const NAME: &str = "v1.admission.pullgate.dev";

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
        let Some(found) = self.api.get_opt(NAME).await? else { return Ok(false) };
        let patch = changes(&found.data, names, bundle);
        if patch.0.is_empty() {
            return Ok(false);
        }
        let patch = kube::api::Patch::Json::<()>(patch);
        match self.api.patch(NAME, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(true),
            // Somebody changed it meanwhile: look again soon.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn changes(object: &Value, names: &Names, bundle: &str) -> Patch {
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
        let patch = changes(&object, &names, "Qg==");
        json_patch::patch(&mut object, &patch).unwrap();
        assert_eq!(object["spec"]["caBundle"], "Qg==");
        assert!(changes(&object, &names, "Qg==").0.is_empty());
        object["spec"]["service"]["namespace"] = json!("other");
        assert!(changes(&object, &names, "Qw==").0.is_empty());
    }
}
