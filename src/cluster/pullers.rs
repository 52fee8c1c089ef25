//! Everything that would pull an image again, listed once with the rights of who asks: pods, and the
//! objects with templates from which pods will be made.

use std::time::Instant;

use serde_json::value::RawValue;

use super::Cluster;
use super::error::ClusterError;
use super::pages::Pages;
use super::templates::RestView;
use crate::history::Visibility;
use crate::risk::{Needs, PullerName};
use crate::workload::{WorkloadKind, built_in_kinds, extract, pod_path};

impl Cluster {
    /// Lists all that would pull an image again, as far as a survey of this cluster reached; with it
    /// the resources that may not be listed. Owners are those of the survey.
    pub async fn needs(
        &self,
        visibility: &Visibility,
        deadline: Instant,
    ) -> Result<(Needs, Vec<&'static str>), ClusterError> {
        let (mut needs, mut left_out) = (Needs::default(), Vec::new());
        let within: Vec<Option<&str>> = match visibility {
            Visibility::Cluster => vec![None],
            Visibility::Namespaces(names) => names.iter().map(|name| Some(&**name)).collect(),
        };
        // Nothing makes pods of a PodTemplate by itself.
        for kind in built_in_kinds().iter().filter(|kind| kind.kind != "PodTemplate") {
            for namespace in &within {
                let listing = self.add_needs(&mut needs, kind, *namespace);
                let listed = tokio::time::timeout_at(deadline.into(), listing).await;
                match listed.map_err(|_late| ClusterError::Late)? {
                    Err(error) if error.is_forbidden() => {
                        if !left_out.contains(&kind.resource) {
                            left_out.push(kind.resource);
                        }
                    }
                    other => other?,
                }
            }
        }
        Ok((needs, left_out))
    }

    async fn add_needs(
        &self,
        needs: &mut Needs,
        kind: &WorkloadKind,
        namespace: Option<&str>,
    ) -> Result<(), ClusterError> {
        let group = match kind.group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        let place = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        let path = format!("{group}{place}/{}", kind.resource);
        let mut pages = Pages::of(&self.connection, &path, None, self.tuning);
        while let Some(objects) = pages.next().await.map_err(ClusterError::List)? {
            for object in objects {
                self.add_need(needs, kind, object);
            }
        }
        Ok(())
    }

    /// What does not decode needs nothing that could be asked for.
    fn add_need(&self, needs: &mut Needs, kind: &WorkloadKind, object: &RawValue) {
        let rest = serde_json::from_str::<RestView<'_>>(object.get()).unwrap_or_default();
        let (Some(when), Some(path)) = (rest.when(kind.kind), pod_path(kind.group, kind.kind))
        else {
            return;
        };
        let Ok(workload) = extract(object, &path) else { return };
        let own = &workload.object;
        let controlled = workload.controller.as_ref();
        // Its pods are listed, and what controls it makes the next ones.
        let made = match kind.kind {
            "ReplicaSet" => controlled.is_some(),
            "Job" => controlled.is_some_and(|owner| &*owner.kind == "CronJob"),
            _ => false,
        };
        if made {
            return;
        }
        let [kind, name] = match controlled.filter(|_| workload.is_pod) {
            Some(owner) => [&*owner.kind, &*owner.name],
            None => [kind.kind, &*own.name],
        };
        let [kind, _, name] = self.owner_of([kind, &own.namespace, name]);
        let name = PullerName { kind: kind.into(), name: name.into() };
        let node = rest.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let node = node.map_or("", |node| &node.0);
        let at = workload.is_pod.then_some((&*own.name, node));
        needs.add(&workload, &own.namespace, &name, when, at);
    }
}
