#!/usr/bin/env bash
# Builds the oracle (see README.md beside this script) into target/cluster/bin, or into the
# folder given. Go notices by itself when nothing changed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/../../target/cluster/bin}
command -v go >/dev/null || {
  echo "missing: go. Install Go 1.26 or newer (https://go.dev/dl/) and put it on PATH." >&2
  exit 2
}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# The flags of tests/cluster/build.sh: the two share most of what they compile.
export GOTOOLCHAIN=local CGO_ENABLED=0
cd "$here"
go build -buildvcs=false -mod=readonly -p "${PULLGATE_BUILD_JOBS:-2}" -trimpath -ldflags "-s -w" \
  -o "$out/pullgate-oracle" .
