#!/usr/bin/env bash
# Makes the release of the last commit from two fresh clones in different folders, and compares every
# byte: paths, times and chance of the builder are not in it. Compiles everything twice.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for clone in one another/place; do
  git clone -q "$root" "$work/$clone"
  (cd "$work/$clone" && PATH="$root/target/tools/bin:$PATH" deploy/release.sh --out "$work/out-${clone%%/*}")
  rm -rf "${work:?}/$clone/target"
done
diff "$work/out-one/SHA256SUMS" "$work/out-another/SHA256SUMS"
echo "the same, byte for byte"
