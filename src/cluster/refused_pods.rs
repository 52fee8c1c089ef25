//! Pods that the API server refused to a controller, with the words of the refusal: asked with the
//! person's own rights, in one namespace, and never kept.

use std::time::Instant;

use jiff::Timestamp;

use super::Cluster;
use super::error::ClusterError;
use super::pages::Pages;
use crate::kube_views::EventView;

/// Events that are read.
const MAX_EVENTS: usize = 2000;

/// Pods of one controller that were refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct RefusedPods {
    /// `Deployment`, `Job`, …: the uppermost controller that is known.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How often, as far as the events say.
    pub times: u32,
    /// When last.
    pub last: Option<Timestamp>,
    /// The words of the last refusal, as the event has them.
    pub message: String,
}

impl Cluster {
    /// The controllers of a namespace whose pods were refused, as its `FailedCreate` events say;
    /// the latest first. Owners are those of the survey.
    pub(crate) async fn refused_pods(
        &self,
        namespace: &str,
        deadline: Instant,
    ) -> Result<Vec<RefusedPods>, ClusterError> {
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let fields = Some("reason=FailedCreate".to_owned());
        let mut pages = Pages::of(&self.connection, &path, fields, self.tuning);
        let mut found: Vec<RefusedPods> = Vec::new();
        let mut read = 0;
        while read < MAX_EVENTS {
            let page = tokio::time::timeout_at(deadline.into(), pages.next()).await;
            let page = page.map_err(|_late| ClusterError::Late)?.map_err(ClusterError::List)?;
            let Some(events) = page else { break };
            for event in events {
                read += 1;
                if let Ok(event) = serde_json::from_str::<EventView>(event.get()) {
                    self.add_refusal(&mut found, &event);
                }
            }
        }
        found.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.name.cmp(&b.name)));
        Ok(found)
    }

    fn add_refusal(&self, found: &mut Vec<RefusedPods>, event: &EventView) {
        let object = &event.involved_object;
        let [kind, namespace, name] = {
            let memory = self.memory.lock();
            memory.index.owner_of([&object.kind, &object.namespace, &object.name])
        };
        let refused = RefusedPods {
            kind,
            namespace,
            name,
            times: event.times(),
            last: event.at(),
            message: event.message.to_string(),
        };
        let same = |one: &&mut RefusedPods| {
            (&one.kind, &one.namespace, &one.name)
                == (&refused.kind, &refused.namespace, &refused.name)
        };
        match found.iter_mut().find(same) {
            Some(known) => {
                known.times = known.times.saturating_add(refused.times);
                if refused.last >= known.last {
                    (known.last, known.message) = (refused.last, refused.message);
                }
            }
            None => found.push(refused),
        }
    }
}
