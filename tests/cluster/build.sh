#!/usr/bin/env bash
# Builds the real control plane for the cluster tests and the demo from Go modules:
# kube-apiserver, kube-controller-manager, kubectl, etcd, registries, helm, actionlint. And takes definitions of
# kinds that are no part of Kubernetes out of the modules that they come in.
#
#   tests/cluster/build.sh [OUTPUT_FOLDER]      default: target/cluster
#
# Programs land in OUTPUT_FOLDER/bin. A module is built again only when its files, this
# script or the Go version changed. See README.md beside this script.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:-$root/target/cluster}
# `node`, `containerd` and `runc` are for `make live` and built by it.
# `helm` renders the chart in `make test`; the demo needs it not and says so here.
modules=${PULLGATE_CLUSTER_MODULES:-kubernetes etcd registry ggcr distribution2 helm alerts actionlint definitions
  gitops}

# --- what is needed ------------------------------------------------------------------------
need_minor=26
missing=0
if ! command -v go >/dev/null; then
  echo "missing: go. Install Go 1.$need_minor or newer (https://go.dev/dl/) and put it on PATH." >&2
  missing=1
else
  # With the toolchain that is installed; nothing is fetched behind the user's back.
  export GOTOOLCHAIN=local
  go_version=$(go env GOVERSION)
  minor=${go_version#go1.}
  minor=${minor%%[!0-9]*}
  if [[ $go_version == go1.* && ${minor:-0} -lt $need_minor ]]; then
    echo "too old: $go_version. The modules in tests/cluster need Go 1.$need_minor or newer." >&2
    missing=1
  fi
fi
[[ $missing == 0 ]] || exit 2

# Always the same flags: a change in one of them compiles everything again.
export CGO_ENABLED=0
jobs=${PULLGATE_BUILD_JOBS:-2}
bin=$out/bin
stamps=$out/stamps
mkdir -p "$bin" "$stamps"

if [[ " $modules " == *" runc "* ]] && ! command -v "${CC:-cc}" >/dev/null; then
  echo "missing: ${CC:-cc}. runc needs a C compiler; install gcc or clang." >&2
  exit 2
fi

# One builder at a time per output folder: two would race for the same files and processors.
if command -v flock >/dev/null; then
  exec 9>"$out/lock"
  flock -n 9 || { echo "waiting for another build in $out" >&2; flock 9; }
fi

# --- one module --------------------------------------------------------------------------
elapsed() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }

pinned() { # module path -> version in go.mod of the current folder
  go list -m -f '{{.Version}}' "$1"
}

packages() { # folder -> "program=main package" words
  case $1 in
    kubernetes | kubernetes-*)
      echo "kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver" \
        "kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager" \
        "kubectl=k8s.io/kubernetes/cmd/kubectl" ;;
    node)
      echo "kubelet=k8s.io/kubernetes/cmd/kubelet" \
        "kube-scheduler=k8s.io/kubernetes/cmd/kube-scheduler" ;;
    containerd)
      echo "containerd=github.com/containerd/containerd/v2/cmd/containerd" \
        "containerd-shim-runc-v2=github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2" \
        "ctr=github.com/containerd/containerd/v2/cmd/ctr" ;;
    runc)
      echo "runc=github.com/opencontainers/runc" \
        "runc-plain=pullgate.dev/tests/cluster/runc/runc-plain" ;;
    etcd) echo "etcd=go.etcd.io/etcd/server/v3" ;;
    registry) echo "registry=github.com/distribution/distribution/v3/cmd/registry" ;;
    ggcr) echo "registry-ggcr=pullgate.dev/tests/cluster/ggcr" ;;
    distribution2) echo "registry-v2=pullgate.dev/tests/cluster/distribution2" ;;
    alerts) echo "alerts=pullgate.dev/tests/cluster/alerts" ;;
    gitops)
      echo "cert-manager=pullgate.dev/tests/cluster/gitops/cert-manager" \
        "argo-cd=pullgate.dev/tests/cluster/gitops/argo-cd" ;;
    actionlint) echo "actionlint=github.com/rhysd/actionlint/cmd/actionlint" ;;
    helm) echo "helm=helm.sh/helm/v4/cmd/helm" ;;
    *) echo "unknown module $1" >&2; return 1 ;;
  esac
}

link_flags() { # folder -> -ldflags; what the program says of its own version
  local v p
  case $1 in
    kubernetes | kubernetes-* | node)
      v=$(pinned k8s.io/kubernetes)
      p=k8s.io/component-base/version
      echo "-s -w -X $p.gitVersion=$v -X $p.gitMajor=1 -X $p.gitMinor=$(cut -d. -f2 <<<"$v")" ;;
    containerd)
      v=$(pinned github.com/containerd/containerd/v2)
      echo "-s -w -X github.com/containerd/containerd/v2/version.Version=$v" ;;
    *) echo "-s -w" ;;
  esac
}

build_tags() { # folder -> -tags; file systems that need libraries of the distribution are left out
  case $1 in containerd) echo "no_btrfs,no_devmapper,no_zfs" ;; esac
}

fingerprint() { # folder -> what the result depends on
  { find "$here/$1" -type f | LC_ALL=C sort | xargs cat
    cat "${BASH_SOURCE[0]}"
    echo "$go_version"; } | cksum
}

build() { # folder
  local folder=$1 stamp=$stamps/$1 want started programs=() word wanted
  wanted=$(packages "$folder")
  for word in $wanted; do programs+=("${word%%=*}"); done
  want=$(fingerprint "$folder")
  started=$SECONDS
  local complete=1 program
  for program in "${programs[@]}"; do [[ -x $bin/$program ]] || complete=0; done
  if [[ $complete == 1 && -f $stamp && $(cat "$stamp") == "$want" ]]; then
    echo "  ${programs[*]}: unchanged"
    return
  fi
  rm -f "$stamp"
  echo "  ${programs[*]}: building (Go module tests/cluster/$folder)"
  # A word every half minute: a quiet terminal looks like a hung one.
  ( trap 'kill "$!" 2>/dev/null; exit' TERM
    while sleep 30 & wait "$!"; do
      echo "  ... ${programs[*]}: $(elapsed $((SECONDS - started)))"
    done ) 9>&- &
  local ticker=$!
  # shellcheck disable=SC2064
  trap "kill $ticker 2>/dev/null || true" EXIT
  local failed=0
  (
    cd "$here/$folder"
    flags=$(link_flags "$folder")
    tags=$(build_tags "$folder")
    # runc enters the container's namespaces in C, before Go's runtime has started threads.
    [[ $folder != runc ]] || export CGO_ENABLED=1
    if [[ ${#programs[@]} == 1 ]]; then
      go build -buildvcs=false -mod=readonly -p "$jobs" -trimpath -tags "$tags" -ldflags "$flags" \
        -o "$bin/${programs[0]}" "${wanted#*=}"
    else
      # One command for all programs of a module: they share most of their packages.
      # shellcheck disable=SC2046
      go build -buildvcs=false -mod=readonly -p "$jobs" -trimpath -tags "$tags" -ldflags "$flags" \
        -o "$bin/" $(for word in $wanted; do echo "${word#*=}"; done)
    fi
  ) || failed=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  trap - EXIT
  if [[ $failed != 0 ]]; then
    echo "failed: ${programs[*]} after $(elapsed $((SECONDS - started)))" >&2
    exit "$failed"
  fi
  [[ $folder != gitops ]] || take_files_of_argo_cd
  echo "$want" >"$stamp"
  echo "  ${programs[*]}: built in $(elapsed $((SECONDS - started)))"
}

# --- definitions -------------------------------------------------------------------------
defined=(cert-manager.io_certificaterequests cert-manager.io_certificates
  cert-manager.io_clusterissuers cert-manager.io_issuers
  monitoring.coreos.com_prometheusrules monitoring.coreos.com_servicemonitors tekton.dev_tasks
  openreports.io_reports wgpolicyk8s.io_policyreports)

module_folder() { # module path -> where its content is; fetched, and compared with go.sum
  go mod download -json "$1" | sed -nE 's/^\t"Dir": "(.*)",?$/\1/p'
}

take_files_of_argo_cd() { # its definitions, its configuration as it is shipped, a script that it runs
  local to=$bin/argo-cd-files from name
  from=$(cd "$here/gitops" && module_folder github.com/argoproj/argo-cd/v3)
  rm -rf "$to"
  mkdir -p "$to"
  for name in crds/application-crd crds/appproject-crd base/config/argocd-cm; do
    install -m 644 "$from/manifests/$name.yaml" "$to/"
  done
  install -m 755 "$from/hack/git-verify-wrapper.sh" "$to/"
}

take_definitions() { # nothing is compiled
  local stamp=$stamps/definitions to=$bin/definitions want name from cert monitoring tekton reports kyverno complete=1
  want=$(fingerprint definitions)
  for name in "${defined[@]}"; do [[ -f $to/$name.yaml ]] || complete=0; done
  if [[ $complete == 1 && -f $stamp && $(cat "$stamp") == "$want" ]]; then
    echo "  definitions: unchanged"
    return
  fi
  rm -rf "$stamp" "$to"
  mkdir -p "$to"
  echo "  definitions: fetching (Go module tests/cluster/definitions)"
  cd "$here/definitions"
  cert=$(module_folder github.com/cert-manager/cert-manager)
  monitoring=$(module_folder github.com/prometheus-operator/prometheus-operator)
  tekton=$(module_folder github.com/tektoncd/pipeline)
  reports=$(module_folder github.com/openreports/reports-api)
  # The working group's own module is in no proxy; who shows its reports ships its definition.
  kyverno=$(module_folder github.com/kyverno/kyverno)
  cd "$root"
  for name in "${defined[@]}"; do
    case $name in
      cert-manager*) from=$cert/deploy/crds/$name.yaml ;;
      monitoring*) from=$monitoring/example/prometheus-operator-crd/$name.yaml ;;
      tekton.dev_tasks) from=$tekton/config/300-crds/300-task.yaml ;;
      openreports*) from=$reports/config/crd/$name.yaml ;;
      wgpolicyk8s*) from=$kyverno/config/crds/policyreport/$name.yaml ;;
    esac
    install -m 644 "$from" "$to/$name.yaml"
  done
  echo "$want" >"$stamp"
}

echo "control plane for tests ($go_version, in $bin)"
for folder in $modules; do
  if [[ $folder == definitions ]]; then take_definitions; else build "$folder"; fi
done
