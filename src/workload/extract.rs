//! From an object's bytes to a [`Workload`].

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::kind::PodPath;
use super::object::{ContainerImage, ContainerKind, ImagePullPolicy, ObjectRef, Owner, Workload};
use super::placement::Placement;
use super::rollout::PodCount;
use super::triggers::Triggers;
use super::view::{
    ContainerView, HeadView, MetadataView, PodSpecView, PodView, VolumeView, WholePodView, member,
    text,
};
use crate::text::cut;

/// The prefix of the annotations that are ours.
const OUR_ANNOTATIONS: &str = "pullgate.dev/";
/// The API server's mirror of a static pod; the kubelet made it after the fact.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Pull secrets of one pod that are read; whatever the others bring is unknown. Pods have a few.
pub(crate) const PULL_SECRETS_AT_MOST: usize = 64;
/// Names of objects have so many bytes at most (DNS-1123 subdomains).
const LONGEST_NAME: usize = 253;

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// It is not what its kind says: a wrong type somewhere.
    #[error("failed to read the {part} of this object")]
    Unreadable {
        /// Which part was being read.
        part: &'static str,
        /// What was wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads an object whose pod (template) is at `path`.
pub fn extract(object: &RawValue, path: &PodPath) -> Result<Workload, ExtractError> {
    if path.is_pod()
        && let Ok(pod) = serde_json::from_str::<PodObject<'_>>(object.get())
    {
        return Ok(pod.to_workload());
    }
    // What of a pod cannot be read as a whole has a part that cannot.
    let (top, pod) = template(object, path)?;
    let spec = pod.spec.unwrap_or_default();
    let none = MetadataView::default();
    let metadata = top.metadata.as_ref().unwrap_or(&none);
    let mut annotations = ours(metadata);
    let template = pod.metadata.as_ref().map(ours).unwrap_or_default();
    annotations.extend(
        template
            .into_iter()
            .filter(|(key, _)| metadata_has(metadata, key).is_none())
            .collect::<Vec<_>>(),
    );
    let triggers = Triggers::of(object, &top);
    let head = head(&top);
    let pods = PodCount::of(&head.object.kind, object);
    Ok(Workload {
        annotations,
        images: images(&spec, &path.spec_pointer())
            .into_iter()
            .filter(|image| !is_unnamed_volume(image) && !triggers.fill_in(image))
            .collect(),
        pods,
        ..of_spec(&spec, head)
    })
}

/// A pod where it stands in something larger: it is read in the same pass. Most reviews are of pods.
#[derive(Debug)]
pub struct PodObject<'a> {
    head: HeadView<'a>,
    spec: PodSpecView<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for PodObject<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let WholePodView { api_version, kind, metadata, spec } = WholePodView::deserialize(json)?;
        let head = HeadView { api_version, kind, metadata };
        Ok(Self { head, spec: spec.unwrap_or_default() })
    }
}

impl PodObject<'_> {
    /// What decides about pulling.
    pub(crate) fn to_workload(&self) -> Workload {
        let annotation = |metadata| metadata_has(metadata, MIRROR_ANNOTATION);
        let is_mirror = self.head.metadata.as_ref().and_then(annotation).is_some();
        Workload {
            is_pod: true,
            is_mirror,
            images: images(&self.spec, "/spec"),
            pods: PodCount::Count(1),
            ..of_spec(&self.spec, head(&self.head))
        }
    }
}

/// What a pod's spec adds to the head of its object, beside images.
fn of_spec(spec: &PodSpecView<'_>, head: Workload) -> Workload {
    Workload {
        pull_secrets: pull_secrets(spec),
        service_account: Some(service_account(spec)),
        placement: Placement::of(spec),
        ..head
    }
}

/// The head of an object, and the pod (template) at `path`.
fn template<'a>(
    object: &'a RawValue,
    path: &PodPath,
) -> Result<(HeadView<'a>, PodView<'a>), ExtractError> {
    let top: HeadView<'_> = read(object, "head")?;
    let mut place = Some(object);
    for key in path.keys() {
        place = match place {
            Some(value) => member(value, key)
                .map_err(|source| ExtractError::Unreadable { part: "pod template", source })?,
            None => None,
        };
    }
    let pod: PodView<'_> = match place {
        Some(value) => read::<Option<PodView<'_>>>(value, "pod spec")?.unwrap_or_default(),
        None => PodView::default(),
    };
    Ok((top, pod))
}

/// A workload of which only the head was read: it has no images, and is no pod.
pub(super) fn head(view: &HeadView<'_>) -> Workload {
    let none = MetadataView::default();
    let metadata = view.metadata.as_ref().unwrap_or(&none);
    Workload {
        object: ObjectRef {
            api_version: text(view.api_version.as_ref()),
            kind: text(view.kind.as_ref()),
            namespace: text(metadata.namespace.as_ref()),
            name: match text(metadata.name.as_ref()) {
                name if name.is_empty() => text(metadata.generate_name.as_ref()),
                name => name,
            },
        },
        uid: text(metadata.uid.as_ref()),
        is_pod: false,
        is_mirror: false,
        controller: controller(metadata),
        annotations: ours(metadata),
        images: Vec::new(),
        pull_secrets: Vec::new(),
        service_account: None,
        placement: Placement::default(),
        pods: PodCount::default(),
    }
}

/// The names in `imagePullSecrets`; of longer lists one more than is read, and of a name that no Secret
/// can have what is enough to tell.
pub(super) fn pull_secrets(spec: &PodSpecView<'_>) -> Vec<Box<str>> {
    let names = spec.image_pull_secrets.iter().flatten().filter_map(|secret| secret.name.as_ref());
    let names = names.map(|name| cut(&name.0, LONGEST_NAME + 1)).filter(|name| !name.is_empty());
    names.map(Box::from).take(PULL_SECRETS_AT_MOST + 1).collect()
}

pub(super) fn read<'a, T: Deserialize<'a>>(
    value: &'a RawValue,
    part: &'static str,
) -> Result<T, ExtractError> {
    serde_json::from_str(value.get()).map_err(|source| ExtractError::Unreadable { part, source })
}

fn ours(metadata: &MetadataView<'_>) -> Vec<(Box<str>, Box<str>)> {
    metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| key.0.starts_with(OUR_ANNOTATIONS))
        .map(|(key, value)| (key.boxed(), text(value.as_ref())))
        .collect()
}

fn metadata_has<'m>(metadata: &'m MetadataView<'_>, name: &str) -> Option<&'m str> {
    let annotations = metadata.annotations.as_ref()?;
    let (_, value) = annotations.iter().find(|(key, _)| key.0 == name)?;
    Some(value.as_ref().map_or("", |value| value.0.as_ref()))
}

fn controller(metadata: &MetadataView<'_>) -> Option<Owner> {
    let owners = metadata.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true))
        .map(|owner| Owner {
            api_version: text(owner.api_version.as_ref()),
            kind: text(owner.kind.as_ref()),
            name: text(owner.name.as_ref()),
            uid: text(owner.uid.as_ref()),
        })
        .next()
}

/// `serviceAccountName`, else its deprecated alias, else `default`, as the API server fills it in.
fn service_account(spec: &PodSpecView<'_>) -> Box<str> {
    [spec.service_account_name.as_ref(), spec.service_account.as_ref()]
        .into_iter()
        .map(text)
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "default".into())
}

/// Whether it is an image volume that names no image yet. In a template one may: the API server wants it
/// in pods only (`validateImageVolumeSource` in `pkg/apis/core/validation` of kubernetes).
fn is_unnamed_volume(image: &ContainerImage) -> bool {
    image.kind == ContainerKind::ImageVolume && image.image.is_empty()
}

/// The images of a pod spec that stands at `pointer`.
pub(super) fn images(spec: &PodSpecView<'_>, pointer: &str) -> Vec<ContainerImage> {
    let lists = [
        (ContainerKind::Init, "initContainers", &spec.init_containers),
        (ContainerKind::Regular, "containers", &spec.containers),
        (ContainerKind::Ephemeral, "ephemeralContainers", &spec.ephemeral_containers),
    ];
    let mut images = Vec::new();
    for (kind, key, list) in lists {
        for (index, container) in list.iter().flatten().enumerate() {
            let pointer = [pointer, "/", key, "/", &index.to_string(), "/image"].concat();
            images.push(container_image(container, kind, pointer));
        }
    }
    images.extend(volume_images(spec.volumes.as_deref().unwrap_or_default(), pointer));
    images
}

/// The images of volumes of type `image`.
pub(super) fn volume_images(volumes: &[VolumeView<'_>], pointer: &str) -> Vec<ContainerImage> {
    let mut images = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let Some(source) = &volume.image else { continue };
        let image = text(source.reference.as_ref());
        let policy = text(source.pull_policy.as_ref());
        images.push(ContainerImage {
            kind: ContainerKind::ImageVolume,
            container: text(volume.name.as_ref()),
            pull_policy: ImagePullPolicy::of(&policy, &image),
            image,
            pointer: format!("{pointer}/volumes/{index}/image/reference").into(),
        });
    }
    images
}

fn container_image(
    container: &ContainerView<'_>,
    kind: ContainerKind,
    pointer: String,
) -> ContainerImage {
    let image = text(container.image.as_ref());
    let policy = text(container.image_pull_policy.as_ref());
    ContainerImage {
        kind,
        container: text(container.name.as_ref()),
        pull_policy: ImagePullPolicy::of(&policy, &image),
        image,
        pointer: pointer.into(),
    }
}
