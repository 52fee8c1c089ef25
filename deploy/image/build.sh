#!/usr/bin/env bash
# Packs a program of this machine's architecture as a container image without a base, written as
# an OCI layout (and as one file, where a third name is given). Needs Go; the same program and
# SOURCE_DATE_EPOCH give the same bytes.
#
#   deploy/image/build.sh PROGRAM LAYOUT_FOLDER [ARCHIVE.tar]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
program=$(realpath "${1:?the program}") layout=$(realpath -m "${2:?the folder of the layout}")
archive=${3:+$(realpath -m "$3")}
commit() { git -C "$repository" "$@" 2>/dev/null || true; }
epoch=${SOURCE_DATE_EPOCH:-$(commit log -1 --format=%ct)}
case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64 | arm64) architecture=arm64 ;;
  *) echo "no image is made on $(uname -m)" >&2; exit 2 ;;
esac
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
"$here/root.sh" "$program" "$root/root"
mkdir -p "$(dirname "$layout")"
cd "$here"
CGO_ENABLED=0 go run -mod=readonly . -root "$root/root" -arch "$architecture" \
  -version "$(sed -nE 's/^version = "(.*)"$/\1/p' "$repository/Cargo.toml" | head -n1)" \
  -revision "$(commit describe --always --dirty --abbrev=40 --match '' | grep . || echo unknown)" \
  -created "${epoch:-0}" -name "${IMAGE:-pullgate:dev}" \
  -layout "$layout" ${archive:+-archive "$archive"}
echo "OCI layout: $layout${archive:+, as one file: $archive}"
