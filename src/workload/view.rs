//! The borrowed subset of pod-bearing objects: exactly the fields that decide about pulling.
//!
//! A `null` is an absent field, as in Go.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::kube_views::Text;

/// The text of an optional field where it stands, empty if it is absent.
pub(super) fn plain<'t>(field: Option<&'t Text<'_>>) -> &'t str {
    field.map_or("", |text| &text.0)
}

/// The text of an optional field, empty if it is absent.
pub(super) fn text(field: Option<&Text<'_>>) -> Box<str> {
    field.map(Text::boxed).unwrap_or_default()
}

pub(super) type Seq<T> = Option<Vec<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetadataView<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    #[serde(borrow)]
    pub generate_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub namespace: Option<Text<'a>>,
    #[serde(borrow)]
    pub uid: Option<Text<'a>>,
    #[serde(borrow)]
    pub annotations: Option<BTreeMap<Text<'a>, Option<Text<'a>>>>,
    #[serde(borrow)]
    pub owner_references: Seq<OwnerView<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnerView<'a> {
    #[serde(borrow)]
    pub api_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    #[serde(borrow)]
    pub uid: Option<Text<'a>>,
    pub controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpecView<'a> {
    #[serde(borrow)]
    pub containers: Seq<ContainerView<'a>>,
    #[serde(borrow)]
    pub init_containers: Seq<ContainerView<'a>>,
    #[serde(borrow)]
    pub ephemeral_containers: Seq<ContainerView<'a>>,
    #[serde(borrow)]
    pub volumes: Seq<VolumeView<'a>>,
    #[serde(borrow)]
    pub image_pull_secrets: Seq<NameView<'a>>,
    #[serde(borrow)]
    pub service_account_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub service_account: Option<Text<'a>>,
    #[serde(borrow)]
    pub node_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub node_selector: Option<BTreeMap<Text<'a>, Option<Text<'a>>>>,
    #[serde(borrow)]
    pub affinity: Option<AffinityView<'a>>,
    #[serde(borrow)]
    pub tolerations: Seq<TolerationView<'a>>,
    pub scheduling_gates: Seq<IgnoredAny>,
    #[serde(borrow)]
    pub os: Option<NameView<'a>>,
    #[serde(borrow)]
    pub scheduler_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub runtime_class_name: Option<Text<'a>>,
    pub resource_claims: Seq<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerView<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    #[serde(borrow)]
    pub image: Option<Text<'a>>,
    #[serde(borrow)]
    pub image_pull_policy: Option<Text<'a>>,
    /// A step of Tekton's that is written elsewhere.
    #[serde(rename = "ref")]
    pub refers: Option<IgnoredAny>,
    /// `resources`; Tekton's older `computeResources` ask in its own pods only.
    #[serde(borrow)]
    pub resources: Option<ResourcesView<'a>>,
}

/// What a container asks for. Amounts are text or numbers.
#[derive(Debug, Deserialize)]
pub(super) struct ResourcesView<'a> {
    #[serde(borrow)]
    pub requests: Option<BTreeMap<Text<'a>, &'a RawValue>>,
    #[serde(borrow)]
    pub limits: Option<BTreeMap<Text<'a>, &'a RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeView<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    #[serde(borrow)]
    pub image: Option<ImageVolumeView<'a>>,
    pub persistent_volume_claim: Option<IgnoredAny>,
    pub ephemeral: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageVolumeView<'a> {
    #[serde(borrow)]
    pub reference: Option<Text<'a>>,
    #[serde(borrow)]
    pub pull_policy: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NameView<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AffinityView<'a> {
    #[serde(borrow)]
    pub node_affinity: Option<NodeAffinityView<'a>>,
    pub pod_affinity: Option<PodAffinityView>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PodAffinityView {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Seq<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeAffinityView<'a> {
    #[serde(borrow, rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelectorView<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeSelectorView<'a> {
    #[serde(borrow)]
    pub node_selector_terms: Seq<TermView<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TermView<'a> {
    #[serde(borrow)]
    pub match_expressions: Seq<RequirementView<'a>>,
    #[serde(borrow)]
    pub match_fields: Seq<RequirementView<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RequirementView<'a> {
    #[serde(borrow)]
    pub key: Option<Text<'a>>,
    #[serde(borrow)]
    pub operator: Option<Text<'a>>,
    #[serde(borrow)]
    pub values: Seq<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TolerationView<'a> {
    #[serde(borrow)]
    pub key: Option<Text<'a>>,
    #[serde(borrow)]
    pub operator: Option<Text<'a>>,
    #[serde(borrow)]
    pub value: Option<Text<'a>>,
    #[serde(borrow)]
    pub effect: Option<Text<'a>>,
}

/// `metadata` and `spec` of a pod or a pod template, undecoded.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodView<'a> {
    #[serde(borrow)]
    pub metadata: Option<MetadataView<'a>>,
    #[serde(borrow)]
    pub spec: Option<PodSpecView<'a>>,
}

/// A pod, head and all: read in one go.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WholePodView<'a> {
    #[serde(borrow)]
    pub api_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub metadata: Option<MetadataView<'a>>,
    #[serde(borrow)]
    pub spec: Option<PodSpecView<'a>>,
}

/// The head of any object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HeadView<'a> {
    #[serde(borrow)]
    pub api_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub metadata: Option<MetadataView<'a>>,
}

/// The undecoded value of one key of a JSON object; everything else is skipped.
pub(super) fn member<'a>(
    object: &'a RawValue,
    key: &str,
) -> Result<Option<&'a RawValue>, serde_json::Error> {
    struct Pick<'k>(&'k str);

    impl<'de> Visitor<'de> for Pick<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Text<'de>>()? {
                if key.0 == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    let mut json = serde_json::Deserializer::from_str(object.get());
    serde::Deserializer::deserialize_any(&mut json, Pick(key))
}
