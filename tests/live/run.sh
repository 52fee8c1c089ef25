#!/usr/bin/env bash
# `make live`: a real kubelet, containerd and runc in namespaces of their own, beside the real control
# plane of the cluster tests. Every pod is made twice at the same moment: for the kubelet, and as a
# dry run that Pullgate judges under enforcement. README.md beside this script says what is compared.
#
#   tests/live/run.sh                  the twins
#   tests/live/run.sh image ARCHIVE    the container image in this archive, installed by helm
#   tests/live/run.sh --check          only whether it can run here
#
# Nothing leaves the machine: the network namespace has no route. Whatever was started ends with the
# one process that is the PID namespace's first, Ctrl-C included.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

missing=0
lacks() {
  echo "missing: $1" >&2
  missing=1
}
[[ $(uname -s) == Linux ]] || lacks "Linux: a kubelet runs nowhere else"
[[ $(uname -m) == x86_64 ]] || lacks "an amd64 processor: the images of the test hold a program for it"
[[ $(id -u) == 0 ]] || lacks "root: a kubelet makes mounts and control groups (try sudo)"
command -v cargo >/dev/null || lacks "cargo. Install Rust 1.89 or newer (https://rustup.rs)"
for program in unshare mount ip; do
  command -v "$program" >/dev/null || lacks "$program (packages util-linux and iproute2)"
done
[[ -d /sys/fs/cgroup ]] || lacks "/sys/fs/cgroup: control groups are not mounted"
[[ $missing == 0 ]] || exit 2

command -v go >/dev/null && command -v "${CC:-cc}" >/dev/null || {
  echo "missing: go and a C compiler: the node is built from Go modules, and runc needs both" >&2
  exit 2
}

within() { # program, arguments: in namespaces of its own, fit for a kubelet
  local status=0
  unshare --mount --net --uts --ipc --pid --fork --kill-child --mount-proc tests/live/inside.sh "$@" || status=$?
  # What runc made outlives the namespaces; a group in use cannot be removed.
  find /sys/fs/cgroup -depth -type d -path '*/pullgate-live*' -exec rmdir {} + 2>/dev/null || true
  return "$status"
}

within true || {
  echo "missing: the right to make namespaces, mounts and control groups (refused, as in most containers)" >&2
  exit 2
}
[[ ${1:-} != --check ]] || exit 0

modules="kubernetes etcd registry node containerd runc"
[[ ${1:-} != image ]] || modules+=" helm"
PULLGATE_CLUSTER_MODULES=$modules tests/cluster/build.sh
echo "pullgate (debug build) and the player"
cargo build --locked --quiet --bin pullgate --example live

export PULLGATE_CLUSTER_BIN=${PULLGATE_CLUSTER_BIN:-$PWD/target/cluster/bin}
within target/debug/examples/live "$@"
