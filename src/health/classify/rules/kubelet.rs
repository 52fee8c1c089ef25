//! What kubelet, API server and runtime say before any registry is asked, and what is no failure
//! to get an image at all. Part of the table in `rules.rs`, which explains it and orders the groups.

use super::{Rule, is};
use crate::pull::Cause::{ImageNeverPull, InvalidReference, NodeRuntime, NotAnImageFailure};

/// The node's own helper for credentials is broken: the registry was not asked. Above everything,
/// since such a text may say of the helper what others say of a container or a secret.
pub(super) const HELPER: &[Rule] = &[
    is(NodeRuntime, "error getting credentials", "docker credential helpers"),
    is(NodeRuntime, "credential provider plugin .. failed|error", "K credential provider plugins"),
    is(NodeRuntime, "error execing credential provider plugin", "K credential provider plugins"),
];

/// Not about getting an image at all: above everything that such a text may mention.
pub(super) const OTHER: &[Rule] = &[
    is(NotAnImageFailure, "failed calling webhook", "K apiserver: an admission webhook"),
    is(NotAnImageFailure, "failed to call webhook", "K apiserver"),
    is(NotAnImageFailure, "admission webhook", "K apiserver: denied"),
    is(NotAnImageFailure, "unable to retrieve pull secret", "K kubelet_pods.go, old"),
    is(NotAnImageFailure, "unable to retrieve some image pull secrets", "K kubelet_pods.go"),
    is(NotAnImageFailure, "error secret|secrets|configmap|configmaps * not found", "K"),
    is(NotAnImageFailure, "couldn't find key", "K: ConfigMap or Secret key"),
    is(NotAnImageFailure, "liveness|readiness|startup probe", "K prober"),
    is(NotAnImageFailure, "mountvolume.*", "K volume manager"),
    is(NotAnImageFailure, "unable to mount|attach volumes|or", "K volume manager"),
    is(NotAnImageFailure, "failed to attach|mount volume|volumes", "K volume manager"),
    is(NotAnImageFailure, "nodes are available", "K scheduler"),
    is(NotAnImageFailure, "successfully pulled image", "K image_manager.go"),
    is(NotAnImageFailure, "already present on machine", "K image_manager.go"),
    is(NotAnImageFailure, "successfully assigned", "K scheduler"),
    is(NotAnImageFailure, "back-off * restarting failed container*", "K kubelet.go"),
    is(NotAnImageFailure, "back-off restarting failed container*", "K kubelet.go"),
    is(NotAnImageFailure, "restarting failed container*", "K kubelet.go"),
    is(NotAnImageFailure, "started|created|stopping|killing container", "K events"),
    is(NotAnImageFailure, "created pod", "K controllers"),
    is(NotAnImageFailure, "failed to garbage collect", "K image_gc_manager.go"),
    is(NotAnImageFailure, "network is not ready", "K kubelet.go"),
    is(NotAnImageFailure, "network plugin|setup", "K, CNI"),
    is(NotAnImageFailure, "failed to setup|set network for sandbox", "CD, CNI"),
    is(NotAnImageFailure, "plugin type .. failed add|delete|del", "CNI"),
    is(NotAnImageFailure, "the node was low on resource", "K eviction"),
    is(NotAnImageFailure, "node had condition", "K eviction"),
    is(NotAnImageFailure, "exceeded quota", "K quota admission"),
    is(NotAnImageFailure, "exec format error", "Linux ENOEXEC: it was pulled"),
    is(NotAnImageFailure, "no command specified", "CD, MO: it was pulled"),
    is(NotAnImageFailure, "executable file not found", "runc: it was pulled"),
    is(NotAnImageFailure, "oci runtime create|exec|start failed|error", "runc"),
    is(NotAnImageFailure, "oci runtime error", "crun"),
    is(NotAnImageFailure, "runc create failed", "runc"),
    is(NotAnImageFailure, "failed to create containerd|shim task", "CD"),
    is(NotAnImageFailure, "failed to start container", "MO, CD"),
    is(NotAnImageFailure, "failed to generate container", "CD"),
    is(NotAnImageFailure, "container has runasnonroot", "K"),
    is(NotAnImageFailure, "failed to reserve container|sandbox name", "CD, CR"),
    is(NotAnImageFailure, "cannot find volume", "K"),
    is(NotAnImageFailure, "was active on the node longer than", "K activeDeadlineSeconds"),
    is(NotAnImageFailure, "has timed out progressing", "K deployment controller"),
];

/// The kubelet's and the runtime's own words: no registry was asked.
pub(super) const REFERENCE: &[Rule] = &[
    is(ImageNeverPull, "with pull policy of never", "K image_manager.go"),
    is(ImageNeverPull, "errimageneverpull", "K types.go"),
    is(InvalidReference, "parse image name|reference", "K parsers.go, CD, CI"),
    is(InvalidReference, "parse reference", "CD reference.go"),
    is(InvalidReference, "parsing image|reference name|reference|string", "CI"),
    is(InvalidReference, "failed to apply default image tag", "K image_manager.go"),
    is(InvalidReference, "invalid reference", "distribution/reference, CI"),
    is(InvalidReference, "repository name .. must be lowercase", "distribution/reference"),
    is(InvalidReference, "repository name must not be", "distribution/reference"),
    is(InvalidReference, "invalid repository|image|tag name|reference|format", "several"),
    is(InvalidReference, "invalid * invalid repository|image name", "MO"),
    is(InvalidReference, "invalid checksum digest", "opencontainers/go-digest"),
    is(InvalidReference, "unsupported digest algorithm", "opencontainers/go-digest"),
    is(InvalidReference, "invalidimagename", "K types.go"),
    is(InvalidReference, "did not resolve to an alias", "CI pkg/shortnames"),
    is(InvalidReference, "no unqualified-search registries", "CI pkg/shortnames"),
    is(InvalidReference, "trying to pull an unqualified image", "CR"),
    is(InvalidReference, "short name mode is enforcing", "CR image.go"),
    is(InvalidReference, "short-name|short resolution|name enforced|resolution", "CI"),
    is(InvalidReference, "unknown transport", "CI transports"),
    is(NodeRuntime, "pull qps exceeded", "K puller.go"),
];
