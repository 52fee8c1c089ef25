//! `pullgate whatif`: which images could no longer be pulled if something were otherwise.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::context::{Answer, ask_each};
use super::explain::{RegistryReviewer, host_of};
use super::print_message;
use super::risk::{AT_RISK, Answers, Look, LookFlags, RiskFormat, markdown, page};
use super::{CANNOT_JUDGE, exit_code};
use crate::cli::context::list_deadline;
use crate::image::{DOCKER_HUB, DOCKER_HUB_DIALLED, ImageReference, Platform, registry_of_host};
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::policy::API_VERSION;
use crate::pull::{Cause, Verdict};
use crate::registry::HostsSource;
use crate::review::{ClusterSource as _, Fetched, ImageUse, ObjectQuery};
use crate::risk::{Need, Question, RiskReport};
use crate::serve::RegistrySettings;
use crate::workload::{Node, Placement};

/// The labels that say for which processor a node is.
const ARCH_LABELS: [&str; 2] = ["kubernetes.io/arch", "beta.kubernetes.io/arch"];
/// What Kubernetes is built for.
const ARCHITECTURES: [&str; 7] = ["amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64"];

/// What the long help says beside the flags.
const ABOUT: &str = "\
List images that could no longer be pulled after a change: a registry is down, a pull secret deleted, the \
nodes' mirrors are others, a node is drained, or all nodes are of another architecture; and what becomes of \
the workloads that need them, with what the nodes have. Changes can be combined. Nothing is changed.

What cannot be pulled today already is left out, except with --drain: pullgate risk lists it. Images that \
only nodes' own credentials could still pull are listed as unknown.

Everything is listed once, with your own rights; the registries are asked as pullgate risk asks them, \
but not those that are down by assumption.

Exit codes: 0 nothing changes for the worse, 1 something does or may, 2 it is unknown.";

/// What one types.
const EXAMPLES: &str = "\
Examples:
  pullgate whatif --registry docker.io=down
  pullgate whatif --delete-secret shop/registry-login
  pullgate whatif --drain worker-7 --registry registry.example.com=down";

/// Flags of `pullgate whatif`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "List images that could no longer be pulled after a change",
    long_about = ABOUT,
    after_help = EXAMPLES,
    group = ArgGroup::new("supposed").required(true).multiple(true)
)]
pub(super) struct WhatIfFlags {
    /// A registry is down: docker.io=down
    #[arg(long, value_name = "HOST=down", group = "supposed", value_parser = down)]
    registry: Vec<Down>,

    /// A pull secret is deleted
    #[arg(long, value_name = "NAMESPACE/NAME", group = "supposed", value_parser = secret)]
    delete_secret: Vec<(String, String)>,

    /// Nodes have these mirrors: containerd's directory, registries.yaml of k3s, or
    /// registries.conf of CRI-O
    #[arg(long, value_name = "FILE", group = "supposed")]
    mirror: Option<PathBuf>,

    /// A node is drained
    #[arg(long, value_name = "NODE", group = "supposed")]
    drain: Option<String>,

    /// All nodes are of this architecture, as Kubernetes calls it, and new
    #[arg(long = "nodes", value_name = "ARCH", group = "supposed", value_parser = ARCHITECTURES)]
    nodes_arch: Option<String>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t)]
    output: RiskFormat,

    #[command(flatten)]
    look: LookFlags,
}

/// A registry that is supposed to be down, as references write it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Down(Box<str>);

fn down(text: &str) -> Result<Down, String> {
    let host = text.strip_suffix("=down").ok_or("write it as HOST=down")?;
    let image = ImageReference::parse(&format!("{host}/a/b:1"));
    match image {
        // Docker Hub's other names mean the same.
        Ok(image) if image.repository() == "a/b" => Ok(Down(image.host().into())),
        _ => Err(format!("{host} is not the host of a registry")),
    }
}

fn secret(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if is_namespace_name(namespace) && is_object_name(name) => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write it as NAMESPACE/NAME".to_owned()),
    }
}

/// The answer for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WhatIfBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    supposing: &'a [String],
    left_out: &'a [&'static str],
    #[serde(flatten)]
    report: &'a RiskReport,
}

/// Runs it. The exit code is that of the whole command.
pub(super) async fn run(flags: WhatIfFlags) -> ExitCode {
    let json = flags.output == RiskFormat::Json;
    let ask = |context| what_if(&flags, context);
    exit_code(ask_each(&flags.look.context, json, ask).await.map(ExitCode::from))
}

async fn what_if(flags: &WhatIfFlags, context: Option<String>) -> anyhow::Result<Answer> {
    let today = flags.look.reviewer()?;
    let then = flags.reviewer()?;
    let look = Look::new(&flags.look, context).await?;
    look.check_node(flags.drain.as_deref())?;
    let nodes_then = flags.nodes_arch.as_deref().map(|arch| nodes_of(arch, look.nodes()));
    let nodes_then = nodes_then.as_deref().or(look.nodes());
    let others = flags.questions(&look, nodes_then).await?;
    let homeless = others.homeless;
    if homeless > 0 {
        print_message(format_args!(
            "{homeless} fit none of these nodes by what they select: not asked about"
        ));
    }
    let answers = look.answers(&today, look.nodes(), look.questions()).await;
    let found = if others.questions.is_empty() {
        Answers::new()
    } else {
        look.answers(&then, nodes_then, others.questions.clone()).await
    };
    let answers = flags.changed(&answers, &others, &found);
    let report = look.report(&answers, nodes_then, flags.drain.as_deref());
    let supposing = flags.supposing();
    let words = supposing.join(" and ");
    let text = match flags.output {
        RiskFormat::Text => page(&report, Some(&words), look.now),
        RiskFormat::Markdown => markdown(&report, Some(&words)),
        RiskFormat::Json => {
            let body = WhatIfBody {
                api_version: API_VERSION,
                kind: "WhatIfReport",
                supposing: &supposing,
                left_out: &look.left_out,
                report: &report,
            };
            serde_json::to_string_pretty(&body)? + "\n"
        }
    };
    let worse = !report.at_risk.is_empty() || !report.unclear.is_empty() || homeless > 0;
    let code = match worse {
        true => AT_RISK,
        false if report.not_looked_at > 0 => CANNOT_JUDGE,
        false => 0,
    };
    Ok((text, code))
}

/// What has to be asked anew.
struct NewQuestions {
    questions: Vec<(Question, ImageUse)>,
    /// Those whose own registry or secret is gone; the others may find another way, or nodes.
    struck: BTreeSet<Question>,
    /// How many of those that need images would fit none of the nodes that are supposed.
    homeless: usize,
}

impl WhatIfFlags {
    /// What is supposed, each as the end of a sentence that begins with `if`.
    fn supposing(&self) -> Vec<String> {
        let registries = self.registry.iter().map(|down| format!("{} were down", down.0));
        let secrets = self.delete_secret.iter();
        let secrets = secrets.map(|(space, name)| format!("secret {space}/{name} were deleted"));
        let mirrors =
            self.mirror.iter().map(|file| format!("mirrors were as in {}", file.display()));
        let arch = self.nodes_arch.iter().map(|arch| format!("all nodes were new and {arch}"));
        let drain = self.drain.iter().map(|node| format!("node {node} were drained"));
        registries.chain(secrets).chain(mirrors).chain(arch).chain(drain).collect()
    }

    /// What registries would be asked with.
    fn reviewer(&self) -> anyhow::Result<RegistryReviewer> {
        let mut settings = RegistrySettings::from(self.look.registries.clone());
        if let Some(path) = &self.mirror {
            settings.mirrors = Some(mirror_files(path)?);
        }
        let mut down: Vec<Box<str>> = Vec::new();
        for Down(host) in &self.registry {
            down.push(host.clone());
            if registry_of_host(host) == DOCKER_HUB {
                down.push(DOCKER_HUB_DIALLED.into());
            }
        }
        RegistryReviewer::supposing(settings, self.look.nodes.clone().into(), down)
    }

    fn is_down(&self, image: &str) -> bool {
        let host = host_of(image);
        self.registry
            .iter()
            .any(|Down(down)| registry_of_host(down).eq_ignore_ascii_case(registry_of_host(&host)))
    }

    /// What has to be asked anew, since it would be another question or may get another answer.
    async fn questions(&self, look: &Look, nodes: Option<&[Node]>) -> anyhow::Result<NewQuestions> {
        let (mut questions, mut struck, mut homeless) = (Vec::new(), BTreeSet::new(), 0);
        let needs: Vec<(Question, &Need)> = look.needs.iter().collect();
        for ((question, mut used), (_, need)) in look.questions().into_iter().zip(needs) {
            let way = self.has_mirrors() && (self.mirror.is_some() || !self.registry.is_empty());
            let itself = self.is_down(&used.image) | self.without_secrets(look, &mut used).await?;
            if itself {
                struck.insert(question.clone());
            }
            let mut other = way || itself;
            if self.nodes_arch.is_some() {
                match lands_on(need, nodes) {
                    Some(placement) => {
                        used.placement = placement;
                        other = true;
                    }
                    None => homeless += need.pullers.len(),
                }
            }
            if other {
                questions.push((question, used));
            }
        }
        if questions.is_empty() && self.drain.is_none() && homeless == 0 {
            bail!("nothing here has to do with {}", self.supposing().join(" or "));
        }
        Ok(NewQuestions { questions, struck, homeless })
    }

    /// Whether nodes have mirrors, by what is supposed or by what is given.
    fn has_mirrors(&self) -> bool {
        let given = RegistrySettings::from(self.look.registries.clone());
        self.mirror.is_some() || given.mirrors.is_some()
    }

    /// Leaves the deleted secrets out, also those that a ServiceAccount would give; whether there
    /// were any.
    async fn without_secrets(&self, look: &Look, used: &mut ImageUse) -> anyhow::Result<bool> {
        let gone = |name: &str| {
            self.delete_secret
                .iter()
                .any(|(space, secret)| **space == *used.namespace && **secret == *name)
        };
        if !self.delete_secret.iter().any(|(space, _)| **space == *used.namespace) {
            return Ok(false);
        }
        if let Some(account) = used.service_account.take() {
            let namespace = used.namespace.clone();
            let (cluster, until) = (&look.cluster, list_deadline());
            match cluster.service_account(ObjectQuery::kept(&namespace, &account), until).await {
                Fetched::Found(facts) => used.pull_secrets = facts.pull_secrets,
                Fetched::Missing | Fetched::NotInFiles => {}
                Fetched::Unavailable => {
                    bail!("you may not read ServiceAccount {account} of namespace {namespace}")
                }
            }
        }
        let kept: Vec<Box<str>> =
            used.pull_secrets.iter().filter(|name| !gone(name)).cloned().collect();
        let fewer = kept.len() < used.pull_secrets.len();
        used.pull_secrets = kept;
        Ok(fewer)
    }

    /// What would be answered then, as far as it is worse than today or could not be told.
    fn changed(&self, today: &Answers, others: &NewQuestions, found: &Answers) -> Answers {
        let asked: BTreeSet<&Question> = others.questions.iter().map(|(one, _)| one).collect();
        // On new nodes nothing lives on that is lost already, nor on others than one that goes.
        let moves = self.drain.is_some() || self.nodes_arch.is_some();
        let mut then = Answers::new();
        for question in today.keys().chain(found.keys()) {
            let now = today.get(question).copied().unwrap_or((Verdict::Works, None));
            let answer =
                if asked.contains(question) { found.get(question).copied() } else { Some(now) };
            let Some(answer) = answer else { continue };
            let answer = self.as_supposed(&question.0.image, answer);
            let unclear = answer.0 == Verdict::CannotTell && now.0 == Verdict::CannotTell;
            let worse = answer.0 > now.0 || (unclear && others.struck.contains(question));
            let told = if moves || worse { answer } else { (Verdict::Works, None) };
            then.insert(question.clone(), told);
        }
        then
    }

    /// A registry that is supposed to be down gives nobody anything, and what cannot run on the nodes
    /// that are supposed is no better than what cannot be pulled. A mirror that this machine does not
    /// reach may serve the nodes: with mirrors it cannot be told.
    fn as_supposed(
        &self,
        image: &str,
        (verdict, cause): (Verdict, Option<Cause>),
    ) -> (Verdict, Option<Cause>) {
        match (verdict, cause) {
            (Verdict::CannotTell, Some(Cause::ConnectionRefused))
                if self.is_down(image) && !self.has_mirrors() =>
            {
                (Verdict::Fails, cause)
            }
            (Verdict::Works, Some(Cause::PlatformMismatch)) if self.nodes_arch.is_some() => {
                (Verdict::Fails, cause)
            }
            other => other,
        }
    }
}

/// The files of mirrors at this path, told apart as the runtimes name them.
fn mirror_files(path: &Path) -> anyhow::Result<HostsSource> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending {
        _ if path.is_dir() => Ok(HostsSource::Containerd(path.to_owned())),
        Some("yaml" | "yml") => Ok(HostsSource::K3s(path.to_owned())),
        Some("conf") => Ok(HostsSource::Crio(path.to_owned())),
        _ => bail!("{}: neither a directory nor a .yaml or .conf file", path.display()),
    }
}

/// The nodes as they would be, new and of another architecture; one, where none may be listed.
fn nodes_of(arch: &str, nodes: Option<&[Node]>) -> Vec<Node> {
    let platform = Platform::new("linux", arch);
    let Some(nodes) = nodes.filter(|nodes| !nodes.is_empty()) else {
        return vec![Node::new("new", platform)];
    };
    let new = nodes.iter().map(|node| {
        let mut node = Node { platform: platform.clone(), ..node.clone() };
        node.images = Arc::default();
        node.listed_images = 0;
        for (label, value) in Arc::make_mut(&mut node.labels) {
            if ARCH_LABELS.contains(&&**label) {
                *value = arch.into();
            }
        }
        node
    });
    new.collect()
}

/// Where the first of these that would land on one of the nodes may land; nothing if none would.
fn lands_on(need: &Need, nodes: Option<&[Node]>) -> Option<Placement> {
    let nodes = nodes.unwrap_or_default();
    let mut placements = need.pullers.values().map(|puller| &puller.placement);
    placements.find(|placement| !placement.eligible(nodes).nodes.is_empty()).cloned()
}
