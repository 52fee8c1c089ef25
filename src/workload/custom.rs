//! Custom resources that name images without being, or having, a pod template: an operator puts
//! them into pods of its own.
//!
//! [`CUSTOM`] is the table, and all that a new kind needs. Where its pods run and what else they get
//! is up to the operator: nothing is said of nodes, and of account and pull secrets only what the
//! object itself says. Only files are read by this table; in a cluster the operator's pods are
//! reviewed when they come.

use serde_json::Value;
use serde_json::value::RawValue;

use super::extract::{ExtractError, head, images, read};
use super::object::{ContainerImage, ContainerKind, ImagePullPolicy, Workload};
use super::placement::Placement;
use super::view::{HeadView, PodSpecView};

/// Kinds of one group that have their images at the same places.
#[derive(Debug, PartialEq, Eq)]
pub struct CustomKind {
    group: &'static str,
    kinds: &'static [&'static str],
    /// What all paths below begin with.
    root: &'static str,
    fields: &'static [Field],
    /// Paths of the names of pull secrets.
    secrets: &'static [&'static str],
    /// Path of the ServiceAccount's name. Where an object does not give it, the operator does.
    account: Option<&'static str>,
    /// What stands in an image that is put together at run time.
    parameter: Option<&'static str>,
}

/// Where images are. In a path, `*` is every item of a list or every value of a map.
#[derive(Debug, PartialEq, Eq)]
enum Field {
    /// An image.
    Image(&'static str),
    /// An image of a volume or disk.
    Disk(&'static str),
    /// A pod spec.
    PodSpec(&'static str),
    /// An address whose scheme makes it an image, such as `docker://`; others are none.
    Url(&'static str, &'static str),
    /// An address with the scheme `oci://`; beside it may stand `ref` with a tag, a digest, or a
    /// range of versions, which names no image.
    OciRepository(&'static str),
}

use Field::{Disk, Image, OciRepository, PodSpec, Url};

/// Most kinds have nothing to say of these.
const PLAIN: CustomKind = CustomKind {
    group: "",
    kinds: &[],
    root: "spec",
    fields: &[Image("image")],
    secrets: &["imagePullSecrets.*.name"],
    account: None,
    parameter: None,
};

/// Of each of Argo's templates, also where it is written into a step or task.
/// <https://argo-workflows.readthedocs.io/en/latest/fields/>
const ARGO: &[Field] = &[
    Image("templateDefaults.container.image"),
    Image("templateDefaults.script.image"),
    Image("templates.*.initContainers.*.image"),
    Image("templates.*.container.image"),
    Image("templates.*.script.image"),
    Image("templates.*.containerSet.containers.*.image"),
    Image("templates.*.sidecars.*.image"),
    Image("templates.*.steps.*.*.inline.container.image"),
    Image("templates.*.steps.*.*.inline.script.image"),
    Image("templates.*.dag.tasks.*.inline.container.image"),
    Image("templates.*.dag.tasks.*.inline.script.image"),
];
const ARGO_PARAMETER: Option<&str> = Some("{{");

const SPARK: &[Field] = &[
    Image("image"),
    Image("driver.image"),
    Image("driver.initContainers.*.image"),
    Image("driver.sidecars.*.image"),
    Image("executor.image"),
    Image("executor.initContainers.*.image"),
    Image("executor.sidecars.*.image"),
];

const KUBEVIRT: &[Field] =
    &[Disk("volumes.*.containerDisk.image"), Image("domain.firmware.kernelBoot.container.image")];

/// Every kind. One line more makes one more known; `tests/it/custom_resources.rs` wants an example.
const CUSTOM: &[CustomKind] = &[
    CustomKind {
        group: "argoproj.io",
        kinds: &["Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate"],
        fields: ARGO,
        parameter: ARGO_PARAMETER,
        ..PLAIN
    },
    CustomKind {
        group: "argoproj.io",
        kinds: &["CronWorkflow"],
        root: "spec.workflowSpec",
        fields: ARGO,
        parameter: ARGO_PARAMETER,
        ..PLAIN
    },
    // Containers without an image are patches of the operator's own.
    CustomKind {
        group: "monitoring.coreos.com",
        kinds: &["Prometheus", "PrometheusAgent", "Alertmanager", "ThanosRuler"],
        fields: &[
            Image("image"),
            Image("thanos.image"),
            Image("initContainers.*.image"),
            Image("containers.*.image"),
        ],
        account: Some("serviceAccountName"),
        ..PLAIN
    },
    CustomKind {
        group: "kafka.strimzi.io",
        kinds: &["Kafka"],
        fields: &[
            Image("kafka.image"),
            Image("zookeeper.image"),
            Image("entityOperator.topicOperator.image"),
            Image("entityOperator.userOperator.image"),
            Image("entityOperator.tlsSidecar.image"),
            Image("cruiseControl.image"),
            Image("kafkaExporter.image"),
        ],
        secrets: &[],
        ..PLAIN
    },
    CustomKind {
        group: "kafka.strimzi.io",
        kinds: &["KafkaConnect", "KafkaMirrorMaker", "KafkaMirrorMaker2", "KafkaBridge"],
        secrets: &["template.pod.imagePullSecrets.*.name"],
        ..PLAIN
    },
    CustomKind {
        group: "kubevirt.io",
        kinds: &["VirtualMachine", "VirtualMachineInstanceReplicaSet"],
        root: "spec.template.spec",
        fields: KUBEVIRT,
        secrets: &["volumes.*.containerDisk.imagePullSecret"],
        ..PLAIN
    },
    CustomKind {
        group: "kubevirt.io",
        kinds: &["VirtualMachineInstance"],
        fields: KUBEVIRT,
        secrets: &["volumes.*.containerDisk.imagePullSecret"],
        ..PLAIN
    },
    CustomKind {
        group: "cdi.kubevirt.io",
        kinds: &["DataVolume"],
        fields: &[Url("docker://", "source.registry.url")],
        secrets: &[],
        ..PLAIN
    },
    CustomKind {
        group: "source.toolkit.fluxcd.io",
        kinds: &["OCIRepository"],
        fields: &[OciRepository("url")],
        secrets: &["secretRef.name"],
        ..PLAIN
    },
    CustomKind {
        group: "extensions.istio.io",
        kinds: &["WasmPlugin"],
        fields: &[Url("oci://", "url")],
        secrets: &["imagePullSecret"],
        ..PLAIN
    },
    CustomKind {
        group: "postgresql.cnpg.io",
        kinds: &["Cluster"],
        fields: &[Image("imageName"), Disk("postgresql.extensions.*.image.reference")],
        ..PLAIN
    },
    CustomKind {
        group: "postgresql.cnpg.io",
        kinds: &["ImageCatalog", "ClusterImageCatalog"],
        fields: &[Image("images.*.image")],
        secrets: &[],
        ..PLAIN
    },
    CustomKind {
        group: "elasticsearch.k8s.elastic.co",
        kinds: &["Elasticsearch"],
        fields: &[Image("image"), PodSpec("nodeSets.*.podTemplate.spec")],
        secrets: &["nodeSets.*.podTemplate.spec.imagePullSecrets.*.name"],
        ..PLAIN
    },
    CustomKind {
        group: "kibana.k8s.elastic.co",
        kinds: &["Kibana"],
        fields: &[Image("image"), PodSpec("podTemplate.spec")],
        secrets: &["podTemplate.spec.imagePullSecrets.*.name"],
        ..PLAIN
    },
    CustomKind {
        group: "beat.k8s.elastic.co",
        kinds: &["Beat"],
        fields: &[
            Image("image"),
            PodSpec("daemonSet.podTemplate.spec"),
            PodSpec("deployment.podTemplate.spec"),
        ],
        secrets: &[],
        ..PLAIN
    },
    CustomKind {
        group: "sparkoperator.k8s.io",
        kinds: &["SparkApplication"],
        fields: SPARK,
        secrets: &["imagePullSecrets.*"],
        ..PLAIN
    },
    CustomKind {
        group: "sparkoperator.k8s.io",
        kinds: &["ScheduledSparkApplication"],
        root: "spec.template",
        fields: SPARK,
        secrets: &["imagePullSecrets.*"],
        ..PLAIN
    },
    CustomKind {
        group: "flink.apache.org",
        kinds: &["FlinkDeployment"],
        fields: &[
            Image("image"),
            PodSpec("podTemplate.spec"),
            PodSpec("jobManager.podTemplate.spec"),
            PodSpec("taskManager.podTemplate.spec"),
        ],
        secrets: &["podTemplate.spec.imagePullSecrets.*.name"],
        account: Some("serviceAccount"),
        ..PLAIN
    },
    CustomKind {
        group: "opentelemetry.io",
        kinds: &["OpenTelemetryCollector"],
        secrets: &[],
        account: Some("serviceAccount"),
        ..PLAIN
    },
    CustomKind { group: "rabbitmq.com", kinds: &["RabbitmqCluster"], ..PLAIN },
    CustomKind {
        group: "ray.io",
        kinds: &["RayCluster"],
        fields: &[
            PodSpec("headGroupSpec.template.spec"),
            PodSpec("workerGroupSpecs.*.template.spec"),
        ],
        secrets: &[],
        ..PLAIN
    },
    CustomKind {
        group: "kubeflow.org",
        kinds: &["PyTorchJob"],
        fields: &[PodSpec("pytorchReplicaSpecs.*.template.spec")],
        secrets: &[],
        ..PLAIN
    },
    CustomKind {
        group: "jobset.x-k8s.io",
        kinds: &["JobSet"],
        fields: &[PodSpec("replicatedJobs.*.template.spec.template.spec")],
        secrets: &[],
        ..PLAIN
    },
];

/// What is known of this kind.
pub fn custom_kind(group: &str, kind: &str) -> Option<&'static CustomKind> {
    CUSTOM.iter().find(|known| known.group == group && known.kinds.contains(&kind))
}

/// Group and kind of everything in the table.
pub fn custom_kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    CUSTOM.iter().flat_map(|known| known.kinds.iter().map(|kind| (known.group, *kind)))
}

/// A value with its JSON pointer.
struct Place<'v> {
    value: &'v Value,
    pointer: String,
    /// What it is in, outermost first.
    above: Vec<&'v Value>,
}

impl CustomKind {
    /// Reads an object of this kind. What is of another type than it should be is no image.
    pub(super) fn extract(&self, object: &RawValue) -> Result<Workload, ExtractError> {
        let top: HeadView<'_> = read(object, "head")?;
        let value: Value = read(object, "object")?;
        let mut found = Vec::new();
        for field in self.fields {
            self.add(&mut found, &value, field);
        }
        // It may run long after this, when another pod has brought the image to a node.
        found.retain(|image: &ContainerImage| {
            let later = self.parameter.is_some_and(|mark| image.image.contains(mark));
            !image.image.is_empty() && !later && image.pull_policy != ImagePullPolicy::Never
        });
        let text =
            |place: Place<'_>| place.value.as_str().filter(|text| !text.is_empty()).map(Box::from);
        let mut names = Vec::new();
        for path in self.secrets {
            names.extend(self.places(&value, path).into_iter().filter_map(text));
        }
        let account =
            self.account.and_then(|path| self.places(&value, path).into_iter().find_map(text));
        Ok(Workload {
            images: found,
            pull_secrets: names,
            service_account: account,
            placement: Placement::not_yet_known(),
            ..head(&top)
        })
    }

    fn add(&self, found: &mut Vec<ContainerImage>, object: &Value, field: &Field) {
        match field {
            Image(path) | Disk(path) => {
                let kind = match field {
                    Disk(_) => ContainerKind::ImageVolume,
                    _ => ContainerKind::Regular,
                };
                for place in self.places(object, path) {
                    let name = place.value.as_str().unwrap_or_default();
                    found.push(place.image(kind, name));
                }
            }
            PodSpec(path) => {
                for place in self.places(object, path) {
                    let spec = place.value.to_string();
                    if let Ok(spec) = serde_json::from_str::<PodSpecView<'_>>(&spec) {
                        found.extend(images(&spec, &place.pointer));
                    }
                }
            }
            Url(scheme, path) => {
                for place in self.places(object, path) {
                    let name = place.value.as_str().and_then(|url| url.strip_prefix(scheme));
                    found.extend(name.map(|name| place.image(ContainerKind::Regular, name)));
                }
            }
            OciRepository(path) => {
                for place in self.places(object, path) {
                    let name = oci_name(place.value, place.beside("ref"));
                    found.extend(name.map(|name| place.image(ContainerKind::Regular, &name)));
                }
            }
        }
    }

    /// Everything at this path, as far as there is something.
    fn places<'v>(&self, object: &'v Value, path: &str) -> Vec<Place<'v>> {
        let mut places = vec![Place { value: object, pointer: String::new(), above: Vec::new() }];
        for key in self.root.split('.').chain(path.split('.')) {
            places = places.iter().flat_map(|place| place.members(key)).collect();
        }
        places
    }
}

/// The image of an OCI repository: a digest counts before a range of versions, and that before a
/// tag; with neither it is `latest`.
/// <https://fluxcd.io/flux/components/source/ocirepositories/#reference>
fn oci_name(url: &Value, reference: &Value) -> Option<String> {
    let name = url.as_str()?.strip_prefix("oci://")?;
    let part = |key: &str| reference[key].as_str().filter(|text| !text.is_empty());
    match (part("digest"), part("semver"), part("tag")) {
        (Some(digest), _, _) => Some(format!("{name}@{digest}")),
        (None, Some(_), _) => None,
        (None, None, tag) => Some(format!("{name}:{}", tag.unwrap_or("latest"))),
    }
}

impl<'v> Place<'v> {
    fn members(&self, key: &str) -> Vec<Self> {
        let value = self.value;
        let below = |key: &str, member: &'v Value| Self {
            value: member,
            pointer: format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1")),
            above: self.above.iter().copied().chain([value]).collect(),
        };
        match (value, key) {
            (Value::Array(items), "*") => items
                .iter()
                .enumerate()
                .map(|(index, item)| below(&index.to_string(), item))
                .collect(),
            (Value::Object(map), "*") => {
                map.iter().map(|(key, member)| below(key, member)).collect()
            }
            _ => value.get(key).into_iter().map(|member| below(key, member)).collect(),
        }
    }

    /// What stands beside it under this key.
    fn beside(&self, key: &str) -> &'v Value {
        self.above.last().map_or(&Value::Null, |parent| &parent[key])
    }

    /// The image that stands here, called as its container or template is, or else as the part of
    /// the object that has it.
    fn image(&self, kind: ContainerKind, image: &str) -> ContainerImage {
        let named = self.above.iter().rev().take(3).find_map(|above| above["name"].as_str());
        let mut keys = self.pointer.rsplit('/');
        let own = keys.next().unwrap_or_default();
        let part = keys.find(|key| !key.bytes().all(|byte| byte.is_ascii_digit()));
        let name =
            named.or(part.filter(|part| !matches!(*part, "spec" | "template"))).unwrap_or(own);
        let policy = self.beside("imagePullPolicy").as_str().unwrap_or_default();
        ContainerImage {
            kind,
            container: name.into(),
            image: image.trim().into(),
            pull_policy: ImagePullPolicy::of(policy, image),
            pointer: self.pointer.as_str().into(),
        }
    }
}
