//! One look at all that would pull an image again, and the registries' word on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;

use crate::cli::context::list_deadline;
use crate::cli::context::{KubeContext, survey};
use crate::cli::explain::{NodesAround, RegistryReviewer, host_of, in_turns};
use crate::cli::print_message;
use crate::cluster::Cluster;
use crate::history::{ReportTarget, Visibility};
use crate::image::{DOCKER_HUB, registry_of_host};
use crate::pull::{Cause, Runtime, Verdict};
use crate::review::{ClusterSource as _, ImageUse, ProbeResult};
use crate::risk::{NeedKey, Needs, Question, RiskReport};
use crate::serve::{NODES_HEADING, NodeFlags, REGISTRY_HEADING, RegistryFlags};
use crate::telemetry::now;
use crate::text::{clean, count};
use crate::workload::{Node, Placement};

/// What the registries answered to each question; nothing for those that were not asked to the end.
pub(in crate::cli) type Answers = BTreeMap<Question, (Verdict, Option<Cause>)>;

/// Where to look, and as whom.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct LookFlags {
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; several are asked one after the other
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) context: Vec<String>,

    /// Look in this namespace only; without it in all of them, if you may, else in that of the context
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    #[command(flatten, next_help_heading = REGISTRY_HEADING)]
    pub(in crate::cli) registries: RegistryFlags,

    #[command(flatten, next_help_heading = NODES_HEADING)]
    pub(in crate::cli) nodes: NodeFlags,
}

impl LookFlags {
    /// What registries are asked with.
    pub(in crate::cli) fn reviewer(&self) -> anyhow::Result<RegistryReviewer> {
        RegistryReviewer::new(self.registries.clone().into(), self.nodes.clone().into())
    }
}

/// What one look at the cluster has shown.
pub(in crate::cli) struct Look {
    pub(in crate::cli) cluster: Cluster,
    visibility: Visibility,
    pub(in crate::cli) needs: Needs,
    /// What the person may not list, so that it is missing.
    pub(in crate::cli) left_out: Vec<&'static str>,
    nodes: Option<Arc<Vec<Node>>>,
    pub(in crate::cli) now: Timestamp,
}

impl Look {
    /// Lists everything once.
    pub(in crate::cli) async fn new(
        flags: &LookFlags,
        context: Option<String>,
    ) -> anyhow::Result<Self> {
        let context = KubeContext::read(flags.kubeconfig.clone(), context)?;
        let home = flags.namespace.as_deref().or(context.namespace()).unwrap_or("default");
        let home = home.to_owned();
        let connection = context.connect().await?;
        let (now, deadline) = (now(), list_deadline());
        let (cluster, mut survey) = survey(connection, &home, now, deadline).await?;
        match (&survey.visibility, &flags.namespace) {
            (Visibility::Cluster, Some(namespace)) => {
                survey.visibility = Visibility::Namespaces(vec![namespace.as_str().into()]);
            }
            (Visibility::Namespaces(_), None) => {
                print_message(format_args!(
                    "you may not list pods of all namespaces: only {home} counts"
                ));
            }
            _ => {}
        }
        let nodes_known = !survey.left_out.contains(&"nodes");
        let (needs, hidden) = cluster.needs(&survey.visibility, deadline).await?;
        let mut left_out = survey.left_out;
        for one in hidden {
            if !left_out.contains(&one) {
                left_out.push(one);
            }
        }
        if !left_out.is_empty() {
            print_message(format_args!(
                "you may not list {}: something may be missing",
                left_out.join(", ")
            ));
        }
        let nodes = cluster.nodes().filter(|_| nodes_known);
        Ok(Self { visibility: survey.visibility, cluster, needs, left_out, nodes, now })
    }

    /// The nodes, if they may be listed.
    pub(in crate::cli) fn nodes(&self) -> Option<&[Node]> {
        self.nodes.as_deref().map(Vec::as_slice)
    }

    /// An error if there is no such node, as far as nodes may be listed.
    pub(in crate::cli) fn check_node(&self, name: Option<&str>) -> anyhow::Result<()> {
        match (name, self.nodes()) {
            (Some(name), Some(nodes)) if !nodes.iter().any(|node| *node.name == *name) => {
                bail!("there is no node {}", clean(name))
            }
            _ => Ok(()),
        }
    }

    /// Everything that there is to ask, as it is now. Of Docker Hub's images nothing is said of
    /// platforms: reading them counts as pulls, and one look would use up what a person has.
    pub(in crate::cli) fn questions(&self) -> Vec<(Question, ImageUse)> {
        let all = self.needs.iter();
        all.map(|(question, need)| {
            let is_free = registry_of_host(&host_of(&question.0.image)) != DOCKER_HUB;
            let known = (self.nodes.is_some() && is_free).then(|| need.placement.clone());
            let used = image_use(&question.0, known.unwrap_or_else(Placement::not_yet_known));
            (question, used)
        })
        .collect()
    }

    /// What the registries answer.
    pub(in crate::cli) async fn answers(
        &self,
        reviewer: &RegistryReviewer,
        nodes: Option<&[Node]>,
        all: Vec<(Question, ImageUse)>,
    ) -> Answers {
        let answers = Mutex::new(Answers::new());
        let around = NodesAround { nodes, runtime: same_runtime(nodes) };
        print_message(format_args!("asking {} …", count(all.len(), "question")));
        let by_host = all.iter().map(|one| (host_of(&one.1.image), one));
        in_turns(by_host, |(question, used)| {
            let answers = &answers;
            async move {
                let found =
                    reviewer.check_in_use(&self.cluster, &self.visibility, used, around).await;
                let Some(found) = found else { return true };
                let (found, unfit) = (found.result, found.unfit);
                let answer = match found {
                    // It would be pulled, and end at once.
                    ProbeResult::Pullable if unfit => {
                        (Verdict::Works, Some(Cause::PlatformMismatch))
                    }
                    ProbeResult::Pullable => (Verdict::Works, None),
                    ProbeResult::Unclear(cause) => (Verdict::CannotTell, Some(cause)),
                    ProbeResult::Refused(cause) => (Verdict::Fails, Some(cause)),
                };
                let mut all = answers.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(question.clone(), answer);
                // It has had enough: its others are not looked at.
                answer.1 != Some(Cause::RateLimited)
            }
        })
        .await;
        answers.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the answers mean for who needs the images.
    pub(in crate::cli) fn report(
        &self,
        answers: &Answers,
        nodes: Option<&[Node]>,
        leaving: Option<&str>,
    ) -> RiskReport {
        RiskReport::new(&self.needs, answers, nodes, leaving, |image| {
            let subject = ReportTarget::Image(image.clone());
            self.cluster
                .index(|index| index.report(&subject, &self.visibility, self.now))
                .last_success
        })
    }
}

/// The runtime of the nodes, if all have the same.
fn same_runtime(nodes: Option<&[Node]>) -> Option<Runtime> {
    let mut all = nodes.unwrap_or_default().iter().map(|node| Runtime::parse(&node.runtime));
    let first = all.next()?;
    all.all(|one| one == first).then_some(first)
}

fn image_use(key: &NeedKey, placement: Placement) -> ImageUse {
    ImageUse {
        image: key.image.clone(),
        namespace: key.namespace.clone(),
        pull_secrets: key.pull_secrets.clone(),
        service_account: key.service_account.clone(),
        placement,
        loaded: false,
    }
}
