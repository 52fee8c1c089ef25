#!/usr/bin/env bash
# Makes what a release consists of, in target/release-VERSION:
#
#   pullgate-VERSION-linux-ARCH.tar.gz   program, completions, man pages, license
#   pullgate-chart-VERSION.tgz           the Helm chart
#   pullgate-VERSION.cdx.json            what the program is made of (CycloneDX)
#   pullgate-VERSION-krew.yaml           the manifest with which krew installs `kubectl pullgate`
#   SHA256SUMS                           of all of them
#
# The same commit and toolchain give the same bytes, wherever it runs: paths of the builder are taken
# out of the program, and every time is that of the commit. linux/arm64 is made where its target and
# linker are there. With --pack-only PROGRAM nothing is compiled: what is packed is that program.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
cd "$root"
given=
out=
while [[ $# -gt 0 ]]; do
  case $1 in
    --pack-only) given=$(realpath "${2:?the program}"); shift 2 ;;
    --out) out=$(realpath -m "${2:?a folder}"); shift 2 ;;
    *) echo "usage: deploy/release.sh [--out FOLDER] [--pack-only PROGRAM]" >&2; exit 2 ;;
  esac
done
version=$(sed -nE 's/^version = "(.*)"$/\1/p' Cargo.toml | head -n1)
repository=$(sed -nE 's/^repository = "(.*)"$/\1/p' Cargo.toml | head -n1)
out=${out:-$root/target/release-$version}
commit=$(git describe --always --dirty --abbrev=40 --match '' 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH PULLGATE_COMMIT=$commit TZ=UTC LC_ALL=C
# Where the builder keeps things is no matter of the program.
export RUSTFLAGS="--remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export CARGO_INCREMENTAL=0
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pack() { # archive, folder in $work: names in order, one time, nobody's
  tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --mode='u+rwX,go+rX,go-w' --format=ustar -cf - "$2" | gzip -n -9 >"$1"
}

archive() { # program, architecture, a program that runs here
  local name=pullgate-$version-linux-$2 folder
  folder=$work/$name
  mkdir -p "$folder/completions" "$folder/man"
  install -m 0755 "$1" "$folder/pullgate"
  cp LICENSE README.md CHANGELOG.md "$folder/"
  "$3" completions bash >"$folder/completions/pullgate.bash"
  "$3" completions zsh >"$folder/completions/_pullgate"
  "$3" completions fish >"$folder/completions/pullgate.fish"
  "$3" man --directory "$folder/man"
  pack "$out/$name.tar.gz" "$name"
  echo "  $name.tar.gz"
  cat >>"$work/krew" <<EOF
    - selector:
        matchLabels:
          os: linux
          arch: $2
      uri: $repository/releases/download/v$version/$name.tar.gz
      sha256: $(sha256sum "$out/$name.tar.gz" | cut -d ' ' -f 1)
      bin: pullgate
      files:
        - from: $name/pullgate
          to: .
        - from: $name/LICENSE
          to: .
EOF
}

built() { # target -> its program
  (set -x; cargo build --locked --release --target "$1" --bin pullgate) >&2
  echo "$root/target/$1/release/pullgate"
}

echo "release $version ($commit) in $out"
case $(uname -m) in
  x86_64) own=amd64 triple=x86_64-unknown-linux-gnu other=arm64 cross=aarch64-unknown-linux-gnu ;;
  aarch64 | arm64) own=arm64 triple=aarch64-unknown-linux-gnu other=amd64 cross=x86_64-unknown-linux-gnu ;;
  *) echo "no release is made on $(uname -m)" >&2; exit 2 ;;
esac
program=${given:-$(built "$triple")}
archive "$program" "$own" "$program"
linker=${cross%%-*}-linux-gnu-gcc
if [[ -n $given ]]; then
  echo "  linux/$other: not packed, only one program is given"
elif [[ ! -d $(rustc --print sysroot)/lib/rustlib/$cross ]]; then
  echo "  linux/$other: not made, the target $cross is not installed (rustup target add $cross)"
elif ! command -v "$linker" >/dev/null; then
  echo "  linux/$other: not made, there is no $linker (Debian: gcc-${cross%%-*}-linux-gnu)"
else
  variable=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$cross")_LINKER
  foreign=$(export "$variable=$linker" "CC_${cross//-/_}=$linker"; built "$cross")
  archive "$foreign" "$other" "$program"
fi

cp -R deploy/chart/pullgate "$work/pullgate"
pack "$out/pullgate-chart-$version.tgz" pullgate
echo "  pullgate-chart-$version.tgz"

{
  sed -e "s|@VERSION@|v$version|" -e "s|@REPOSITORY@|$repository|" deploy/krew.yaml.in
  cat "$work/krew"
} >"$out/pullgate-$version-krew.yaml"
echo "  pullgate-$version-krew.yaml"

bom=$(PATH="$root/target/tools/bin:$PATH" command -v cargo-cyclonedx || true)
if [[ -n $bom ]]; then
  # Writes beside the manifest; only what the program for Linux is made of.
  PATH="${bom%/*}:$PATH" cargo cyclonedx --quiet --format json --target "$triple" --no-build-deps \
    --spec-version 1.5 --override-filename "pullgate-$version.cdx" >&2
  # Where it was built is no matter of what it is made of.
  sed "s|path+file://$root|path+file:///pullgate|g" "pullgate-$version.cdx.json" >"$out/pullgate-$version.cdx.json"
  rm "pullgate-$version.cdx.json"
  echo "  pullgate-$version.cdx.json"
else
  echo "  no SBOM: cargo install --locked --root target/tools cargo-cyclonedx"
fi

(cd "$out" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
