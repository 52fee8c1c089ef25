#!/usr/bin/env bash
# `make test`: everything, step by step, with the time of each and the sum of all tests in the
# last line. Stops at the first step that fails; the line is printed then as well.
#
# The image comes last: an optimised build takes about ten minutes of two processors, and its node
# three more where nothing is built yet. Where they would not end within PULLGATE_TEST_MINUTES (60),
# they are skipped, which is said and counted; so are cert-manager and Argo CD, four minutes.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-$([[ -t 1 ]] && echo always || echo never)}
export CARGO_TERM_PROGRESS_WHEN=${CARGO_TERM_PROGRESS_WHEN:-never}
export PULLGATE_CLUSTER_BIN=${PULLGATE_CLUSTER_BIN:-$PWD/target/cluster/bin}
# The Go programs are built by their own steps; the toolchain is the installed one.
export GOTOOLCHAIN=local

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"; stop_watching' EXIT

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

# How many minutes the tests of one step may take: then what hangs is named and ended. Where all
# that came before was slow it is less, so that the whole ends in four thirds of its minutes.
longest=40
watch=

descendants() { # process id
  local child
  for child in $(pgrep -P "$1"); do
    echo "$child"
    descendants "$child"
  done
}

# Ends the programs with tests that cargo runs for this script, which goes on with the next ones.
end_what_hangs() {
  local name process
  echo "the tests have not ended after $longest minutes"
  grep -oE '^test .* has been running for over 60 seconds' "$log" | cut -d' ' -f2 | sort -u |
    while read -r name; do
      grep -qE "^test $name \.\.\. " "$log" || echo "still running: $name"
    done
  ps -o pid,ppid,etime,time,wchan:20,args -p "$(descendants $$ | paste -sd,)" | cut -c1-160
  for process in $(descendants $$); do
    [[ $(ps -o comm= -p "$process") != cargo ]] || pkill -TERM -P "$process"
  done
}

watch_tests() {
  local rest=$((${PULLGATE_TEST_MINUTES:-60} * 4 / 3 - SECONDS / 60))
  ((longest < rest)) || longest=$((rest > 1 ? rest : 1))
  ( trap 'kill "$!" 2>/dev/null; exit' TERM
    sleep $((longest * 60)) & wait "$!"
    end_what_hangs ) &
  watch=$!
}

stop_watching() {
  [[ -z $watch ]] || kill "$watch" 2>/dev/null
  watch=
}

suite() { # title, command ...: a step that is tests
  local title=$1 started=$SECONDS
  shift
  echo "== $title"
  watch_tests
  if tests "$@"; then
    stop_watching
    echo "-- $title: ok, $(elapsed $((SECONDS - started)))"
  else
    stop_watching
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
  for program in kube-apiserver kube-controller-manager kubectl etcd registry registry-ggcr registry-v2 helm alerts definitions/cert-manager.io_issuers.yaml; do
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
step "control plane from Go modules (tests/cluster/build.sh)" \
  env PULLGATE_CLUSTER_MODULES="kubernetes etcd registry ggcr distribution2 helm alerts actionlint definitions" \
  tests/cluster/build.sh
step "control plane is complete" cluster_is_there
if [[ -x tests/oracle/build.sh ]]; then
  step "oracle from Go modules (tests/oracle/build.sh)" tests/oracle/build.sh
  step "our own Go code (go vet, gofmt)" own_go_code_is_fine
fi

# The tests themselves take half an hour of a slow machine.
if left 35; then
  step "cert-manager and Argo CD from Go modules (tests/cluster/build.sh)" \
    env PULLGATE_CLUSTER_MODULES=gitops tests/cluster/build.sh
else
  skip "building cert-manager and Argo CD, whose tests say so as well" \
    "the steps before took $(elapsed $SECONDS); make gitops"
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
