//! An object that makes pods, reduced to what decides about pulling.

use serde::Serialize;

use super::placement::Placement;
use super::rollout::PodCount;

/// What an object is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// `apiVersion`.
    pub api_version: Box<str>,
    /// `kind`.
    pub kind: Box<str>,
    /// The namespace, empty if none is given.
    pub namespace: Box<str>,
    /// The name; for an object that gets its name from the API server, its `generateName`.
    pub name: Box<str>,
}

/// The controller that made an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The owner's `apiVersion`.
    pub api_version: Box<str>,
    /// The owner's kind.
    pub kind: Box<str>,
    /// The owner's name.
    pub name: Box<str>,
    /// The owner's uid.
    pub uid: Box<str>,
}

/// An object that makes pods, or a pod, reduced to what decides about pulling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// What the object is called.
    pub object: ObjectRef,
    /// The object's uid, empty before it has one.
    pub uid: Box<str>,
    /// Whether it is a pod: where the truth is. Everything else is a prediction.
    pub is_pod: bool,
    /// Whether it mirrors a static pod: then nothing can be prevented any more.
    pub is_mirror: bool,
    /// The owner reference that has `controller: true`.
    pub controller: Option<Owner>,
    /// The annotations under `pullgate.dev/`, those of the template included.
    pub annotations: Vec<(Box<str>, Box<str>)>,
    /// Every image that will be pulled, in the order of the spec.
    pub images: Vec<ContainerImage>,
    /// The names in `imagePullSecrets`, in order, empty ones left out.
    pub pull_secrets: Vec<Box<str>>,
    /// The ServiceAccount that the pods will have; nothing where the object does not know it, so
    /// that nobody can say which pull secrets they will have beside their own.
    pub service_account: Option<Box<str>>,
    /// On which nodes the pods may land.
    pub placement: Placement,
    /// How many pods it makes.
    pub pods: PodCount,
}

/// One image of a workload, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerImage {
    /// What it is the image of.
    pub kind: ContainerKind,
    /// The container's or volume's name.
    pub container: Box<str>,
    /// The image as written.
    pub image: Box<str>,
    /// The pull policy, defaulted as the API server does.
    pub pull_policy: ImagePullPolicy,
    /// The JSON pointer of the image field.
    pub pointer: Box<str>,
}

/// What pulls an image in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerKind {
    /// `initContainers`, sidecars among them.
    Init,
    /// `containers`.
    Regular,
    /// `ephemeralContainers`.
    Ephemeral,
    /// A volume of type `image`.
    ImageVolume,
}

/// When a node asks the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImagePullPolicy {
    /// Every time.
    Always,
    /// Only if the image is not on the node.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl ImagePullPolicy {
    /// The policy as written in a spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }

    /// An absent policy is defaulted as the API server does, per container: `Always` for the tag
    /// `latest`, written or implied, else `IfNotPresent` (`SetDefaults_Container` in
    /// `pkg/apis/core/v1/defaults.go` of kubernetes).
    pub(super) fn of(written: &str, image: &str) -> Self {
        match written {
            "Always" => Self::Always,
            "Never" => Self::Never,
            "IfNotPresent" => Self::IfNotPresent,
            _ if crate::image::defaults_to_always(image) => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

impl Workload {
    /// Of how many parts it consists: what takes memory beside the texts in them.
    pub(crate) fn parts(&self) -> usize {
        let lists = self.images.len() + self.pull_secrets.len() + self.annotations.len();
        lists + self.placement.parts()
    }

    /// Whether nothing is pulled for it as it is now: its pods come when somebody changes it.
    pub fn makes_no_pods(&self) -> bool {
        matches!(self.pods, PodCount::Count(0) | PodCount::Paused)
    }

    /// Whether its pods come at times of its own, each of an object that is judged when it is made.
    pub(crate) fn is_scheduled(&self) -> bool {
        &*self.object.kind == "CronJob"
    }

    /// A pod with this image alone, pulled at every start, of the ServiceAccount `default`.
    pub(crate) fn of_image(image: &str) -> Self {
        Self {
            object: ObjectRef::default(),
            uid: Box::default(),
            is_pod: true,
            is_mirror: false,
            controller: None,
            annotations: Vec::new(),
            images: vec![ContainerImage {
                kind: ContainerKind::Regular,
                container: Box::default(),
                image: image.into(),
                pull_policy: ImagePullPolicy::Always,
                pointer: Box::default(),
            }],
            pull_secrets: Vec::new(),
            service_account: Some("default".into()),
            placement: Placement::default(),
            pods: PodCount::Count(1),
        }
    }

    /// The same as it is in a file, where what Tekton fills in by its own defaults is missing: an
    /// account, pull secrets, constraints.
    #[must_use]
    pub fn before_defaults(self) -> Self {
        let account = self.service_account.filter(|_| !self.pull_secrets.is_empty());
        Self { service_account: account, placement: Placement::not_yet_known(), ..self }
    }

    /// The value of one of our annotations.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.iter().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
    }
}
