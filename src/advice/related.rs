//! What to say of an image's neighbours: the Service of its registry, the job that builds it, the
//! pods that run already.

use jiff::Timestamp;

use super::secret::is_plain;
use super::{Advice, AdviceKind};
use crate::builds::{BuildJob, BuildKind, BuildState, ContainerEnd, JobRerun};
use crate::history::{
    AllowedSources, PodTrouble, RegistryService, SelectingNetworkPolicy, ServiceState, how_long_ago,
};
use crate::image::Digest;
use crate::pull::PullsLeft;
use crate::text::quoted;
use crate::workload::Rollout;

/// Letters of a run's name in front of those that the API server adds: it takes 58.
const MAX_START: usize = 52;
/// Characters of what a container wrote before it ended.
const MAX_LINE: usize = 160;

impl Advice {
    /// The Service behind which nobody answers; nothing about one that has ready endpoints.
    pub fn registry_service(service: &RegistryService) -> Option<Self> {
        let RegistryService { namespace, name, state } = service;
        let name = format!("{namespace}/{name}");
        let message = match state {
            ServiceState::Ready(_) => return None,
            ServiceState::Missing => format!("there is no Service {name}"),
            ServiceState::NoPods => {
                format!("registry Service {name} has no ready endpoints: no pod is behind it")
            }
            ServiceState::NotReady { pods, trouble } => {
                let trouble = trouble.map(|trouble| format!(": {}", words_of(trouble)));
                let trouble = trouble.unwrap_or_default();
                format!("registry Service {name} has no ready endpoints (0 of {pods}){trouble}")
            }
        };
        Some(Self::new(AdviceKind::RegistryService, name, message))
    }

    /// A network policy that selects the pods behind a Service.
    pub fn network_policy(namespace: &str, fence: &SelectingNetworkPolicy) -> Self {
        let whom = match fence.allowed {
            AllowedSources::Nobody => "no source",
            AllowedSources::Some => {
                "only the sources it names; nodes pull from their own addresses"
            }
            AllowedSources::Everybody => "all sources, on some ports",
        };
        let name = format!("{namespace}/{}", fence.name);
        let message = format!("NetworkPolicy {name} selects the registry's pods and allows {whom}");
        Self::new(AdviceKind::NetworkPolicy, name, message)
    }

    /// The job that was to push the image.
    pub fn build_job(job: &BuildJob, trouble: Option<PodTrouble>, now: Timestamp) -> Self {
        let BuildJob { kind, namespace, name, pushes, state, rerun_as: _ } = job;
        let name = format!("{namespace}/{name}");
        let what = noun(*kind);
        let that = if *pushes { "that pushes it" } else { "that names it" };
        let ago = |at: &Option<Timestamp>| {
            at.map(|at| format!(" {}", how_long_ago(at, now))).unwrap_or_default()
        };
        let how = match state {
            BuildState::Failed { at, too_long: true } => {
                format!("failed{}: it took too long", ago(at))
            }
            BuildState::Failed { at, .. } => {
                let trouble = trouble.map(|trouble| format!(": {}", words_of(trouble)));
                format!("failed{}{}", ago(at), trouble.unwrap_or_default())
            }
            BuildState::Running { since, failed } => {
                let since = since.map(|since| format!(", started {}", how_long_ago(since, now)));
                let since = since.unwrap_or_default();
                match (trouble, failed) {
                    (Some(trouble), _) => format!("is running{since}, but {}", words_of(trouble)),
                    (None, 0) => format!("is running{since}: wait for it"),
                    (None, 1) => format!("is running{since} after a failed attempt"),
                    (None, failed) => format!("is running{since} after {failed} failed attempts"),
                }
            }
            BuildState::NeverRun { suspended: true } => "has never run: it is suspended".to_owned(),
            BuildState::NeverRun { suspended: false } => "has never run".to_owned(),
            BuildState::Completed { at } => {
                format!("succeeded{}: see where it pushes to", ago(at))
            }
            BuildState::Ran { at } => format!("last ran {}", how_long_ago(*at, now)),
        };
        let advice = Self::new(AdviceKind::BuildJob, &*name, format!("{what} {name} {that} {how}"));
        Self { command: again(job), ..advice }
    }

    /// The job that pushes another tag of the repository.
    pub(crate) fn builds_other_tag(job: &BuildJob, built: &str, wanted: &str) -> Self {
        let what = noun(job.kind);
        let name = format!("{}/{}", job.namespace, job.name);
        let message = format!("{what} {name} pushes {built}, and not {wanted}");
        Self::new(AdviceKind::BuildJob, name, message)
    }

    /// Nobody pushes to this repository of a registry inside the cluster.
    pub fn nobody_builds() -> Self {
        let message =
            "no Job, CronJob, pod or Tekton run in this cluster pushes to this repository";
        Self::new(AdviceKind::BuildJob, "", message)
    }

    /// How a container of a build ended.
    pub fn build_end(job: &BuildJob, end: &ContainerEnd) -> Self {
        let ContainerEnd { container, reason, exit_code, message } = end;
        let name = format!("{}/{}", job.namespace, job.name);
        let wrote =
            message.as_ref().map(|line| format!(" and wrote {}", quoted(line, '"', MAX_LINE)));
        let message = format!(
            "container {container} of {} {name} ended with {reason} (exit code {exit_code}){}",
            noun(job.kind),
            wrote.unwrap_or_default()
        );
        Self::new(AdviceKind::BuildJob, name, message)
    }

    /// What becomes of the pods of the previous revision; nothing if none run.
    pub fn keeps_running(running: u32, rollout: Rollout) -> Option<Self> {
        let kept = rollout.kept(running);
        let pods = if running == 1 { "pod" } else { "pods" };
        let message = match (rollout, kept) {
            (_, _) if running == 0 => return None,
            (Rollout::StopsAll, _) => {
                format!("its strategy Recreate stops the {running} running {pods} first")
            }
            (_, kept) if kept == running => {
                let run = if running == 1 { "runs and goes" } else { "run and go" };
                format!("{running} {pods} of the previous revision {run} on running")
            }
            (_, 0) => format!("the {running} running {pods} may be stopped first"),
            (_, kept) => {
                let go = if kept == 1 { "goes" } else { "go" };
                format!("{kept} of {running} {pods} of the previous revision {go} on running")
            }
        };
        Some(Self::new(AdviceKind::KeepsRunning, kept.to_string(), message))
    }

    /// A tag under which pods have several images at once.
    pub fn tag_differs(tag: &str, contents: usize, digest: &Digest) -> Self {
        let message = format!("pods here have {contents} images as {tag}: pin @{digest}");
        Self::new(AdviceKind::MutableTag, digest.as_str(), message)
    }

    /// That pulls left do not do, for the account that pulls or for an address that nodes may share.
    pub fn pull_quota(left: PullsLeft, of_account: bool) -> Self {
        let message = if of_account {
            let hours = left.window.as_secs().div_ceil(3600).max(1);
            format!(
                "an estimate; pods beyond that fail with 429 until the limit resets ({hours} h window)"
            )
        } else {
            "an estimate; by the policy nodes share that address; with a pull secret the account's \
             limit counts"
                .to_owned()
        };
        Self::new(AdviceKind::PullQuota, left.remaining.to_string(), message)
    }

    /// What every pod to come runs, since each start asks the registry.
    pub fn next_start_differs(now: &Digest) -> Self {
        Self::new(
            AdviceKind::DigestDrift,
            now.as_str(),
            format!("new pods pull what it has now, @{now}"),
        )
    }

    /// What pods to come run on nodes that do not have the tag yet.
    pub fn some_nodes_differ(now: &Digest) -> Self {
        let message = format!("nodes without the tag pull @{now}, others run what they have");
        Self::new(AdviceKind::DigestDrift, now.as_str(), message)
    }

    /// A tag that moves, and nodes that do not look again.
    pub fn tag_moves(digest: &Digest) -> Self {
        let message = format!("with IfNotPresent nodes keep older images: pin @{digest}");
        Self::new(AdviceKind::MutableTag, digest.as_str(), message)
    }
}

/// What a build is called.
const fn noun(kind: BuildKind) -> &'static str {
    match kind {
        BuildKind::Job => "build job",
        BuildKind::Pod => "build pod",
        BuildKind::PipelineRun => "PipelineRun",
        BuildKind::TaskRun => "TaskRun",
        BuildKind::CronJob => "build CronJob",
    }
}

/// The command that runs a build again, where it is needed and that is to be done by one. Nothing
/// but kubectl is in it: what must not be in the new object is taken out by a patch that stays here.
fn again(job: &BuildJob) -> Option<String> {
    let BuildJob { kind, namespace, name, state, rerun_as, .. } = job;
    let mut names = vec![namespace, name];
    names.extend(rerun_as.iter().flat_map(|rerun| [&rerun.cron_job, &rerun.name]));
    if !names.into_iter().all(|name| is_plain(name)) || is_needless(*kind, *state) {
        return None;
    }
    let suspended = matches!(state, BuildState::NeverRun { suspended: true });
    let patch = |what: &str, patch: &str| {
        format!("kubectl patch {what} {name} -n {namespace} --type=merge -p '{patch}'")
    };
    let without = |what: &str, left_out: &str| {
        let dry = "--dry-run=client -o json";
        format!("kubectl patch {what} {name} -n {namespace} {dry} --type=merge -p '{left_out}'")
    };
    Some(match (kind, rerun_as) {
        (BuildKind::Job, _) if suspended => patch("job", r#"{"spec":{"suspend":false}}"#),
        (BuildKind::PipelineRun, _) if suspended => {
            patch("pipelinerun", r#"{"spec":{"status":null}}"#)
        }
        (BuildKind::CronJob | BuildKind::Job, Some(JobRerun { cron_job, name })) => {
            format!("kubectl create job {name} --from=cronjob/{cron_job} -n {namespace}")
        }
        (BuildKind::CronJob, None) => return None,
        // A Job is run once: it is made anew, without what its controller wrote into it.
        (BuildKind::Job, None) => {
            let written = "{\"spec\":{\"selector\":null,\"template\":{\"metadata\":{\"labels\":{\
                           \"controller-uid\":null,\"batch.kubernetes.io/controller-uid\":null}}}}}";
            format!("{} | kubectl replace --force -f -", without("job", written))
        }
        (BuildKind::PipelineRun | BuildKind::TaskRun, _) => {
            let start: String = name.chars().take(MAX_START).collect();
            let start = start.trim_end_matches(['-', '.']);
            let old = format!(
                "{{\"metadata\":{{\"name\":null,\"generateName\":\"{start}-\",\"labels\":null,\
                 \"annotations\":null,\"ownerReferences\":null}},\"spec\":{{\"status\":null}},\
                 \"status\":null}}"
            );
            let run = noun(*kind).to_ascii_lowercase();
            format!("{} | kubectl create -f -", without(&run, &old))
        }
        (BuildKind::Pod, _) => {
            let node = r#"{"spec":{"nodeName":null}}"#;
            format!("{} | kubectl replace --force -f -", without("pod", node))
        }
    })
}

/// Whether a build need not be run again, or does so by itself.
const fn is_needless(kind: BuildKind, state: BuildState) -> bool {
    match state {
        BuildState::Running { .. } | BuildState::Completed { .. } => true,
        BuildState::NeverRun { suspended: false } | BuildState::Ran { .. } => {
            !matches!(kind, BuildKind::CronJob)
        }
        BuildState::Failed { .. } | BuildState::NeverRun { suspended: true } => false,
    }
}

/// What is wrong with a pod, in words that continue a line.
fn words_of(trouble: PodTrouble) -> String {
    match trouble {
        PodTrouble::CannotPull(cause) => format!("its pod cannot pull its own image ({cause})"),
        PodTrouble::Crashing => "its pod keeps crashing".to_owned(),
        PodTrouble::OutOfMemory => "its pod ran out of memory".to_owned(),
        PodTrouble::ExitCode(code) => format!("its pod ended with exit code {code}"),
        PodTrouble::Evicted => "its pod was evicted".to_owned(),
        PodTrouble::Unschedulable => "its pod cannot be scheduled".to_owned(),
    }
}
