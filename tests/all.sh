#!/usr/bin/env bash
# `make test`: everything, step by step, with the time of each and the sum of all tests in the
# last line. Stops at the first step that fails; the line is printed then as well.
#
# The image comes last: an optimised build takes about ten minutes of two processors, and its node
# three more where nothing is built yet. Where they would not end within PULLGATE_TEST_MINUTES (60),
# they are skipped, which is said and counted.
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

suite() { # title, command ...: a step that is tests
  local title=$1 started=$SECONDS
  shift
  echo "== $title"
  if tests "$@"; then
    echo "-- $title: ok, $(elapsed $((SECONDS - started)))"
  else
    [[ $failed != 0 ]] || failed=1
    echo "-- $title: FAILED, $(elapsed $((SECONDS - started)))"
    finish 1
  fi
}

skip() { # what, reason
  echo "skipped: $1: $2"
  skipped=$((skipped + 1))
}

# Whether so many minutes are left.
left() { (((${PULLGATE_TEST_MINUTES:-60} - $1) * 60 > SECONDS)); }

cluster_is_there() {
  local program
  for program in kube-apiserver kube-controller-manager kubectl etcd registry registry-ggcr registry-v2 helm alerts cert-manager argo-cd argo-cd-files/argocd-cm.yaml definitions/cert-manager.io_issuers.yaml; do
    [[ -e $PULLGATE_CLUSTER_BIN/$program ]] || { echo "missing: $PULLGATE_CLUSTER_BIN/$program" >&2; return 1; }
  done
}

own_go_code_is_fine() {
  local module
  # A module with nothing but tools.go only names programs of others.
  for module in $(git ls-files '*.go' | grep -v '/tools.go$' | xargs -r -n1 dirname | sort -u); do
    [[ -z $(gofmt -l "$module") ]] || { gofmt -l "$module"; return 1; }
    # It would read all that these are made of as well, which takes minutes.
    [[ $module != tests/cluster/gitops/* ]] || continue
    echo "go vet in $module"
    # With the flags of the build, whose packages are there then.
    (cd "$module" && CGO_ENABLED=0 go vet -mod=readonly -trimpath .) || return 1
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

step "a browser for the tests of the page" tests/browser.sh

suite "tests (cargo test; the cluster tests among them)" cargo test --locked --no-fail-fast

if ! left 20; then
  skip "the image of the optimised program, and that under a real kubelet" \
    "the steps before took $(elapsed $SECONDS); make image-live"
  finish 0
fi
step "image of the optimised program, without a base (make image-scratch)" make image-scratch
PULLGATE_IMAGE_LAYOUT=$PWD/target/image suite "what is in it, and that it is at most 20 MB" \
  cargo test --locked --test it deploy::image::an_image_without_a_base -- --nocapture

if ! reasons=$(tests/live/run.sh --check 2>&1); then
  skip "the image under a real kubelet" "${reasons//$'\n'/; }"
elif ! left 8; then
  skip "the image under a real kubelet" "the steps before took $(elapsed $SECONDS); make image-live"
else
  step "the image under a real kubelet (tests/live/run.sh image)" \
    tests/live/run.sh image target/image.tar
  passed=$((passed + 1))
fi
finish 0
