//! A pod and whose it is, read with what may be listed: its workload, and the controller that
//! people know it by.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Cluster;
use super::pages::Page;
use crate::history::FailingWorkload;
use crate::kube_views::{OwnerView, controller, is_namespace_name, is_object_name};
use crate::workload::{ObjectRef, Workload, extract, pod_path};

/// How long reading one of them may take.
const CALL_TIME: Duration = Duration::from_secs(5);

/// A pod that fails, and the object that an Event about it belongs on.
#[derive(Debug, Clone)]
pub(crate) struct FailingPod {
    /// The pod, reduced.
    pub workload: Workload,
    /// Its uppermost controller, or the pod itself.
    pub about: ObjectRef,
    /// The uid of that.
    pub uid: Box<str>,
}

#[derive(Deserialize)]
struct PodWire {
    metadata: MetaWire,
}

#[derive(Deserialize)]
struct MetaWire {
    #[serde(default)]
    uid: Box<str>,
}

impl Cluster {
    /// The workloads of which a pod has failed to pull for at least so many seconds.
    pub(crate) fn failing_now(&self, at_least: u32, now: Timestamp) -> Vec<FailingWorkload> {
        self.index(|index| index.failing_now(at_least, now))
    }

    /// Reads a pod that fails, and its controllers; nothing if it is gone, or not in time.
    pub(crate) async fn failing_pod(&self, failing: &FailingWorkload) -> Option<FailingPod> {
        let namespace = &*failing.namespace;
        let text = self.by_name("/api/v1", "pods", namespace, &failing.pod).await?;
        let raw = RawValue::from_string(text).ok()?;
        let workload = extract(&raw, &pod_path("", "Pod")?).ok()?;
        let uid = serde_json::from_str::<PodWire>(raw.get()).ok()?.metadata.uid;
        let Some(owner) = workload.controller.clone() else {
            let about = ObjectRef { namespace: namespace.into(), ..workload.object.clone() };
            return Some(FailingPod { workload, about, uid });
        };
        let mut about = ObjectRef {
            api_version: owner.api_version,
            kind: owner.kind,
            namespace: namespace.into(),
            name: owner.name,
        };
        let mut uid = owner.uid;
        let above = match &*about.kind {
            "ReplicaSet" => {
                self.by_name("/apis/apps/v1", "replicasets", namespace, &about.name).await
            }
            "Job" => self.by_name("/apis/batch/v1", "jobs", namespace, &about.name).await,
            _ => None,
        };
        let above = above.and_then(|text| serde_json::from_str::<OwnerView>(&text).ok());
        if let Some(parent) = above.as_ref().and_then(|owner| controller(&owner.metadata)) {
            about.api_version = parent.api_version.as_str().into();
            about.kind = parent.kind.as_str().into();
            about.name = parent.name.as_str().into();
            uid = parent.uid.as_str().into();
        }
        Some(FailingPod { workload, about, uid })
    }

    /// One object by name, by a list of one: what is watched may be listed.
    async fn by_name(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Option<String> {
        if !is_namespace_name(namespace) || !is_object_name(name) {
            return None;
        }
        let params = ListParams::default().fields(&format!("metadata.name={name}")).limit(1);
        let path = format!("{group}/namespaces/{namespace}/{resource}");
        let text = self.connection.call(Request::new(path).list(&params), CALL_TIME).await.ok()?;
        let page: Page<'_> = serde_json::from_str(&text).ok()?;
        page.items?.first().map(|item| item.get().to_owned())
    }
}
