//! What kubelet, API server and runtime say before any registry is asked, and what is no failure
//! to get an image at all. Part of the table in `rules.rs`, which explains it and orders the groups.

use super::{Rule, is};
use crate::pull::Cause::{
    BackOff, ImageNeverPull, InvalidReference, NodeRuntime, NotAnImageFailure,
};

/// The node's own helper for credentials is broken: the registry was not asked. Above everything,
/// since such a text may say of the helper what others say of a container or a secret.
pub(super) const HELPER: &[Rule] = &[
    is(NodeRuntime, "error getting credentials", "docker credential helpers"),
    is(NodeRuntime, "credential provider plugin .. failed|error", "K credential provider plugins"),
    is(NodeRuntime, "error execing credential provider plugin", "K credential provider plugins"),
    is(NodeRuntime, "nocredentialproviders", "AWS SDK: the node has no role"),
    is(NodeRuntime, "no ec2 imds role found", "AWS SDK: the node has no role"),
    is(NodeRuntime, "getting username and password", "CI: the node's auth file cannot be read"),
];

/// Not about getting an image at all: above everything that such a text may mention.
pub(super) const OTHER: &[Rule] = &[
    is(NotAnImageFailure, "failed calling webhook", "K apiserver: an admission webhook"),
    is(NotAnImageFailure, "failed to call webhook", "K apiserver"),
    is(NotAnImageFailure, "admission webhook", "K apiserver: denied"),
    is(NotAnImageFailure, "unable to retrieve pull secret", "K kubelet_pods.go, old"),
    is(NotAnImageFailure, "unable to retrieve some image pull secrets", "K kubelet_pods.go"),
    is(NotAnImageFailure, "error secret|secrets|configmap|configmaps * not found", "K"),
    is(
        NotAnImageFailure,
        "pod|pods|node|nodes|secret|secrets|configmap|configmaps|serviceaccount|serviceaccounts|\
         persistentvolumeclaim|persistentvolumeclaims|deployment|deployments.apps|\
         replicasets.apps|statefulsets.apps|runtimeclass * not found",
        "K apiserver: an object of the cluster",
    ),
    is(NotAnImageFailure, "pods is forbidden", "K apiserver"),
    is(NotAnImageFailure, "pods * is forbidden", "K apiserver: admission"),
    is(NotAnImageFailure, "is forbidden user|exceeded|violates", "K apiserver"),
    is(NotAnImageFailure, "from server notfound|forbidden|alreadyexists|invalid", "kubectl"),
    is(NotAnImageFailure, "unable to connect to the server", "kubectl"),
    is(NotAnImageFailure, "connection to the server * was refused", "kubectl"),
    is(NotAnImageFailure, "unable to upgrade connection", "K: exec, attach, port-forward"),
    is(NotAnImageFailure, "unable to forward port", "K: port-forward"),
    is(NotAnImageFailure, "container not found", "K: exec, attach"),
    is(NotAnImageFailure, "find container|sandbox * not found", "CD: the container is gone"),
    is(NotAnImageFailure, "no such container|exec|task|process", "MO, CD"),
    is(NotAnImageFailure, "no running task found", "CD: the container is gone"),
    is(NotAnImageFailure, "sandbox container task", "CD: the pod's sandbox"),
    is(NotAnImageFailure, "failed to sync secret|configmap cache", "K volume manager"),
    is(NotAnImageFailure, "failed to prepare subpath", "K volume manager"),
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
    is(NotAnImageFailure, "networkplugin|networkplugin: cni", "K dockershim, CNI"),
    is(NotAnImageFailure, "failed to set up pod|sandbox", "K, CR, CNI"),
    is(NotAnImageFailure, "failed to setup|set network for sandbox", "CD, CNI"),
    is(NotAnImageFailure, "plugin type .. failed add|delete|del", "CNI"),
    is(NotAnImageFailure, "the node was low on resource", "K eviction"),
    is(NotAnImageFailure, "node had condition", "K eviction"),
    is(NotAnImageFailure, "exceeded quota", "K quota admission"),
    is(NotAnImageFailure, "exec format error", "Linux ENOEXEC: it was pulled"),
    is(NotAnImageFailure, "no command specified", "CD, MO: it was pulled"),
    is(NotAnImageFailure, "executable file not found", "runc: it was pulled"),
    is(NotAnImageFailure, "executable file * not found", "crun: it was pulled"),
    is(NotAnImageFailure, "container_linux.go*|process_linux.go*", "runc, old: it was pulled"),
    is(NotAnImageFailure, "rootfs_linux.go*|standard_init_linux.go*", "runc, old: it was pulled"),
    is(NotAnImageFailure, "starting|start container process", "runc: it was pulled"),
    is(NotAnImageFailure, "container init caused|exited", "runc: it was pulled"),
    is(NotAnImageFailure, "container create failed", "CR: it was pulled"),
    is(NotAnImageFailure, "oomkilled", "K"),
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
    is(InvalidReference, "invalid reference", "distribution/reference, CI"),
    is(InvalidReference, "repository name .. must be lowercase", "distribution/reference"),
    is(InvalidReference, "repository name must", "distribution/reference"),
    is(InvalidReference, "name component must match", "distribution/reference, old"),
    is(InvalidReference, "name|namespace * only * are allowed", "MO, old"),
    is(InvalidReference, "invalid namespace name", "MO, old"),
    is(InvalidReference, "not a valid repository/tag", "MO, CD client"),
    is(InvalidReference, "object|hostname required", "CD pkg/reference"),
    is(InvalidReference, "parse dummy://*", "CD pkg/reference: how it tries a name"),
    is(InvalidReference, "both a tag and digest", "CI docker_transport.go, old"),
    is(InvalidReference, "invalid repository|image|tag name|reference|format", "several"),
    is(InvalidReference, "invalid * invalid repository|image name", "MO"),
    is(InvalidReference, "invalid checksum digest", "opencontainers/go-digest"),
    is(InvalidReference, "unsupported digest algorithm", "opencontainers/go-digest"),
    is(InvalidReference, "invalidimagename", "K types.go"),
    is(InvalidReference, "did not resolve to an alias", "CI pkg/shortnames").advise(SHORT),
    is(InvalidReference, "no unqualified-search registries", "CI pkg/shortnames").advise(SHORT),
    is(InvalidReference, "trying to pull an unqualified image", "CR").advise(SHORT),
    is(InvalidReference, "short name mode is enforcing", "CR image.go").advise(SHORT),
    is(InvalidReference, "short-name|short resolution|name enforced|resolution", "CI")
        .advise(SHORT),
    is(InvalidReference, "unknown transport", "CI transports"),
    is(NodeRuntime, "pull qps exceeded", "K puller.go")
        .advise("wait, or raise registryPullQPS and registryBurst of the kubelet"),
];

/// What carries the fault of a name, but in other programs whatever the registry answered: below
/// all of that.
pub(super) const REFERENCE_WRAPPERS: &[Rule] = &[
    is(BackOff, "parsing image name", "skopeo: of all that goes wrong, so no cause was said"),
    is(InvalidReference, "parse image name|reference", "K parsers.go, CD"),
    is(InvalidReference, "parse reference", "CD reference.go"),
    is(InvalidReference, "parsing image reference|string", "CI"),
    is(InvalidReference, "parsing reference name|reference|string", "CI"),
    is(InvalidReference, "failed to apply default image tag", "K image_manager.go"),
];

/// What to do about a name without a registry.
const SHORT: &str =
    "write the registry in front of the image name: the node does not know where to look for it";
