#!/usr/bin/env bash
# Makes the release of the last commit from two fresh clones in different folders, and compares every
# byte: paths, times and chance of the builder are not in it. Compiles everything twice.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The same commit for both: somebody may commit while the first one is built.
commit=$(git -C "$root" rev-parse HEAD)
for clone in one another/place; do
  git clone -q "$root" "$work/$clone"
  git -C "$work/$clone" checkout -q --detach "$commit"
  (cd "$work/$clone" && PATH="$root/target/tools/bin:$PATH" deploy/release.sh --out "$work/out-${clone%%/*}")
  rm -rf "${work:?}/$clone/target"
done
diff "$work/out-one/SHA256SUMS" "$work/out-another/SHA256SUMS"
echo "the same, byte for byte"
