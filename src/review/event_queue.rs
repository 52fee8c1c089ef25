//! Workloads that were warned of, handed on to whoever writes Events.

use crate::workload::{ObjectRef, Workload};

/// An object that was warned of, or denied.
#[derive(Debug, Clone)]
pub struct EventRequest {
    /// The object, reduced.
    pub workload: Workload,
    /// Its namespace.
    pub namespace: Box<str>,
}

/// Where concerns go. Taking one never waits; one too many is dropped.
pub trait EventQueue: Send + Sync {
    /// Takes a concern.
    fn offer(&self, event_request: EventRequest);
}

impl EventRequest {
    /// What an Event would be about, with its uid: the controller, else the object. Nothing if it
    /// has no uid yet.
    pub fn about(&self) -> Option<(ObjectRef, Box<str>)> {
        let namespace = self.namespace.clone();
        let (about, uid) = if let Some(owner) = &self.workload.controller {
            let (api_version, kind) = (owner.api_version.clone(), owner.kind.clone());
            let name = owner.name.clone();
            (ObjectRef { api_version, kind, namespace, name }, owner.uid.clone())
        } else {
            let object = self.workload.object.clone();
            (ObjectRef { namespace, ..object }, self.workload.uid.clone())
        };
        (!uid.is_empty() && !about.name.is_empty()).then_some((about, uid))
    }
}
