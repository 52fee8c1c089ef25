#!/usr/bin/env bash
# `make test-matrix`: the tests against a real API server, with other Kubernetes versions than
# `make test` takes. Each is built once from its Go modules (tests/cluster/kubernetes-VERSION; some
# minutes); everything else is the same.
#
#   PULLGATE_MATRIX="1.31 1.36" tests/matrix.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

versions=${PULLGATE_MATRIX:-1.31 1.36}
common=$PWD/target/cluster
tests/cluster/build.sh "$common"
failed=()
for version in $versions; do
  [[ -d tests/cluster/kubernetes-$version ]] || {
    echo "there is no tests/cluster/kubernetes-$version" >&2
    exit 2
  }
  out=$PWD/target/cluster-$version
  PULLGATE_CLUSTER_MODULES=kubernetes-$version tests/cluster/build.sh "$out"
  for program in etcd registry registry-ggcr registry-v2 helm; do
    ln -sf "$common/bin/$program" "$out/bin/$program"
  done
  echo "== Kubernetes $version"
  PULLGATE_CLUSTER_BIN=$out/bin cargo test --locked --test it -- cluster:: deploy:: ||
    failed+=("$version")
done
if [[ ${#failed[@]} -gt 0 ]]; then
  echo "failed with Kubernetes: ${failed[*]}" >&2
  exit 1
fi
echo "passed with Kubernetes: $versions"
