//! Who needs which image, with which credentials.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::workload::{ContainerKind, ImagePullPolicy, Placement, Workload};

/// When something would pull its images again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// It has pods, or wants some: when one of them has to start elsewhere.
    Runs,
    /// It is scaled to zero: when it is scaled up.
    AtZero,
    /// At its next run.
    BetweenRuns,
    /// When it is resumed.
    Suspended,
    /// When a node joins that it is for.
    NodesToCome,
}

/// A controller that people know, or a pod that has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PullerName {
    /// Its kind, such as `Deployment`.
    pub kind: Box<str>,
    /// Its name; its namespace is that of the need.
    pub name: Box<str>,
}

/// Who needs an image.
#[derive(Debug, Clone)]
pub struct Puller {
    /// When it would pull it again.
    pub when: When,
    /// `Always` if any of its containers says so.
    pub pull_policy: ImagePullPolicy,
    /// Where new pods of it may land.
    pub placement: Placement,
    /// Its pods with the image, each with the node that it runs on, if any.
    pub pods: Vec<(Box<str>, Box<str>)>,
}

/// An image, and the credentials of who asks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeedKey {
    /// The image as written.
    pub image: Box<str>,
    /// The namespace of who needs it.
    pub namespace: Box<str>,
    /// The pull secrets that are named, in order.
    pub pull_secrets: Vec<Box<str>>,
    /// The ServiceAccount whose pull secrets count where none is named; nothing for pods, which have
    /// been given them already.
    pub service_account: Option<Box<str>>,
}

/// All that need an image with the same credentials and may land on the same nodes.
#[derive(Debug, Clone)]
pub struct Need {
    /// Whether these are templates; else they are pods.
    pub is_template: bool,
    /// Where their pods may land. Pods have found their place: nothing is said of them.
    pub placement: Placement,
    /// Who they are.
    pub pullers: BTreeMap<PullerName, Puller>,
}

/// One question to a registry: the image with its credentials, and which of the [`Need`]s.
pub(crate) type Question = (NeedKey, usize);

/// All images that something would pull again.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    needs: BTreeMap<NeedKey, Vec<Need>>,
}

impl Needs {
    /// Takes in a pod or an object with a template, under the name that people know it by. `at`: the
    /// name of a pod and its node. What is never pulled does not count, and what was put into a
    /// running pod does not come again.
    pub fn add(
        &mut self,
        workload: &Workload,
        namespace: &str,
        name: &PullerName,
        when: When,
        at: Option<(&str, &str)>,
    ) {
        let comes_again = workload.images.iter().filter(|one| {
            one.kind != ContainerKind::Ephemeral && one.pull_policy != ImagePullPolicy::Never
        });
        for image in comes_again {
            let account = workload.service_account.clone();
            let key = NeedKey {
                image: image.image.clone(),
                namespace: namespace.into(),
                pull_secrets: workload.pull_secrets.clone(),
                service_account: account
                    .filter(|_| !workload.is_pod && workload.pull_secrets.is_empty()),
            };
            let placement = if workload.is_pod {
                Placement::not_yet_known()
            } else {
                workload.placement.clone()
            };
            let needs = self.needs.entry(key).or_default();
            let is_template = !workload.is_pod;
            let nth = needs
                .iter()
                .position(|need| need.is_template == is_template && need.placement == placement);
            let nth = nth.unwrap_or_else(|| {
                needs.push(Need { is_template, placement, pullers: BTreeMap::new() });
                needs.len() - 1
            });
            let puller = needs[nth].pullers.entry(name.clone()).or_insert_with(|| Puller {
                when,
                pull_policy: image.pull_policy,
                placement: workload.placement.unbound(),
                pods: Vec::new(),
            });
            puller.when = puller.when.min(when);
            if image.pull_policy == ImagePullPolicy::Always {
                puller.pull_policy = ImagePullPolicy::Always;
            }
            if let Some((pod, node)) = at
                && puller.pods.last().is_none_or(|(last, _)| **last != *pod)
            {
                puller.pods.push((pod.into(), node.into()));
            }
        }
    }

    /// The images, each once, as they are written.
    pub fn images(&self) -> BTreeSet<&str> {
        self.needs.keys().map(|key| &*key.image).collect()
    }

    /// Each question, and who waits for the answer.
    pub fn iter(&self) -> impl Iterator<Item = (Question, &Need)> {
        self.needs.iter().flat_map(|(key, needs)| {
            needs.iter().enumerate().map(move |(nth, need)| ((key.clone(), nth), need))
        })
    }
}
