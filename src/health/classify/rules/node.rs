//! The node's own troubles: its disk, its runtime, unpacking. Part of the table in `rules.rs`, which
//! explains it and orders the groups.

use super::{Rule, is};
use crate::pull::Cause::{NodeRuntime, NodeStorage};

/// The node's disk.
pub(super) const STORAGE: &[Rule] = &[
    is(NodeStorage, "no space left", "Linux ENOSPC"),
    is(NodeStorage, "read-only file system", "Linux EROFS"),
    is(NodeStorage, "disk quota exceeded", "Linux EDQUOT"),
    is(NodeStorage, "input/output error", "Linux EIO"),
    is(NodeStorage, "structure needs cleaning", "Linux EUCLEAN"),
    is(NodeStorage, "stale file|nfs handle|file", "Linux ESTALE"),
    is(NodeStorage, "not enough|insufficient .. space", "Windows, several"),
    is(NodeStorage, "disk is full", "several"),
    is(NodeStorage, "disk full|pressure", "several, K"),
    is(NodeStorage, "more free space", "MO devicemapper"),
    is(NodeStorage, "thin pool", "MO devicemapper"),
    is(NodeStorage, "no free|out inodes|of", "runtimes"),
];

/// The runtime and its sockets: above network errors, whose words they share.
pub(super) const RUNTIME: &[Rule] = &[
    is(NodeRuntime, "dial unix", "CRI socket"),
    is(NodeRuntime, "unix://*", "CRI socket"),
    is(NodeRuntime, "connect to the docker daemon", "MO client"),
    is(NodeRuntime, "the docker daemon running", "MO client"),
    is(NodeRuntime, "grpc the connection is", "gRPC: the runtime went away"),
    is(NodeRuntime, "transport is closing", "gRPC: the runtime went away"),
    is(NodeRuntime, "error reading from server", "gRPC: the runtime went away"),
    is(NodeRuntime, "unknown service", "gRPC: CRI version"),
    is(NodeRuntime, "code unimplemented", "gRPC: CRI version"),
    is(NodeRuntime, "failed to inspect image .. deadline|timeout", "K: the runtime is asked"),
    is(NodeRuntime, "server is not initialized", "CD"),
    is(NodeRuntime, "snapshotter not loaded", "CD snapshots"),
    is(NodeRuntime, "snapshot|snapshotter .. not exist|found", "CD snapshots"),
    is(NodeRuntime, "unable to initialize unpacker", "CD transfer/local/pull.go"),
    is(NodeRuntime, "lease .. not|already found|exist|exists", "CD leases"),
    is(NodeRuntime, "failed to lease content", "MO: its own store of content"),
    is(NodeRuntime, "blob * expected at", "CD content/local: the node has lost it"),
    is(NodeRuntime, "layer|image not known", "CI storage"),
    is(NodeRuntime, "resolve to an image id", "CI storage"),
    is(NodeRuntime, "locating item|image", "CI storage"),
    is(NodeRuntime, "insufficient uids or gids", "CI storage"),
    is(NodeRuntime, "invalid policy in", "CI: broken policy.json of the node"),
    is(NodeRuntime, "loading registries configuration", "CI: broken registries.conf"),
    is(NodeRuntime, "error loading|parsing registries|registry configuration", "CI"),
    is(NodeRuntime, "too many open files", "Linux EMFILE"),
    is(NodeRuntime, "cannot allocate memory", "Linux ENOMEM"),
    is(NodeRuntime, "signal killed", "Linux"),
    is(NodeRuntime, "convert a nil pointer", "K, CRI"),
    is(NodeRuntime, "hcsshim*", "Windows"),
    is(NodeRuntime, "locked for", "CD content: another pull writes it"),
    is(NodeRuntime, "ref .. locked", "CD content: another pull writes it"),
];

/// The layers are there and do not become an image: below all inner causes of it, above "not
/// found", which is then the node's.
pub(super) const UNPACK: &[Rule] = &[
    is(NodeRuntime, "failed to extract layer", "CD rootfs/apply.go"),
    is(NodeRuntime, "failed to unpack image", "CD client/pull.go"),
    is(NodeRuntime, "failed to prepare extraction snapshot", "CD rootfs/apply.go"),
    is(NodeRuntime, "failed to create|prepare|stat|commit|remove snapshot", "CD snapshots"),
    is(NodeRuntime, "failed to register layer", "MO layer store"),
    is(NodeRuntime, "applylayer|applydiff", "MO, CI storage"),
    is(NodeRuntime, "processing tar file", "MO, CI storage"),
    is(NodeRuntime, "adding|creating|storing|applying layer", "CI storage"),
    is(NodeRuntime, "committing the finished image", "CI storage"),
    is(NodeRuntime, "mount callback failed", "CD mount"),
    is(NodeRuntime, "failed to mount", "CD mount"),
    is(NodeRuntime, "operation not permitted|supported", "Linux EPERM"),
    is(NodeRuntime, "device or resource busy", "Linux EBUSY"),
    is(NodeRuntime, "readlink|lchown|mkdir|symlink|unlinkat|chmod|rename", "Linux"),
    is(NodeRuntime, "no such file or directory", "Linux ENOENT"),
    is(NodeRuntime, "permission denied", "Linux EACCES"),
];
