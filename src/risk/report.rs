//! What cannot be pulled again, and what becomes of whom.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::need::{NeedKey, Needs, Puller, PullerName, Question, When};
use crate::failure::next_step_of;
use crate::image::ImageReference;
use crate::message::{as_sentence, sentence};
use crate::pull::{Cause, Verdict, lists, starts_without_asking};
use crate::workload::{ImagePullPolicy, LISTED_IMAGES_AT_MOST, Node};

/// What a look at all images came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskReport {
    /// Images that something would pull again.
    pub images: usize,
    /// Of these, those of which the registry was not asked to the end.
    pub not_looked_at: usize,
    /// The node that goes, if the question was about one.
    pub node: Option<String>,
    /// Whether the nodes could be listed.
    pub nodes_known: bool,
    /// The images that cannot be pulled, those with the most pods first.
    pub at_risk: Vec<ImageRisk>,
    /// The images of which it could not be found out.
    pub unclear: Vec<UnclearImage>,
}

/// An image that cannot be pulled today with the credentials of who needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRisk {
    /// The image as written.
    pub image: String,
    /// Why it cannot be pulled.
    pub cause: Cause,
    /// The same in words.
    pub why: String,
    /// What to do about it.
    pub next_step: String,
    /// When a node here last started or pulled it, if that may be told.
    pub last_success: Option<Timestamp>,
    /// The nodes that list it. They list their fifty largest images only.
    pub held_by: Vec<String>,
    /// Whether the node that goes is the only one that lists it.
    pub last_copy: bool,
    /// Who needs it, those with the most pods first.
    pub needed_by: Vec<PullerRisk>,
}

/// Who needs an image that cannot be pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PullerRisk {
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it would pull the image again.
    pub when: When,
    /// `Always` or `IfNotPresent`.
    pub pull_policy: &'static str,
    /// Its pods that have or want the image; of a node that goes, those on it.
    pub pods: usize,
    /// The nodes that these run on.
    pub nodes: Vec<String>,
    /// The nodes on which a new pod is known to start without a pull.
    pub starts_on: Vec<String>,
    /// Whether other nodes may have the image, since they list only some of theirs or are not known.
    pub may_start_elsewhere: bool,
}

/// An image of which it could not be found out whether it can be pulled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnclearImage {
    /// The image as written.
    pub image: String,
    /// The namespace of who needs it.
    pub namespace: String,
    /// Why, in words.
    pub why: String,
}

impl RiskReport {
    /// What the answers mean for who needs the images. `nodes`: nothing, if they may not be listed.
    /// `leaving`: the node that goes. `last_success`: when an image was last started here.
    pub fn new(
        needs: &Needs,
        answers: &BTreeMap<Question, (Verdict, Option<Cause>)>,
        nodes: Option<&[Node]>,
        leaving: Option<&str>,
        last_success: impl Fn(&ImageReference) -> Option<Timestamp>,
    ) -> Self {
        let all = needs.images();
        let questions: Vec<_> = needs.iter().collect();
        // The next pods of a controller are as its template says, whatever those that run were given.
        let mut of_templates = BTreeMap::new();
        for (question, need) in questions.iter().filter(|(_, need)| need.is_template) {
            let Some(answer) = answers.get(question) else { continue };
            for name in need.pullers.keys() {
                of_templates.insert((&question.0.image, &question.0.namespace, name), *answer);
            }
        }
        let (mut looked, mut unclear) = (BTreeSet::new(), BTreeSet::new());
        let mut risks: BTreeMap<(&str, Cause), Pullers> = BTreeMap::new();
        for (question, need) in &questions {
            let Some(own) = answers.get(question) else { continue };
            let (key, _) = question;
            looked.insert(&*key.image);
            let around = NeedContext { key, nodes, leaving };
            for (name, puller) in &need.pullers {
                let template = of_templates.get(&(&key.image, &key.namespace, name));
                match template.unwrap_or(own) {
                    (Verdict::Fails, Some(cause)) => {
                        if let Some(risk) = around.risk(name, puller) {
                            add(risks.entry((&key.image, *cause)).or_default(), risk);
                        }
                    }
                    (Verdict::CannotTell, cause) if around.concerns(name, puller) => {
                        let why = cause.map(|cause| sentence(cause, Verdict::CannotTell));
                        unclear.insert(UnclearImage {
                            image: key.image.to_string(),
                            namespace: key.namespace.to_string(),
                            why: why.unwrap_or("unknown").to_owned(),
                        });
                    }
                    _ => {}
                }
            }
        }
        let one = |((image, cause), who): ((&str, Cause), Pullers)| {
            let who = who.into_values().collect();
            image_risk(image, cause, who, nodes, leaving, &last_success)
        };
        let mut at_risk: Vec<ImageRisk> = risks.into_iter().filter_map(one).collect();
        let pods = |risk: &ImageRisk| risk.needed_by.iter().map(|one| one.pods).sum::<usize>();
        at_risk.sort_by(|a, b| pods(b).cmp(&pods(a)).then_with(|| a.image.cmp(&b.image)));
        Self {
            images: all.len(),
            not_looked_at: all.len() - looked.len(),
            node: leaving.map(str::to_owned),
            nodes_known: nodes.is_some(),
            at_risk,
            unclear: unclear.into_iter().collect(),
        }
    }
}

/// Those that need one image, by namespace, kind and name.
type Pullers = BTreeMap<[String; 3], PullerRisk>;

/// The same one may need an image by its pods and by its template, with other credentials or not.
fn add(who: &mut Pullers, risk: PullerRisk) {
    let name = [&risk.namespace, &risk.kind, &risk.name].map(String::clone);
    let Some(known) = who.get_mut(&name) else {
        who.insert(name, risk);
        return;
    };
    let PullerRisk { when, pods, nodes, starts_on, may_start_elsewhere, pull_policy, .. } = risk;
    known.when = known.when.min(when);
    if known.pods == 0 && pods > 0 {
        known.pull_policy = pull_policy;
        known.starts_on = starts_on;
        known.may_start_elsewhere = may_start_elsewhere;
    }
    known.pods += pods;
    known.nodes.extend(nodes);
    known.nodes.sort();
    known.nodes.dedup();
}

fn image_risk(
    image: &str,
    cause: Cause,
    mut who: Vec<PullerRisk>,
    nodes: Option<&[Node]>,
    leaving: Option<&str>,
    last_success: &impl Fn(&ImageReference) -> Option<Timestamp>,
) -> Option<ImageRisk> {
    let parsed = ImageReference::parse(image).ok();
    let held_by: Vec<String> = parsed
        .iter()
        .flat_map(|image| nodes.unwrap_or_default().iter().filter(|node| lists(node, image)))
        .map(|node| node.name.to_string())
        .collect();
    let last_copy = leaving.is_some_and(|node| held_by == [node]);
    // Of a node that goes only what is on it counts, and what only it has.
    who.retain(|one| leaving.is_none() || one.pods > 0 || last_copy);
    if who.is_empty() {
        return None;
    }
    who.sort_by(|a, b| {
        let name = |one: &PullerRisk| (one.namespace.clone(), one.kind.clone(), one.name.clone());
        b.pods.cmp(&a.pods).then_with(|| name(a).cmp(&name(b)))
    });
    Some(ImageRisk {
        image: image.to_owned(),
        cause,
        why: as_sentence(sentence(cause, Verdict::Fails)),
        next_step: next_step_of(cause).to_owned(),
        last_success: parsed.as_ref().and_then(last_success),
        held_by,
        last_copy,
        needed_by: who,
    })
}

/// What is known around one need.
#[derive(Clone, Copy)]
struct NeedContext<'a> {
    key: &'a NeedKey,
    nodes: Option<&'a [Node]>,
    leaving: Option<&'a str>,
}

impl NeedContext<'_> {
    /// Whether it is one that the question is about: of a node that goes, what has to leave it. What is
    /// made for each node goes with it: pods of `DaemonSets`, and static ones.
    fn concerns(self, name: &PullerName, puller: &Puller) -> bool {
        self.leaving.is_none_or(|leaving| {
            !matches!(&*name.kind, "DaemonSet" | "Node")
                && puller.pods.iter().any(|(_, node)| **node == *leaving)
        })
    }

    /// What becomes of one that needs the image; nothing if a node that goes takes it along.
    fn risk(self, name: &PullerName, puller: &Puller) -> Option<PullerRisk> {
        if self.leaving.is_some() && matches!(&*name.kind, "DaemonSet" | "Node") {
            return None;
        }
        let on = |node: &str| self.leaving.is_none_or(|leaving| leaving == node);
        let pods: Vec<_> = puller.pods.iter().filter(|(_, node)| on(node)).collect();
        let nodes: BTreeSet<&str> =
            pods.iter().map(|(_, node)| &**node).filter(|node| !node.is_empty()).collect();
        let (starts_on, may_start_elsewhere) = self.starts(puller);
        Some(PullerRisk {
            kind: name.kind.to_string(),
            namespace: self.key.namespace.to_string(),
            name: name.name.to_string(),
            when: puller.when,
            pull_policy: puller.pull_policy.as_str(),
            pods: pods.len(),
            nodes: nodes.into_iter().map(str::to_owned).collect(),
            starts_on,
            may_start_elsewhere,
        })
    }

    /// The nodes that are known to have the image, and whether others may have it.
    fn starts(self, puller: &Puller) -> (Vec<String>, bool) {
        // It asks the registry at every start.
        if puller.pull_policy == ImagePullPolicy::Always {
            return (Vec::new(), false);
        }
        let (Ok(image), Some(nodes)) = (ImageReference::parse(&self.key.image), self.nodes) else {
            return (Vec::new(), self.nodes.is_none());
        };
        let eligible = puller.placement.eligible(nodes);
        // No new pod comes to a node that is cordoned, and one that goes is gone.
        let stays = |node: &&&Node| {
            !node.unschedulable && self.leaving.is_none_or(|leaving| leaving != &*node.name)
        };
        let (start, others): (Vec<&&Node>, Vec<&&Node>) = eligible
            .nodes
            .iter()
            .filter(stays)
            .partition(|node| starts_without_asking(node, &image));
        let cut = usize::try_from(LISTED_IMAGES_AT_MOST).unwrap_or(usize::MAX);
        // One that has it and checks credentials first may find that it did so before.
        let may = |node: &&&Node| lists(node, &image) || node.listed_images >= cut;
        (start.iter().map(|node| node.name.to_string()).collect(), others.iter().any(may))
    }
}
