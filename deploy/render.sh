#!/usr/bin/env bash
# Writes deploy/kustomize/base from the chart with its default values, so that both are the same
# objects. Needs helm (PULLGATE_CLUSTER_BIN/helm, or the one on PATH). A test checks that what is
# committed is what this writes.
#
#   deploy/render.sh [FOLDER]      default: deploy/kustomize/base
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/kustomize/base}
helm=${PULLGATE_CLUSTER_BIN:+$PULLGATE_CLUSTER_BIN/helm}
helm=${helm:-helm}
mkdir -p "$out"
rendered=$("$helm" template pullgate "$here/chart/pullgate" --namespace pullgate --no-hooks)
# What only Helm can say of itself.
sed -e '/^ *app.kubernetes.io\/managed-by: Helm$/d' \
    -e '/^ *helm.sh\/chart: /d' -e '/^# Source: /d' <<<"$rendered" >"$out/pullgate.yaml"
