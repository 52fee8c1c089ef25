//! Documents as what matters of them: workloads, and the Secrets, ServiceAccounts and Namespaces
//! that stand beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use k8s_openapi::ByteString;
use serde_json::value::RawValue;

use crate::credential::PullSecret;
use crate::report::IMAGE_KIND;
use crate::review::ServiceAccountFacts;
use crate::workload::{NamespaceFacts, PodPlace, Workload, custom_kind, pod_path};
use crate::yaml::{InputError, Node, Position, Tree};

/// Lists within lists.
const MAX_LISTS: usize = 8;
/// Annotations of namespaces that are ours.
const OUR_ANNOTATIONS: &str = "pullgate.dev/";

/// What no image has, and a template has in the place of one.
const TEMPLATE: &str = "{{";

/// A namespace and a name.
pub(super) type Key = (Box<str>, Box<str>);

/// A workload with its place.
#[derive(Debug)]
pub(super) struct Found {
    /// The workload.
    pub(super) workload: Workload,
    /// Its namespace: its own, or the one that stands in for it.
    pub(super) namespace: Box<str>,
    /// The file; nothing if it was not in one.
    pub(super) file: Option<Arc<str>>,
    /// The place of each of its images, in their order.
    pub(super) places: Vec<Position>,
}

/// Everything that was found in the files.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    /// Objects with images.
    pub(super) workloads: Vec<Found>,
    /// Secrets by namespace and name.
    pub(super) secrets: BTreeMap<Key, PullSecret>,
    /// ServiceAccounts by namespace and name.
    pub(super) accounts: BTreeMap<Key, ServiceAccountFacts>,
    /// Namespaces by name.
    pub(super) namespaces: BTreeMap<Box<str>, NamespaceFacts>,
    /// How many documents are no object of Kubernetes.
    pub(super) passed_over: usize,
    /// How many images are what a template would put one in place of.
    pub(super) templates: usize,
}

impl Found {
    /// Whether it is an image that was named by itself.
    pub(super) fn is_alone(&self) -> bool {
        &*self.workload.object.kind == IMAGE_KIND && self.workload.object.api_version.is_empty()
    }
}

/// What is needed to read manifests.
pub(super) struct Reader<'a> {
    /// The namespace of objects that name none.
    pub(super) namespace: &'a str,
    /// Kinds beside those of Kubernetes: group, kind, where their pods are.
    pub(super) extra_kinds: &'a [(Box<str>, Box<str>, PodPlace)],
}

impl Reader<'_> {
    /// Adds a document. `lenient` passes over what is no object of Kubernetes.
    pub(super) fn add(
        &self,
        to: &mut Manifests,
        file: &Arc<str>,
        document: &Tree,
        lenient: bool,
    ) -> Result<(), InputError> {
        self.object(to, file, document, lenient, 0)
    }

    fn object(
        &self,
        to: &mut Manifests,
        file: &Arc<str>,
        tree: &Tree,
        lenient: bool,
        nesting: usize,
    ) -> Result<(), InputError> {
        let fault = |problem: &str| Err(InputError::new(file, tree.at.line_alone(), problem));
        let (version, kind) = (tree.text_of("apiVersion"), tree.text_of("kind"));
        if kind.is_empty() || version.is_empty() {
            if lenient {
                to.passed_over += 1;
                return Ok(());
            }
            return match tree.node {
                Node::Map(_) if kind.is_empty() => fault("this object has no kind"),
                Node::Map(_) => fault("this object has no apiVersion"),
                _ => fault("this is not an object of Kubernetes"),
            };
        }
        let is_list = kind.ends_with("List") && matches!(tree.node, Node::Map(_));
        if is_list && tree.get("items").is_some() {
            if nesting > MAX_LISTS {
                return fault("too many lists within lists");
            }
            for item in tree.items_of("items") {
                self.object(to, file, item, false, nesting + 1)?;
            }
            return Ok(());
        }
        match (version, kind) {
            ("v1", "Secret") => self.secret(to, file, tree),
            ("v1", "ServiceAccount") => {
                to.accounts.insert(self.key(tree), service_account(tree));
                Ok(())
            }
            ("v1", "Namespace") => {
                let mut annotations = pairs(tree, "annotations");
                annotations.retain(|(key, _)| key.starts_with(OUR_ANNOTATIONS));
                let facts = NamespaceFacts { labels: pairs(tree, "labels"), annotations };
                to.namespaces.insert(metadata(tree, "name").into(), facts);
                Ok(())
            }
            _ => self.workload(to, file, tree, version, kind),
        }
    }

    fn workload(
        &self,
        to: &mut Manifests,
        file: &Arc<str>,
        tree: &Tree,
        version: &str,
        kind: &str,
    ) -> Result<(), InputError> {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let extra = self.extra_kinds.iter().find(|(g, k, _)| **g == *group && **k == *kind);
        let place = extra.map(|(_, _, place)| place.clone());
        let built_in = || pod_path(group, kind).map(PodPlace::Template);
        let custom = || custom_kind(group, kind).map(PodPlace::Custom);
        let Some(place) = place.or_else(built_in).or_else(custom) else { return Ok(()) };
        let name = object_name(tree, kind);
        let raw = serde_json::to_string(tree).and_then(RawValue::from_string).map_err(|_| {
            InputError::new(file, tree.at.line_alone(), format!("failed to read {name}"))
        })?;
        let mut workload = place.read(&raw).map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            // The place in the JSON that was made of it means nothing to anybody.
            let why = why.unwrap_or_default();
            let why = why.split(" at line ").next().unwrap_or_default();
            InputError::new(file, tree.at.line_alone(), format!("{name}: {error}: {why}"))
        })?;
        if matches!(place, PodPlace::Tekton(_)) {
            workload = workload.before_defaults();
        }
        let before = workload.images.len();
        workload.images.retain(|image| !image.image.contains(TEMPLATE));
        to.templates += before - workload.images.len();
        let places = workload.images.iter().map(|image| tree.place_of(&image.pointer)).collect();
        let (namespace, _) = self.key(tree);
        to.workloads.push(Found { workload, namespace, file: Some(file.clone()), places });
        Ok(())
    }

    /// Nothing of a Secret's values is repeated, whatever is wrong with them.
    fn secret(&self, to: &mut Manifests, file: &Arc<str>, tree: &Tree) -> Result<(), InputError> {
        let mut data: BTreeMap<String, ByteString> = BTreeMap::new();
        let name = object_name(tree, "Secret");
        let fault = |at: Position, field: &str, key: &str, problem: &str| {
            InputError::new(file, at.line_alone(), format!("{name}: {field} key {key} {problem}"))
        };
        for (field, plain) in [("data", false), ("stringData", true)] {
            let Some(Node::Map(map)) = tree.get(field).map(|tree| &tree.node) else { continue };
            for (key, value) in map {
                let bytes = match (&value.node, plain) {
                    (Node::Null, _) => Vec::new(),
                    (Node::Text(text), true) => text.as_bytes().to_vec(),
                    (Node::Text(text), false) => {
                        let text: String =
                            text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
                        base64::engine::general_purpose::STANDARD
                            .decode(text)
                            .map_err(|_| fault(value.at, field, key, "is not base64"))?
                    }
                    _ => return Err(fault(value.at, field, key, "is not text")),
                };
                data.insert(key.clone(), ByteString(bytes));
            }
        }
        let key = self.key(tree);
        let secret = PullSecret::new(&key.1, tree.text_of("type"), &data);
        to.secrets.insert(key, secret);
        Ok(())
    }

    fn key(&self, tree: &Tree) -> Key {
        let namespace = match metadata(tree, "namespace") {
            "" => self.namespace,
            own => own,
        };
        (namespace.into(), metadata(tree, "name").into())
    }
}

fn service_account(tree: &Tree) -> ServiceAccountFacts {
    let secrets = tree.items_of("imagePullSecrets").iter();
    let names = secrets.map(|secret| secret.text_of("name")).filter(|name| !name.is_empty());
    let enforces = |(key, value): &(Box<str>, Box<str>)| {
        &**key == "kubernetes.io/enforce-mountable-secrets" && &**value == "true"
    };
    ServiceAccountFacts {
        pull_secrets: names.map(Box::from).collect(),
        enforce_mountable_secrets: pairs(tree, "annotations").iter().any(enforces),
    }
}

fn metadata<'t>(tree: &'t Tree, key: &str) -> &'t str {
    tree.get("metadata").map_or("", |metadata| metadata.text_of(key))
}

fn object_name(tree: &Tree, kind: &str) -> String {
    let name = metadata(tree, "name");
    crate::text::clean(&format!("{kind} {name}"))
}

/// Labels or annotations, sorted by key.
fn pairs(tree: &Tree, field: &str) -> Vec<(Box<str>, Box<str>)> {
    match tree.get("metadata").and_then(|metadata| metadata.get(field)).map(|tree| &tree.node) {
        Some(Node::Map(map)) => map
            .iter()
            .filter_map(|(key, value)| Some((key.as_str().into(), value.text()?.into())))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::PodPath;
    use crate::yaml::documents;

    fn read(content: &str, lenient: bool) -> Result<Manifests, InputError> {
        let mut found = Manifests::default();
        let file: Arc<str> = "f".into();
        let place = PodPlace::Template(PodPath::new(["spec", "template"]));
        let extra = [("argoproj.io".into(), "Rollout".into(), place)];
        let reader = Reader { namespace: "home", extra_kinds: &extra };
        let mut errors = Vec::new();
        documents("f", content.as_bytes(), &mut |document| {
            errors.extend(reader.add(&mut found, &file, &document.unwrap(), lenient).err());
        });
        errors.into_iter().next().map_or(Ok(found), Err)
    }

    fn lines(found: &Found) -> Vec<u32> {
        found.places.iter().map(|at| at.line).collect()
    }

    const FILE: &str = r"
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web, namespace: shop}
  spec:
    template:
      spec:
        initContainers:
        - {name: i, image: a:1}
        containers:
        - name: c
          image: b:2
- apiVersion: v1
  kind: Pod
  metadata: {name: bare}
  spec:
    containers: [{name: c, image: c}]
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: shop}
type: kubernetes.io/dockerconfigjson
data: {.dockerconfigjson: e30=}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default}
imagePullSecrets: [{name: s}, {}]
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {pullgate.dev/mode: enforce}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: r}
spec: {template: {spec: {containers: [{image: d}]}}}
---
apiVersion: v1
kind: ConfigMap
data: {a: b}
";

    #[test]
    fn finds_what_matters_with_its_lines() {
        let found = read(FILE, false).unwrap();
        let shown: Vec<String> = found
            .workloads
            .iter()
            .map(|f| format!("{}/{} {:?}", f.namespace, f.workload.object.name, lines(f)))
            .collect();
        assert_eq!(shown, ["shop/web [12, 15]", "home/bare [20]", "home/r [40]"]);
        assert!(found.secrets[&("shop".into(), "s".into())].read().is_ok());
        let account = &found.accounts[&("home".into(), "default".into())];
        assert_eq!(account.pull_secrets, ["s".into()]);
        assert_eq!(&*found.namespaces["shop"].labels[0].1, "enforce");
    }

    #[test]
    fn a_run_of_tekton_has_its_defaults_before_it() {
        let run = "apiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata: {name: r}\nspec:\n  serviceAccountName: b\n  taskSpec:\n    steps:\n    - image: a:1\n";
        let mut found = Manifests::default();
        let file: Arc<str> = "f".into();
        let policy = crate::policy::PullgatePolicy::default();
        let kinds = policy.extra_kinds();
        let kinds: Vec<_> =
            kinds.map(|kind| (kind.group.into(), kind.kind.into(), kind.place)).collect();
        let reader = Reader { namespace: "home", extra_kinds: &kinds };
        documents("f", run.as_bytes(), &mut |document| {
            reader.add(&mut found, &file, &document.unwrap(), false).unwrap();
        });
        let run = &found.workloads[0];
        assert_eq!(lines(run), [8]);
        assert_eq!(run.workload.service_account, None);
    }

    #[rstest::rstest]
    #[case("just words\n", "f:1: this is not an object of Kubernetes")]
    #[case("\n\na: b\n", "f:3: this object has no kind")]
    #[case("kind: Pod\n", "f:1: this object has no apiVersion")]
    #[case(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: 1.5}]}\n",
        "f:1: Pod p: failed to read the pod spec"
    )]
    #[case(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  k: hidden!\n",
        "f:5: Secret s: data key k is not base64"
    )]
    #[case(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  k: 12345\n",
        "f:5: Secret s: stringData key k is not text"
    )]
    fn faults_name_their_place(#[case] content: &str, #[case] words: &str) {
        let error = read(content, false).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("hidden") && !error.contains("12345"), "{error}");
    }

    #[test]
    fn a_directory_may_hold_other_things() {
        assert_eq!(read("replicas: 3\n---\n[1, 2]\n", true).unwrap().passed_over, 2);
    }
}
