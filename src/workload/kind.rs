//! Which kinds make pods, and where in each the pod is.

/// A kind that makes pods, as the webhook configuration and the policy name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadKind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Kind, such as `Deployment`.
    pub kind: &'static str,
    /// Plural resource name, such as `deployments`.
    pub resource: &'static str,
    /// The keys that lead to the pod (template): below them stand `metadata` and `spec`.
    pub template: &'static [&'static str],
}

const fn kind(
    group: &'static str,
    kind: &'static str,
    resource: &'static str,
    template: &'static [&'static str],
) -> WorkloadKind {
    WorkloadKind { group, kind, resource, template }
}

const TEMPLATE: &[&str] = &["spec", "template"];

/// The kinds of Kubernetes itself that make pods, the Pod included.
const BUILT_IN: &[WorkloadKind] = &[
    kind("", "Pod", "pods", &[]),
    kind("apps", "Deployment", "deployments", TEMPLATE),
    kind("apps", "ReplicaSet", "replicasets", TEMPLATE),
    kind("apps", "StatefulSet", "statefulsets", TEMPLATE),
    kind("apps", "DaemonSet", "daemonsets", TEMPLATE),
    kind("batch", "Job", "jobs", TEMPLATE),
    kind("batch", "CronJob", "cronjobs", &["spec", "jobTemplate", "spec", "template"]),
    kind("", "ReplicationController", "replicationcontrollers", TEMPLATE),
    kind("", "PodTemplate", "podtemplates", &["template"]),
];

/// The kinds of Kubernetes itself that make pods, the Pod included.
pub const fn built_in_kinds() -> &'static [WorkloadKind] {
    BUILT_IN
}

/// Where the pod (template) of an object is: the keys that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPath(Vec<Box<str>>);

impl PodPath {
    /// A path from keys, as a policy gives it for a kind of its own.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k str>) -> Self {
        Self(keys.into_iter().map(Box::from).collect())
    }

    /// The keys, outermost first; none for a Pod.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether the object is the pod itself.
    pub fn is_pod(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON pointer of the pod's `spec`.
    pub(super) fn spec_pointer(&self) -> String {
        let mut pointer = String::new();
        for key in self.keys().chain(["spec"]) {
            pointer.push('/');
            pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }
}

/// A kind of Tekton's (`tekton.dev`) that names images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TektonKind {
    /// Steps to be run some time; nobody knows yet under which account.
    Task,
    /// A pod's worth of steps.
    TaskRun,
    /// Tasks to be run some time.
    Pipeline,
    /// Tasks that are run now.
    PipelineRun,
}

impl TektonKind {
    /// The API group.
    pub(crate) const GROUP: &'static str = "tekton.dev";
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Task, Self::TaskRun, Self::Pipeline, Self::PipelineRun];

    /// The kind, as objects name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "Task",
            Self::TaskRun => "TaskRun",
            Self::Pipeline => "Pipeline",
            Self::PipelineRun => "PipelineRun",
        }
    }
}

/// Where objects of this group and kind keep their pod, for the built-in kinds. Older versions of
/// a group (`extensions`, `apps/v1beta1`) are the same here: the API server converts them.
pub fn pod_path(group: &str, kind: &str) -> Option<PodPath> {
    BUILT_IN
        .iter()
        .find(|known| known.group == group && known.kind == kind)
        .map(|known| PodPath::new(known.template.iter().copied()))
}
