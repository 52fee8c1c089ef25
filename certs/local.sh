#!/usr/bin/env bash
# Makes an authority and a serving certificate (P-256) for trying out on one's own machine.
#
#   certs/local.sh FOLDER [NAME...]      default name: localhost
#
# FOLDER must not be inside the repository: keys are never committed.
set -euo pipefail
folder=${1:?usage: certs/local.sh FOLDER [NAME...]}
shift
names=("${@:-localhost}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
case $folder/ in
  "$root"/target/*) ;;
  "$root"/*) echo "choose a folder outside of the repository: keys are never committed" >&2; exit 2 ;;
esac
umask 077
san=
for name in "${names[@]}"; do
  if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then san+=",IP:$name"; else san+=",DNS:$name"; fi
done
cd "$folder"
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }
key ca.key
openssl req -x509 -new -key ca.key -subj /CN=pullgate-local -days 365 \
  -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign -out ca.crt
key tls.key
openssl req -new -key tls.key -subj "/CN=${names[0]}" |
  openssl x509 -req -CA ca.crt -CAkey ca.key -days 90 -out tls.crt -extfile <(
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:false\n' "${san#,}"
  ) 2>/dev/null
echo "wrote ca.crt, tls.crt and tls.key to $folder"
