#!/usr/bin/env bash
# `make test`: everything, step by step, with the time of each and the sum of all tests in the
# last line. Stops at the first step that fails; the line is printed then as well.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-$([[ -t 1 ]] && echo always || echo never)}
export CARGO_TERM_PROGRESS_WHEN=${CARGO_TERM_PROGRESS_WHEN:-never}
export PULLGATE_CLUSTER_BIN=${PULLGATE_CLUSTER_BIN:-$PWD/target/cluster/bin}
# The Go programs are built by their own steps; the toolchain is the installed one.
export GOTOOLCHAIN=local

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

elapsed() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }

finish() { # exit status
  echo
  echo "all steps: $(elapsed $SECONDS)"
  echo "$passed passed, $failed failed, $skipped skipped"
  exit "$1"
}

step() { # title, command ...: a step without tests; a failed one counts as one failure
  local title=$1 started=$SECONDS
  shift
  echo "== $title"
  if "$@"; then
    echo "-- $title: ok, $(elapsed $((SECONDS - started)))"
  else
    failed=$((failed + 1))
    echo "-- $title: FAILED, $(elapsed $((SECONDS - started)))"
    finish 1
  fi
}

# Runs tests and adds up what libtest says of them. A test that prints `skipped: …` past the
# capture is one that libtest counts as passed.
tests() { # command ...
  local status=0 line
  "$@" 2>&1 | tee "$log" || status=$?
  while read -r line; do
    [[ $line =~ ^test\ result:\ .*\ ([0-9]+)\ passed\;\ ([0-9]+)\ failed\;\ ([0-9]+)\ ignored ]] || continue
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
    skipped=$((skipped + BASH_REMATCH[3]))
  done < <(sed 's/\x1b\[[0-9;]*m//g' "$log")
  local said
  said=$(grep -cE '(^|\.\.\. )skipped: ' "$log" || true)
  passed=$((passed - said))
  skipped=$((skipped + said))
  return "$status"
}

cluster_is_there() {
  local program
  for program in kube-apiserver kube-controller-manager kubectl etcd registry registry-ggcr registry-v2 helm alerts definitions/cert-manager.io_issuers.yaml; do
    [[ -e $PULLGATE_CLUSTER_BIN/$program ]] || { echo "missing: $PULLGATE_CLUSTER_BIN/$program" >&2; return 1; }
  done
}

own_go_code_is_fine() {
  local module
  # A module with nothing but tools.go only names programs of others.
  for module in $(git ls-files '*.go' | grep -v '/tools.go$' | xargs -r -n1 dirname | sort -u); do
    echo "go vet in $module"
    (cd "$module" && CGO_ENABLED=0 go vet -mod=readonly ./...) || return 1
    [[ -z $(gofmt -l "$module") ]] || { gofmt -l "$module"; return 1; }
  done
}

step "formatting (cargo fmt)" cargo fmt --check
step "lints (cargo clippy)" cargo clippy --locked --all-targets -- -D warnings
step "control plane from Go modules (tests/cluster/build.sh)" tests/cluster/build.sh
step "control plane is complete" cluster_is_there
if [[ -x tests/oracle/build.sh ]]; then
  step "oracle from Go modules (tests/oracle/build.sh)" tests/oracle/build.sh
  step "our own Go code (go vet, gofmt)" own_go_code_is_fine
fi

started=$SECONDS
echo "== tests (cargo test; the cluster tests among them)"
if tests cargo test --locked --no-fail-fast; then
  echo "-- tests: ok, $(elapsed $((SECONDS - started)))"
else
  [[ $failed != 0 ]] || failed=1
  echo "-- tests: FAILED, $(elapsed $((SECONDS - started)))"
  finish 1
fi
finish 0
