//! `pullgate whatif`: which images could no longer be pulled if something were otherwise.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::CANNOT_JUDGE;
use super::contexts::{Answer, ask_each};
use super::explain::{Asker, host_of};
use super::output::say;
use super::risk::{AT_RISK, Answers, Look, LookFlags, RiskFormat, clock, markdown, page};
use crate::image::{DOCKER_HUB, DOCKER_HUB_DIALLED, Platform, registry_of_host};
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::policy::API_VERSION;
use crate::pull::{Cause, Verdict};
use crate::review::{ClusterSource as _, ImageUse, ServiceAccountAnswer};
use crate::risk::{Need, Question, RiskReport};
use crate::serve::{MirrorFiles, RegistrySettings};
use crate::workload::{Node, Placement};

/// The label that says for which processor a node is.
const ARCH_LABEL: &str = "kubernetes.io/arch";

/// What the long help says beside the flags.
const ABOUT: &str = "\
Says which images could no longer be pulled if a registry were down, a pull secret deleted, the nodes' \
mirrors others, a node drained, or all nodes of another architecture; and what becomes of those who need \
them, with what the nodes have. Several may be supposed at once. Nothing is changed.

What cannot be pulled today already is not told again, except with --drain: `pullgate risk` tells it. An \
image that only the nodes' own logins could get then is told as such.

Everything is listed once, with your own rights; the registries are asked as `pullgate risk` asks them, \
and those that are supposed to be down are not.

Exit codes: 0 nothing changes for the worse, 1 something does or may, 2 it could not be found out.";

/// Flags of `pullgate whatif`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Say what could no longer be pulled if something were otherwise",
    long_about = ABOUT,
    group = ArgGroup::new("supposed").required(true).multiple(true)
)]
pub(super) struct WhatIfFlags {
    /// A registry is down: docker.io=down
    #[arg(long, value_name = "HOST=down", group = "supposed", value_parser = down)]
    registry: Vec<String>,

    /// A pull secret is deleted
    #[arg(long, value_name = "NAMESPACE/NAME", group = "supposed", value_parser = secret)]
    delete_secret: Vec<(String, String)>,

    /// Nodes have these mirrors: containerd's directory, `registries.yaml` of k3s, or
    /// `registries.conf` of CRI-O
    #[arg(long, value_name = "FILE", group = "supposed")]
    mirror: Option<PathBuf>,

    /// A node is drained
    #[arg(long, value_name = "NODE", group = "supposed")]
    drain: Option<String>,

    /// All nodes are of this architecture, and new
    #[arg(long = "nodes", value_name = "ARCH", group = "supposed")]
    nodes_arch: Option<String>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t)]
    output: RiskFormat,

    #[command(flatten)]
    look: LookFlags,
}

fn down(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((host, "down")) if !host.is_empty() => Ok(host.to_owned()),
        _ => Err("write it as HOST=down".to_owned()),
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
    match ask_each(&flags.look.context, json, ask).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

async fn what_if(flags: &WhatIfFlags, context: Option<String>) -> anyhow::Result<Answer> {
    let today = flags.look.asker()?;
    let then = flags.asker()?;
    let look = Look::new(&flags.look, context).await?;
    look.check_node(flags.drain.as_deref())?;
    let nodes_then = flags.nodes_arch.as_deref().map(|arch| nodes_of(arch, look.nodes()));
    let nodes_then = nodes_then.as_deref().or(look.nodes());
    let answers = look.ask(&today, look.nodes(), look.questions()).await;
    let others = flags.questions(&look, nodes_then).await?;
    let found = if others.is_empty() {
        Answers::new()
    } else {
        look.ask(&then, nodes_then, others.clone()).await
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
    let blind = report.images > 0 && report.not_looked_at == report.images;
    let code = match (report.at_risk.is_empty(), report.unclear.is_empty()) {
        (true, true) if blind => CANNOT_JUDGE,
        (true, true) => 0,
        _ => AT_RISK,
    };
    Ok((text, code))
}

impl WhatIfFlags {
    /// What is supposed, each as the end of a sentence that begins with `if`.
    fn supposing(&self) -> Vec<String> {
        let registries = self.registry.iter().map(|host| format!("{host} were down"));
        let secrets = self.delete_secret.iter();
        let secrets = secrets.map(|(space, name)| format!("secret {space}/{name} were deleted"));
        let mirrors =
            self.mirror.iter().map(|file| format!("mirrors were as in {}", file.display()));
        let arch = self.nodes_arch.iter().map(|arch| format!("all nodes were new and {arch}"));
        let drain = self.drain.iter().map(|node| format!("node {node} were drained"));
        registries.chain(secrets).chain(mirrors).chain(arch).chain(drain).collect()
    }

    /// What registries would be asked with.
    fn asker(&self) -> anyhow::Result<Asker> {
        let mut settings = RegistrySettings::from(self.look.registries.clone());
        if let Some(path) = &self.mirror {
            settings.mirrors = Some(mirror_files(path)?);
        }
        let mut down: Vec<Box<str>> = Vec::new();
        for host in &self.registry {
            down.push(host.as_str().into());
            if registry_of_host(host) == DOCKER_HUB {
                down.push(DOCKER_HUB_DIALLED.into());
            }
        }
        Asker::supposing(settings, self.look.nodes.clone().into(), down)
    }

    fn is_down(&self, image: &str) -> bool {
        let host = host_of(image);
        self.registry.iter().any(|down| registry_of_host(down) == registry_of_host(&host))
    }

    /// What has to be asked anew, since it would be another question or get another answer.
    async fn questions(
        &self,
        look: &Look,
        nodes: Option<&[Node]>,
    ) -> anyhow::Result<Vec<(Question, ImageUse)>> {
        let mirrors = self.mirror.is_some()
            || RegistrySettings::from(self.look.registries.clone()).mirrors.is_some();
        let mut questions = Vec::new();
        let needs: Vec<(Question, &Need)> = look.needs.iter().collect();
        for ((question, mut used), (_, need)) in look.questions().into_iter().zip(needs) {
            let way = mirrors && (self.mirror.is_some() || !self.registry.is_empty());
            let mut other = way || self.is_down(&used.image);
            other |= self.without_secrets(look, &mut used).await?;
            if self.nodes_arch.is_some()
                && let Some(placement) = lands_on(need, nodes)
            {
                used.placement = placement;
                other = true;
            }
            if other {
                questions.push((question, used));
            }
        }
        Ok(questions)
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
            let asked = look.cluster.service_account(&namespace, &account, clock().1).await;
            match asked {
                ServiceAccountAnswer::Found(facts) => used.pull_secrets = facts.pull_secrets,
                ServiceAccountAnswer::Missing | ServiceAccountAnswer::NotInFiles => {}
                ServiceAccountAnswer::Unavailable => {
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

    /// What would be answered then, as far as it is worse than today.
    fn changed(
        &self,
        today: &Answers,
        others: &[(Question, ImageUse)],
        found: &Answers,
    ) -> Answers {
        let others: BTreeSet<&Question> = others.iter().map(|(question, _)| question).collect();
        let mut then = Answers::new();
        for (question, now) in today {
            let answer = if others.contains(question) {
                let Some(answer) = found.get(question) else { continue };
                self.as_supposed(&question.0.image, *answer)
            } else {
                *now
            };
            let told = self.drain.is_some() || answer.0 > now.0;
            then.insert(question.clone(), if told { answer } else { (Verdict::Works, None) });
        }
        then
    }

    /// A registry that is supposed to be down gives nobody anything, and what cannot run on the nodes
    /// that are supposed is no better than what cannot be pulled.
    fn as_supposed(
        &self,
        image: &str,
        (verdict, cause): (Verdict, Option<Cause>),
    ) -> (Verdict, Option<Cause>) {
        match (verdict, cause) {
            (Verdict::CannotTell, Some(Cause::ConnectionRefused)) if self.is_down(image) => {
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
fn mirror_files(path: &Path) -> anyhow::Result<MirrorFiles> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending {
        _ if path.is_dir() => Ok(MirrorFiles::Containerd(path.to_owned())),
        Some("yaml" | "yml") => Ok(MirrorFiles::K3s(path.to_owned())),
        Some("conf") => Ok(MirrorFiles::Crio(path.to_owned())),
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
        node.images.clear();
        node.listed_images = 0;
        for (label, value) in &mut node.labels {
            if &**label == ARCH_LABEL {
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
