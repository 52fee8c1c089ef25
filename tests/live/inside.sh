#!/usr/bin/env bash
# Makes the namespaces that run.sh has opened fit for a kubelet, and runs the given program there.
set -euo pipefail

# The kubelet and containerd share mounts with each other, and with nobody outside.
mount --make-rprivate /
mount --make-rshared /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
hostname pullgate-live

# One address besides loopback, for the node; no route leads out.
ip link set lo up
ip addr add 10.200.0.1/32 dev lo

# The kubelet insists on three settings of the kernel and writes them if they differ. They are the
# host's: it is shown files with the values that it wants.
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  name=${setting%=*}
  shown=/run/${name//\//.}
  echo "${setting#*=}" >"$shown"
  mount --bind "$shown" "/proc/sys/$name"
done

# Control groups of this run alone, in every hierarchy.
if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
  mkdir -p /sys/fs/cgroup/pullgate-live
else
  for hierarchy in /sys/fs/cgroup/*/; do
    [[ $hierarchy == */unified/ ]] || mkdir -p "${hierarchy}pullgate-live" 2>/dev/null || true
  done
  # A new group of cpuset has no processors until it is given some.
  for file in cpus mems; do
    group=/sys/fs/cgroup/cpuset
    [[ ! -f $group/cpuset.$file ]] || cat "$group/cpuset.$file" >"$group/pullgate-live/cpuset.$file"
  done
fi

"$@" &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM INT
status=0
# A trapped signal ends the first wait early.
wait "$child" || status=$?
while kill -0 "$child" 2>/dev/null; do
  status=0
  wait "$child" || status=$?
done
exit "$status"
