//! Where an object keeps what will be its pods, and how it is read from there.

use serde_json::value::RawValue;

use super::custom::CustomKind;
use super::extract::{ExtractError, extract};
use super::kind::{PodPath, TektonKind};
use super::object::Workload;
use super::tekton;

/// Where an object keeps what will be its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodPlace {
    /// In a pod (template) at this path.
    Template(PodPath),
    /// In lists of steps and sidecars, as Tekton has them.
    Tekton(TektonKind),
    /// Nowhere: an operator puts the images of this object into pods of its own.
    Custom(&'static CustomKind),
}

impl PodPlace {
    /// Reads an object that keeps its pods here.
    pub fn read(&self, object: &RawValue) -> Result<Workload, ExtractError> {
        match self {
            Self::Template(path) => extract(object, path),
            Self::Tekton(kind) => tekton::extract(object, *kind),
            Self::Custom(kind) => kind.extract(object),
        }
    }
}
