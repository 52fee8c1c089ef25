//! Tekton's objects, which have no pod template: their images stand in lists of steps and sidecars.
//!
//! What is known before a pod is there differs by kind. A `TaskRun` says which account and which pull
//! secrets its pod will have; a Task says neither, so nothing certain can be said of its images.
//! Of a Pipeline and its run only the tasks that start at once are read: those after them may run
//! what the first ones build. Their `TaskRun`s and pods are judged when they come.
//!
//! The fields are those of `tekton.dev/v1` and `v1beta1`
//! (<https://tekton.dev/docs/pipelines/pipeline-api/>).

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::extract::{ExtractError, head, pull_secrets, read, volume_images};
use super::kind::TektonKind;
use super::object::{ContainerImage, ContainerKind, ImagePullPolicy, Workload};
use super::placement::Placement;
use super::view::{ContainerView, HeadView, PodSpecView, VolumeView, text};
use crate::kube_views::Text;

/// How Tekton marks what it puts in at run time, as in `$(params.image)`.
const SUBSTITUTED: &str = "$(";

type Seq<T> = Option<Vec<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectView<'a> {
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TaskView<'a> {
    /// Only embedded custom tasks have one: whatever they are, they are not these.
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    steps: Seq<ContainerView<'a>>,
    #[serde(borrow)]
    sidecars: Seq<ContainerView<'a>>,
    #[serde(borrow)]
    step_template: Option<ContainerView<'a>>,
    #[serde(borrow)]
    volumes: Seq<VolumeView<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TaskRunView<'a> {
    #[serde(borrow)]
    task_spec: Option<TaskView<'a>>,
    #[serde(borrow)]
    service_account_name: Option<Text<'a>>,
    #[serde(borrow)]
    pod_template: Option<PodSpecView<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PipelineView<'a> {
    #[serde(borrow)]
    tasks: Seq<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PipelineTaskView<'a> {
    #[serde(borrow)]
    task_spec: Option<TaskView<'a>>,
    run_after: Seq<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PipelineRunView<'a> {
    #[serde(borrow)]
    pipeline_spec: Option<PipelineView<'a>>,
    /// Account and pod template in `v1`.
    #[serde(borrow)]
    task_run_template: Option<TaskRunView<'a>>,
    /// In `v1beta1` they stand here.
    #[serde(borrow)]
    service_account_name: Option<Text<'a>>,
    #[serde(borrow)]
    pod_template: Option<PodSpecView<'a>>,
    task_run_specs: Seq<IgnoredAny>,
}

/// What an object says of its pods besides their images. Nothing, where it does not know.
#[derive(Default)]
struct PodFacts {
    account: Option<Box<str>>,
    pull_secrets: Vec<Box<str>>,
    placement: Option<Placement>,
}

impl PodFacts {
    /// Account and pod template of a run. Tekton's own webhook has filled in both before any other
    /// is asked; where no account is given it has not, and may yet add pull secrets.
    fn of(account: Option<&Text<'_>>, template: Option<&PodSpecView<'_>>) -> Self {
        let account = Some(text(account)).filter(|name| !name.is_empty());
        let pull_secrets = template.map(pull_secrets).unwrap_or_default();
        let placement = account.is_some().then(|| template.map(Placement::of).unwrap_or_default());
        Self { account, pull_secrets, placement }
    }
}

/// Reads an object of Tekton.
pub(super) fn extract(object: &RawValue, kind: TektonKind) -> Result<Workload, ExtractError> {
    let top: HeadView<'_> = read(object, "head")?;
    let spec = read::<ObjectView<'_>>(object, "spec")?.spec;
    let mut images = Vec::new();
    let mut said = PodFacts::default();
    if let Some(spec) = spec {
        match kind {
            TektonKind::Task => {
                let task = part::<TaskView<'_>>(spec, "task")?;
                task.add_to(&mut images, "/spec");
                // It may run long after this, when another pod has brought the image to a node.
                images.retain(|image| image.pull_policy != ImagePullPolicy::Never);
            }
            TektonKind::TaskRun => {
                let run = part::<TaskRunView<'_>>(spec, "task run")?;
                said = PodFacts::of(run.service_account_name.as_ref(), run.pod_template.as_ref());
                run.task_spec.unwrap_or_default().add_to(&mut images, "/spec/taskSpec");
            }
            TektonKind::Pipeline => {
                let pipeline = part::<PipelineView<'_>>(spec, "pipeline")?;
                pipeline.add_to(&mut images, "/spec")?;
                images.retain(|image| image.pull_policy != ImagePullPolicy::Never);
            }
            TektonKind::PipelineRun => {
                let run = part::<PipelineRunView<'_>>(spec, "pipeline run")?;
                said = run.said();
                run.pipeline_spec.unwrap_or_default().add_to(&mut images, "/spec/pipelineSpec")?;
            }
        }
    }
    Ok(Workload {
        images,
        pull_secrets: said.pull_secrets,
        service_account: said.account,
        placement: said.placement.unwrap_or_else(Placement::not_yet_known),
        ..head(&top)
    })
}

/// A part of an object; `null` is as if it were not there.
fn part<'a, T: Deserialize<'a> + Default>(
    value: &'a RawValue,
    name: &'static str,
) -> Result<T, ExtractError> {
    Ok(read::<Option<T>>(value, name)?.unwrap_or_default())
}

impl TaskView<'_> {
    /// Adds the images that are written out. A step without one takes the template's; one that
    /// refers to a `StepAction` has its image there.
    fn add_to(&self, images: &mut Vec<ContainerImage>, pointer: &str) {
        if self.api_version.is_some() {
            return;
        }
        let template = self.step_template.as_ref();
        let template_image = template.and_then(|template| template.image.as_ref());
        let template_policy = template.and_then(|template| template.image_pull_policy.as_ref());
        for (index, step) in self.steps.iter().flatten().enumerate() {
            let own = step.image.as_ref().filter(|image| !image.0.is_empty());
            let at = match own {
                Some(_) => format!("{pointer}/steps/{index}/image"),
                None => format!("{pointer}/stepTemplate/image"),
            };
            if own.is_none() && step.refers.is_some() {
                continue;
            }
            let policy = step.image_pull_policy.as_ref().filter(|policy| !policy.0.is_empty());
            let policy = policy.or(template_policy);
            add(images, step.name.as_ref(), own.or(template_image), policy, at);
        }
        for (index, sidecar) in self.sidecars.iter().flatten().enumerate() {
            let at = format!("{pointer}/sidecars/{index}/image");
            let policy = sidecar.image_pull_policy.as_ref();
            add(images, sidecar.name.as_ref(), sidecar.image.as_ref(), policy, at);
        }
        let volumes = volume_images(self.volumes.as_deref().unwrap_or_default(), pointer);
        images.extend(volumes.into_iter().filter(|image| is_written_out(&image.image)));
    }
}

impl PipelineView<'_> {
    /// Adds the images of the tasks that start at once: nothing runs before them, and they wait
    /// for no result of another.
    fn add_to(&self, images: &mut Vec<ContainerImage>, pointer: &str) -> Result<(), ExtractError> {
        for (index, raw) in self.tasks.iter().flatten().enumerate() {
            let task = part::<PipelineTaskView<'_>>(raw, "pipeline task")?;
            let waits = task.run_after.is_some_and(|after| !after.is_empty())
                || raw.get().contains("$(tasks.");
            if let (Some(spec), false) = (task.task_spec, waits) {
                spec.add_to(images, &format!("{pointer}/tasks/{index}/taskSpec"));
            }
        }
        Ok(())
    }
}

impl PipelineRunView<'_> {
    /// Where single tasks have accounts or pod templates of their own, nothing is known of all.
    fn said(&self) -> PodFacts {
        if self.task_run_specs.as_ref().is_some_and(|specs| !specs.is_empty()) {
            return PodFacts::default();
        }
        match &self.task_run_template {
            Some(template) => {
                PodFacts::of(template.service_account_name.as_ref(), template.pod_template.as_ref())
            }
            None => PodFacts::of(self.service_account_name.as_ref(), self.pod_template.as_ref()),
        }
    }
}

fn add(
    images: &mut Vec<ContainerImage>,
    name: Option<&Text<'_>>,
    image: Option<&Text<'_>>,
    policy: Option<&Text<'_>>,
    pointer: String,
) {
    let image = text(image);
    if is_written_out(&image) {
        images.push(ContainerImage {
            kind: ContainerKind::Regular,
            container: text(name),
            pull_policy: ImagePullPolicy::of(&text(policy), &image),
            image,
            pointer: pointer.into(),
        });
    }
}

/// Whether this is what a node will be asked to pull.
fn is_written_out(image: &str) -> bool {
    !image.is_empty() && !image.contains(SUBSTITUTED)
}
