//! The patch of a pod: a pull secret appended, a tag pinned to its digest.
//!
//! It appends to lists and replaces nothing that a person wrote but the image, whose original it
//! keeps. Applied to a pod that has been patched, the same changes give no patch.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, ReplaceOperation};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::encode::Patch;

/// The annotation that keeps what images were before they were pinned: a JSON object of images by
/// container, or by `volumes/<name>`.
const ORIGINAL_IMAGES_ANNOTATION: &str = "pullgate.dev/original-images";

/// What is to be changed in a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PodChanges {
    /// Names of pull secrets to append.
    pub pull_secrets: Vec<Box<str>>,
    /// Images to pin.
    pub pins: Vec<Pin>,
}

/// An image to pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The JSON pointer of the image field.
    pub pointer: Box<str>,
    /// The container's name, or `volumes/<name>`.
    pub place: Box<str>,
    /// The image as written.
    pub original: Box<str>,
    /// The image as it is to be.
    pub pinned: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodView {
    metadata: Option<MetadataView>,
    spec: Option<SpecView>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetadataView {
    annotations: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecView {
    image_pull_secrets: Option<Vec<NameView>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NameView {
    name: Option<String>,
}

/// The patch that makes these changes to this pod; nothing if there is nothing to change, or if
/// the pod is not one that can be read.
pub(crate) fn patch_pod(pod: &RawValue, changes: &PodChanges) -> Option<Patch> {
    let view: PodView = serde_json::from_str(pod.get()).ok()?;
    let mut operations = Vec::new();
    append_secrets(&view.spec.unwrap_or_default(), &changes.pull_secrets, &mut operations)?;
    pin_images(view.metadata.as_ref(), &changes.pins, &mut operations)?;
    (!operations.is_empty()).then_some(Patch(json_patch::Patch(operations)))
}

fn append_secrets(
    spec: &SpecView,
    wanted: &[Box<str>],
    operations: &mut Vec<PatchOperation>,
) -> Option<()> {
    let listed = spec.image_pull_secrets.as_deref().unwrap_or_default();
    let mut exists = spec.image_pull_secrets.is_some();
    for name in wanted {
        if listed.iter().any(|secret| secret.name.as_deref() == Some(name)) {
            continue;
        }
        let entry = json!({"name": name});
        operations.push(if exists {
            add("/spec/imagePullSecrets/-", entry)?
        } else {
            add("/spec/imagePullSecrets", json!([entry]))?
        });
        exists = true;
    }
    Some(())
}

fn pin_images(
    metadata: Option<&MetadataView>,
    pins: &[Pin],
    operations: &mut Vec<PatchOperation>,
) -> Option<()> {
    let pins: Vec<&Pin> = pins.iter().filter(|pin| pin.original != pin.pinned).collect();
    if pins.is_empty() {
        return Some(());
    }
    let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
    let kept = annotations.and_then(|all| all.get(ORIGINAL_IMAGES_ANNOTATION));
    let mut originals: BTreeMap<String, String> = match kept.and_then(Option::as_deref) {
        None | Some("") => BTreeMap::new(),
        // What is not ours stays as it is, and without a place for the originals nothing is pinned.
        Some(text) => match serde_json::from_str(text) {
            Ok(originals) => originals,
            Err(_) => return Some(()),
        },
    };
    for pin in pins {
        operations.push(PatchOperation::Replace(ReplaceOperation {
            path: PointerBuf::parse(pin.pointer.to_string()).ok()?,
            value: Value::from(&*pin.pinned),
        }));
        originals.entry(pin.place.to_string()).or_insert_with(|| pin.original.to_string());
    }
    let text = Value::from(serde_json::to_string(&originals).ok()?);
    if metadata.is_none() {
        operations.push(add("/metadata", json!({}))?);
    }
    operations.push(if annotations.is_some() {
        let key = ORIGINAL_IMAGES_ANNOTATION.replace('/', "~1");
        add(&format!("/metadata/annotations/{key}"), text)?
    } else {
        let mut map = serde_json::Map::new();
        map.insert(ORIGINAL_IMAGES_ANNOTATION.to_owned(), text);
        add("/metadata/annotations", Value::Object(map))?
    });
    Some(())
}

fn add(path: &str, value: Value) -> Option<PatchOperation> {
    let path = PointerBuf::parse(path.to_owned()).ok()?;
    Some(PatchOperation::Add(AddOperation { path, value }))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PINNED: &str =
        "r.io/a@sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn changes() -> PodChanges {
        PodChanges {
            pull_secrets: vec!["regcred".into()],
            pins: vec![Pin {
                pointer: "/spec/containers/0/image".into(),
                place: "app".into(),
                original: "r.io/a:1".into(),
                pinned: PINNED.into(),
            }],
        }
    }

    fn patched(mut pod: Value, changes: &PodChanges) -> Value {
        let raw = serde_json::value::to_raw_value(&pod).unwrap();
        if let Some(patch) = patch_pod(&raw, changes) {
            json_patch::patch(&mut pod, &patch.0).unwrap();
        }
        pod
    }

    #[rstest]
    #[case(json!({"spec": {"containers": [{"name": "app", "image": "r.io/a:1"}]}}), json!({}))]
    #[case(json!({"metadata": {"annotations": null}, "spec": {"imagePullSecrets": null, "containers": [{"name": "app", "image": "r.io/a:1"}]}}), json!({}))]
    #[case(json!({"metadata": {"annotations": {"own": "x"}}, "spec": {"imagePullSecrets": [{"name": "mine"}], "containers": [{"name": "app", "image": "r.io/a:1"}]}}), json!({"own": "x"}))]
    fn a_second_time_changes_nothing(#[case] pod: Value, #[case] kept: Value) {
        let once = patched(pod.clone(), &changes());
        assert_eq!(once["spec"]["containers"][0]["image"], PINNED);
        let originals = &once["metadata"]["annotations"][ORIGINAL_IMAGES_ANNOTATION];
        assert_eq!(originals, r#"{"app":"r.io/a:1"}"#);
        for (key, value) in kept.as_object().unwrap() {
            assert_eq!(&once["metadata"]["annotations"][key], value);
        }
        let listed = once["spec"]["imagePullSecrets"].as_array().unwrap();
        assert_eq!(listed.last().unwrap()["name"], "regcred");
        assert_eq!(
            listed.len(),
            pod["spec"]["imagePullSecrets"].as_array().map_or(1, |l| l.len() + 1)
        );
        assert_eq!(patched(once.clone(), &changes()), once);
    }

    #[test]
    fn the_first_original_is_kept() {
        let annotations = json!({ORIGINAL_IMAGES_ANNOTATION: r#"{"app":"r.io/a:0"}"#});
        let pod = json!({"metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": "r.io/a:1"}]}});
        let kept = &patched(pod, &changes())["metadata"]["annotations"][ORIGINAL_IMAGES_ANNOTATION];
        assert_eq!(kept, r#"{"app":"r.io/a:0"}"#);
    }

    #[test]
    fn an_annotation_that_is_not_ours_stays_and_nothing_is_pinned() {
        let pod = json!({"metadata": {"annotations": {ORIGINAL_IMAGES_ANNOTATION: "by hand"}},
            "spec": {"imagePullSecrets": [{"name": "regcred"}], "containers": [{"name": "app", "image": "r.io/a:1"}]}});
        assert_eq!(patched(pod.clone(), &changes()), pod);
    }

    #[test]
    fn no_change_is_no_patch() {
        let pod = serde_json::value::to_raw_value(&json!({"spec": {}})).unwrap();
        assert_eq!(patch_pod(&pod, &PodChanges::default()), None);
    }
}
