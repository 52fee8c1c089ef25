//! Images that somebody puts into a template after it was applied: OpenShift's image triggers, and
//! injectors.
//!
//! Until then the template has a blank, or whatever its author wrote in their place.
//! <https://docs.redhat.com/en/documentation/openshift_container_platform/4.18/html/images/triggering-updates-on-imagestream-changes>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object::ContainerImage;
use super::view::{HeadView, member};
use crate::kube_views::Text;

/// What injectors (Istio's gateways) have in templates where they put the image into the pod.
const PLACEHOLDER: &str = "auto";
/// The annotation with the triggers of a Deployment and the like.
const TRIGGERS: &str = "image.openshift.io/triggers";
/// A kind with image triggers of its own, in `spec.triggers`.
const DEPLOYMENT_CONFIG: &str = "DeploymentConfig";

/// The containers of a template whose images triggers put in.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    /// Whether there are any, so that a blank is one of theirs.
    any: bool,
    names: Vec<Box<str>>,
    /// Ends of JSON pointers, such as `/containers/0/image`.
    places: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnnotatedTrigger<'a> {
    #[serde(borrow, default)]
    field_path: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigTrigger<'a> {
    #[serde(borrow, default)]
    image_change_params: Option<ImageChange<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageChange<'a> {
    #[serde(borrow, default)]
    container_names: Option<Vec<Text<'a>>>,
}

impl Triggers {
    /// Those of an object, by its head. What cannot be read names no container.
    pub(super) fn of(object: &RawValue, head: &HeadView<'_>) -> Self {
        let annotations = head.metadata.as_ref().and_then(|meta| meta.annotations.as_ref());
        let mut annotations = annotations.into_iter().flatten();
        let annotation = annotations.find(|(key, _)| key.0 == TRIGGERS).map(|(_, value)| value);
        let of_kind = head.kind.as_ref().is_some_and(|kind| kind.0 == DEPLOYMENT_CONFIG);
        let mut triggers = Self { any: of_kind || annotation.is_some(), ..Self::default() };
        if let Some(Some(text)) = annotation {
            let listed: Vec<AnnotatedTrigger<'_>> =
                serde_json::from_str(&text.0).unwrap_or_default();
            for path in listed.iter().filter_map(|trigger| trigger.field_path.as_ref()) {
                triggers.add_path(&path.0);
            }
        }
        if of_kind {
            triggers.names.extend(config_names(object).unwrap_or_default());
        }
        triggers
    }

    /// A path such as `spec.template.spec.containers[?(@.name=="web")].image` or
    /// `spec.template.spec.containers[0].image`.
    fn add_path(&mut self, path: &str) {
        let Some((list, rest)) = path.split_once('[') else { return };
        let list = list.rsplit('.').next().unwrap_or_default();
        let inside = rest.split(']').next().unwrap_or_default();
        if let Ok(index) = inside.parse::<usize>() {
            self.places.push(format!("/{list}/{index}/image"));
        } else if let Some(name) = inside.split(['"', '\'']).nth(1) {
            self.names.push(name.into());
        }
    }

    /// Whether somebody puts another image in the place of this one before any pod is made.
    pub(super) fn fill_in(&self, image: &ContainerImage) -> bool {
        &*image.image == PLACEHOLDER
            || (self.any && image.image.trim().is_empty())
            || self.names.contains(&image.container)
            || self.places.iter().any(|place| image.pointer.ends_with(place))
    }
}

fn config_names(object: &RawValue) -> Option<Vec<Box<str>>> {
    let spec = member(object, "spec").ok()??;
    let triggers = member(spec, "triggers").ok()??;
    let triggers: Vec<ConfigTrigger<'_>> = serde_json::from_str(triggers.get()).ok()?;
    let params = triggers.into_iter().filter_map(|trigger| trigger.image_change_params);
    let names = params.filter_map(|params| params.container_names).flatten();
    Some(names.map(|name| name.boxed()).collect())
}
