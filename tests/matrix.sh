#!/usr/bin/env bash
# `make test-matrix`: the tests against a real API server, with the oldest and the newest Kubernetes
# that they pass with. `make test` takes one in between. Each is built once from its Go modules
# (tests/cluster/kubernetes-VERSION; about ten minutes on two processors); the second time it is
# there already. Everything else is the same.
#
#   PULLGATE_MATRIX="1.36" tests/matrix.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

versions=${PULLGATE_MATRIX:-1.30 1.36}
known=$(cd tests/cluster && printf '%s ' kubernetes-* | sed 's/kubernetes-//g')
for version in $versions; do
  [[ -d tests/cluster/kubernetes-$version ]] || {
    echo "there is no tests/cluster/kubernetes-$version; there are: $known" >&2
    exit 2
  }
done
command -v cargo >/dev/null || { echo "missing: cargo. Install Rust (https://rustup.rs)." >&2; exit 2; }

elapsed() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }

# build.sh says what is missing, and how far it is.
common=$PWD/target/cluster
tests/cluster/build.sh "$common"
for version in $versions; do
  out=$PWD/target/cluster-$version
  PULLGATE_CLUSTER_MODULES=kubernetes-$version tests/cluster/build.sh "$out"
  # All other programs are those of `make test`.
  for program in "$common"/bin/*; do
    name=${program##*/}
    case $name in kube-* | kubectl) ;; *) ln -sfn "$program" "$out/bin/$name" ;; esac
  done
done
cargo test --locked --no-run --test it

summary=() failed=0
for version in $versions; do
  out=$PWD/target/cluster-$version started=$SECONDS
  built=$("$out/bin/kube-apiserver" --version)
  echo "== $built"
  log=$out/tests.log
  status=0
  PULLGATE_CLUSTER_BIN=$out/bin cargo test --locked --test it -- cluster:: deploy:: 2>&1 |
    tee "$log" || status=$?
  counts=$(sed -nE 's/^test result: [A-Za-z]+\. ([0-9]+ passed; [0-9]+ failed).*/\1/p' "$log" | tail -n 1)
  skipped=$(grep -cE '(^|\.\.\. )skipped: ' "$log" || true)
  summary+=("$built: ${counts:-did not run}; $skipped skipped; $(elapsed $((SECONDS - started)))")
  # What was skipped has not been shown to work.
  [[ $status == 0 && $skipped == 0 ]] || failed=1
done
printf '%s\n' "${summary[@]}"
exit "$failed"
