#!/usr/bin/env bash
# Lays out the root of the container image in an empty folder: the program, the libraries that it
# is linked with and those that glibc loads to resolve names, the authorities of the system, and a
# user. No shell, no package manager. The Dockerfile and `make image-scratch` both do it this way.
#
#   deploy/image/root.sh PROGRAM FOLDER
set -euo pipefail
program=${1:?the program} root=${2:?the folder}
authorities=${PULLGATE_AUTHORITIES:-/etc/ssl/certs/ca-certificates.crt}
[[ -f $authorities ]] || {
  echo "missing: $authorities (Debian: ca-certificates; elsewhere: PULLGATE_AUTHORITIES=FILE)" >&2
  exit 2
}
[[ ! -e $root ]] || [[ -z $(ls -A "$root") ]] || { echo "$root is not empty" >&2; exit 2; }

library() { # a file, where the program looks for it; links are followed
  install -D -m 0555 "$(readlink -f "$1")" "$root$1"
}

install -D -m 0555 "$program" "$root/pullgate"
if linked=$(ldd "$program" 2>/dev/null); then
  # `name => /path (address)`, and the loader as a bare path; the kernel's own page has none.
  mapfile -t files < <(sed -nE 's|.*=> (/[^ ]+) .*|\1|p; s|^[[:space:]]*(/[^ ]+) \(.*|\1|p' <<<"$linked")
  for file in "${files[@]}"; do library "$file"; done
  for file in "${files[@]}"; do
    [[ $file == */libc.so.6 ]] || continue
    for name in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
      [[ ! -e ${file%/*}/$name ]] || library "${file%/*}/$name"
    done
  done
fi
install -D -m 0444 "$authorities" "$root/etc/ssl/certs/ca-certificates.crt"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
printf 'pullgate:x:65532:65532:pullgate:/:/\n' >"$root/etc/passwd"
printf 'pullgate:x:65532:\n' >"$root/etc/group"
chmod 0444 "$root"/etc/{nsswitch.conf,passwd,group}
