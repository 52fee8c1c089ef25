//! Everything that is known about one subject, put together: what nodes live with, what the
//! registry answers now, who was to push the image, what stands in front of the registry.

use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use super::ask::{RegistryAnswer, RegistryReviewer};
use super::object::ChosenObject;
use super::steps::{self, Steps};
use super::summary;
use crate::advice::{Advice, AdviceKind, CommandTarget};
use crate::cluster::{Cluster, Connection, RefusedPods, ServeHistory, remembered};
use crate::history::{Report, ReportTarget, ServiceState, Visibility, WorkloadLine};
use crate::image::ImageReference;
use crate::review::{ClusterSource as _, Review, SecretsOrigin};

/// Jobs that are told of.
const MAX_JOBS: usize = 3;

/// What everything is asked of.
pub(super) struct Sources<'a> {
    pub(super) connection: &'a Connection,
    pub(super) cluster: &'a Cluster,
    pub(super) visibility: &'a Visibility,
    /// Nothing where no registry may be asked.
    pub(super) reviewer: Option<&'a RegistryReviewer>,
    /// Whether a running `serve` is to be asked.
    pub(super) recalls: bool,
    pub(super) namespace: &'a str,
    pub(super) now: Timestamp,
    pub(super) deadline: Instant,
}

/// A report with what stands beside it, and what to do.
#[derive(Serialize)]
pub(super) struct Explained {
    #[serde(flatten)]
    pub(super) report: Report,
    /// Who knows of the time before now: `serve`, or nobody and why.
    pub(super) memory: Origin,
    /// What is wrong, in one sentence.
    pub(super) cause: String,
    /// What to do, in one sentence.
    pub(super) remedy: String,
    /// Commands that do it, to be pasted; what only a person knows is in angle brackets.
    pub(super) commands: Vec<String>,
    /// What could be done instead, each as commands that belong together.
    pub(super) alternatives: Vec<Vec<String>>,
    /// Commands that show whether it came about.
    pub(super) verify: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) registry_now: Option<RegistryAnswer>,
    /// Pods that run another digest of the tag than the registry has now, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drift: Option<String>,
    /// Pods that were refused at admission.
    pub(super) refused: Vec<RefusedPods>,
    pub(super) advice: Vec<Advice>,
}

/// Where the answer comes from.
#[derive(Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub(super) enum Origin {
    /// A fresh list, and what `serve` remembers.
    Serve,
    /// A fresh list alone.
    List {
        /// Why.
        why: &'static str,
    },
}

/// What a subject is explained with: the object that was named, and what a review of it came to
/// where its images share one.
#[derive(Default)]
pub(super) struct Named<'a> {
    pub(super) object: Option<&'a ChosenObject>,
    pub(super) review: Option<&'a Review>,
}

impl Sources<'_> {
    /// Reviews the object that was named.
    pub(super) async fn review(&self, object: &ChosenObject) -> Option<Review> {
        let place = (&*object.namespace, self.now);
        let reviewer = self.reviewer?;
        Some(reviewer.review(self.cluster, self.visibility, &object.workload, place).await)
    }

    /// Puts everything together about one subject.
    pub(super) async fn explain(
        &self,
        mut report: Report,
        subject: &ReportTarget,
        named: Named<'_>,
    ) -> Explained {
        let memory = self.recall(&mut report, subject).await;
        let image = match subject {
            ReportTarget::Image(image) => Some(image),
            ReportTarget::Registry(_) => None,
        };
        let (chosen, own_review);
        let (mut object, mut review) = (named.object, named.review);
        if let (None, Some(image)) = (object, image) {
            chosen = self.choose(image, &report).await;
            object = Some(&chosen);
            own_review = self.review(&chosen).await;
            review = own_review.as_ref();
        }
        let reviewed = review.zip(image).and_then(|(review, image)| {
            let mut images = review.images.iter();
            let found = images
                .find(|one| one.reference.as_ref().is_ok_and(|one| one.is_same_image(image)))?;
            Some((review, found))
        });
        let asked_as = object.map(ChosenObject::message).unwrap_or_default();
        let answer = reviewed.map(|(review, image)| RegistryAnswer::of(review, image, &asked_as));
        let drift = reviewed.zip(self.reviewer).and_then(|((_, image), reviewer)| {
            let (wanted, now) = (image.reference.as_ref().ok()?, image.assessment.digest.as_ref()?);
            reviewer.drift(wanted, &report.digests, now)
        });
        let mut advice: Vec<Advice> =
            reviewed.map(|(_, image)| image.advice.clone()).unwrap_or_default();
        advice.extend(self.surroundings(subject, &advice).await);
        let refused = self.refused(object, image).await;
        let owner = object.map(|object| self.owner(object));
        let steps = owner.as_ref().zip(image).zip(object);
        let steps = steps
            .map(|((owner, image), object)| self.steps((owner, object), image, review, &report));
        let broken = report.scope.failing > 0
            || !refused.is_empty()
            || answer.as_ref().is_some_and(|answer| !answer.works());
        let (mut ways, verify) = match steps.filter(|_| broken) {
            Some(steps) => (steps.ways(&advice, &report).into_iter(), steps.verify()),
            None => (Vec::new().into_iter(), Vec::new()),
        };
        Explained {
            memory,
            cause: summary::cause(&report, answer.as_ref(), &refused),
            remedy: summary::remedy(&report, answer.as_ref(), &advice, broken),
            commands: ways.next().unwrap_or_default(),
            alternatives: ways.collect(),
            verify,
            drift,
            registry_now: answer,
            refused,
            advice,
            report,
        }
    }

    /// An object that has the image, and of its images this one: of the others nobody asks.
    async fn choose(&self, image: &ImageReference, report: &Report) -> ChosenObject {
        let found =
            ChosenObject::with(image, report, self.connection, self.namespace, self.deadline);
        let mut found = found.await;
        let images = &mut found.workload.images;
        images.retain(|one| {
            ImageReference::parse(&one.image).as_ref().is_ok_and(|one| one.is_same_image(image))
        });
        found
    }

    /// What commands are made of.
    fn steps<'s>(
        &self,
        (owner, object): (&'s [String; 3], &'s ChosenObject),
        image: &'s ImageReference,
        review: Option<&'s Review>,
        report: &'s Report,
    ) -> Steps<'s> {
        Steps {
            target: CommandTarget { kind: &owner[0], namespace: &owner[1], name: &owner[2] },
            image,
            containers: steps::containers(object, image),
            account: match review.map(|review| &review.secrets.origin) {
                Some(SecretsOrigin::ServiceAccount(account)) => Some(account),
                _ => None,
            },
            waited_for: waited_for(owner, report),
            named: review.map(|review| review.secrets.names.as_slice()).unwrap_or_default(),
            previous_runs: self.previous_runs(owner, report),
        }
    }

    /// Adds what a running `serve` remembers.
    async fn recall(&self, report: &mut Report, subject: &ReportTarget) -> Origin {
        if !self.recalls {
            return Origin::List { why: "not queried (--no-memory)" };
        }
        match remembered(self.connection, self.namespace, subject, self.deadline).await {
            ServeHistory::History(memory) => {
                report.recall(*memory);
                Origin::Serve
            }
            ServeHistory::Not(why) => Origin::List { why },
        }
    }

    /// Whose pods the object is or makes: kind, namespace and name.
    fn owner(&self, object: &ChosenObject) -> [String; 3] {
        let own = [&*object.kind, &*object.namespace, &*object.name];
        match &object.workload.controller {
            Some(owner) => self.cluster.owner_of([&owner.kind, &object.namespace, &owner.name]),
            None => self.cluster.owner_of(own),
        }
    }

    /// Whether it fails with this image and pods of it run with another, so that going back brings
    /// them all back.
    fn previous_runs(&self, [kind, namespace, name]: &[String; 3], report: &Report) -> bool {
        let mut lines = report.scope.workloads.iter();
        let own = |line: &&WorkloadLine| {
            (&line.kind, &line.namespace, &line.name) == (kind, namespace, name)
        };
        let Some(line) = lines.find(own).filter(|line| line.failing > 0) else { return false };
        let object = crate::workload::ObjectRef {
            api_version: Box::default(),
            kind: kind.as_str().into(),
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
        };
        crate::review::HealthSource::running_pods(self.cluster, &object) > line.running
    }

    /// What stands beside the subject and is not told yet: the jobs that were to push it, the
    /// Service of its registry and who is let in there.
    async fn surroundings(&self, subject: &ReportTarget, told: &[Advice]) -> Vec<Advice> {
        let mut found: Vec<Advice> = Vec::new();
        let told_of = |kind: AdviceKind| told.iter().any(|advice| advice.kind == kind);
        if let ReportTarget::Image(image) = subject {
            let is_told = told_of(AdviceKind::BuildJob);
            for job in self.cluster.build_jobs(image).iter().take(MAX_JOBS) {
                let unfinished = job.is_unfinished();
                if !is_told {
                    let trouble = if unfinished {
                        self.cluster.build_trouble(job, self.deadline).await
                    } else {
                        None
                    };
                    found.push(Advice::build_job(job, trouble, self.now));
                }
                if unfinished {
                    let end = self.cluster.build_end(job, self.deadline).await;
                    found.extend(end.map(|end| Advice::build_end(job, &end)));
                }
            }
        }
        let host = match subject {
            ReportTarget::Image(image) => image.host(),
            ReportTarget::Registry(host) => host,
        };
        let Some(service) = self.cluster.registry_service(host, self.deadline).await else {
            return found;
        };
        let name = format!("{}/{}", service.namespace, service.name);
        let describe =
            format!("kubectl describe service {} -n {}", service.name, service.namespace);
        if let ServiceState::Ready(ready) = service.state {
            let message = format!("registry Service {name} has {ready} ready endpoints");
            found.push(Advice::new(AdviceKind::RegistryService, name.as_str(), message));
        } else if !told_of(AdviceKind::RegistryService) {
            let down = Advice::registry_service(&service);
            found.extend(down.map(|down| Advice { command: Some(describe), ..down }));
        }
        let network_policies =
            self.cluster.network_policies(&service.namespace, &service.name, self.deadline).await;
        for fence in network_policies.unwrap_or_default() {
            found.push(Advice::network_policy(&service.namespace, &fence));
        }
        found
    }

    /// Pods that were refused: those of the object, or those whose refusal names the image.
    async fn refused(
        &self,
        object: Option<&ChosenObject>,
        image: Option<&ImageReference>,
    ) -> Vec<RefusedPods> {
        let namespace = object.map_or(self.namespace, |object| &object.namespace);
        let Ok(mut refused) = self.cluster.refused_pods(namespace, self.deadline).await else {
            return Vec::new();
        };
        let owner = object.map(|object| self.owner(object));
        refused.retain(|pods| {
            let own = owner.as_ref().is_some_and(|[kind, namespace, name]| {
                (&pods.kind, &pods.namespace, &pods.name) == (kind, namespace, name)
            });
            let named = image.is_some_and(|image| {
                let names = [image.to_string(), image.canonical()];
                names.iter().any(|name| pods.message.contains(&format!("image {name}:")))
            });
            own || named
        });
        for pods in &mut refused {
            pods.message = summary::refusal(&pods.message);
        }
        refused
    }
}

/// The failing pods of a StatefulSet, which it waits for before it makes others.
fn waited_for<'r>([kind, namespace, name]: &[String; 3], report: &'r Report) -> Vec<&'r str> {
    let own = |pod: &&str| {
        let number = pod.strip_prefix(&**name).and_then(|rest| rest.strip_prefix('-'));
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let pods = report.failures.pods.iter().filter(|_| kind == "StatefulSet");
    let here = pods.filter_map(|pod| pod.strip_prefix(&**namespace)?.strip_prefix('/'));
    here.filter(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::explain::ask::TriedLogin;
    use crate::history::HealthIndex;
    use crate::pull::{Cause, Verdict};

    /// What stands beside the report, whose own fields another test holds.
    #[test]
    fn the_json_is_as_before() {
        let subject = ReportTarget::Registry("r.example".into());
        let index = HealthIndex::default();
        let report = index.report(&subject, &Visibility::Cluster, Timestamp::UNIX_EPOCH);
        let words = |text: &str| text.to_owned();
        let advice = Advice {
            command: Some(words("kubectl create secret …")),
            ..Advice::new(AdviceKind::FixSecret, "regcred", "update secret regcred")
        };
        let explained = Explained {
            report,
            memory: Origin::List { why: "not queried (--no-memory)" },
            cause: words("Registry rejects the credentials in secret regcred (401)."),
            remedy: words("Update secret regcred."),
            commands: vec![words("one")],
            alternatives: vec![vec![words("two"), words("three")]],
            verify: vec![words("four")],
            registry_now: Some(RegistryAnswer {
                asked_as: words("deployment/cart in shop"),
                verdict: Verdict::Fails,
                cause: Some(Cause::Unauthorized),
                message: words("registry rejects the credentials in secret regcred (401)"),
                digest: Some(words("sha256:0")),
                secrets: words("of the pod: regcred"),
                tried: vec![TriedLogin {
                    from: words("secret regcred"),
                    key: words("r.example"),
                    outcome: Cause::Unauthorized.as_str(),
                    words: words("registry rejects the credentials (401)"),
                }],
                not_tried: vec![words("secret other does not exist")],
            }),
            drift: Some(words("1 pod runs another digest.")),
            refused: vec![RefusedPods {
                kind: words("Deployment"),
                namespace: words("shop"),
                name: words("cart"),
                times: 2,
                last: Some(Timestamp::UNIX_EPOCH),
                message: words("denied by PullgatePolicy default (namespace shop enforces)"),
            }],
            advice: vec![advice],
        };
        let now = serde_json::to_string_pretty(&explained).unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/explain.json");
        if std::env::var_os("PULLGATE_BLESS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let before = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(before, now, "explain -o json has changed (PULLGATE_BLESS=1 writes it)");
    }
}
