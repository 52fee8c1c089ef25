//! The slim shapes of Kubernetes objects: what is decoded of each, and nothing more.

mod object_name;
mod pod;
mod text;
mod uid;

pub use object_name::{is_namespace_name, is_object_name};
pub(crate) use pod::slim_meta;
pub use pod::{
    ContainerStatusView, ContainerView, EventView, InvolvedObject, OwnerView, PodSpecView,
    PodStatusView, PodView, RunningView, SecretName, SeriesView, StateView, TerminatedView,
    WaitingView, controller,
};
pub(crate) use text::Text;
pub use uid::{Listed, Uid};
