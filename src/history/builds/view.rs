//! What builds, as it is observed: what its containers are told, and how far it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::history::related::BuildState;

/// What may build an image.
#[derive(Debug, Clone)]
pub struct BuildView {
    pub(super) metadata: ObjectMeta,
    pub(super) steps: Steps,
    pub(super) state: BuildState,
}

/// Its containers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Steps {
    pub(super) init_containers: Vec<Step>,
    pub(super) containers: Vec<Step>,
}

/// What one container is told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) image: Box<str>,
    pub(super) command: Vec<Box<str>>,
    pub(super) args: Vec<Box<str>>,
    /// What a step of Tekton runs instead.
    pub(super) script: Box<str>,
    pub(super) env: Vec<Variable>,
}

/// A variable; without a value it comes from somewhere else.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Variable {
    pub(super) name: Box<str>,
    pub(super) value: Box<str>,
}
