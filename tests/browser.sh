#!/usr/bin/env bash
# Says whether there is a browser for the tests of the page: Chromium and its driver. In continuous
# integration on Debian, as root, it installs them from the distribution; on a person's machine it
# installs nothing. Without a browser these tests print `skipped: …`.
set -uo pipefail

there() { command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null; }

if ! there && [[ -n ${CI:-} && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "installing chromium and chromium-driver from the distribution"
  log=$(mktemp)
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends chromium chromium-driver; } >"$log" 2>&1; then
    tail -n 5 "$log"
  fi
  rm -f "$log"
fi
if there; then
  chromedriver --version
else
  echo "no Chromium with its driver: the tests of the page are skipped (Debian: apt-get install chromium chromium-driver)"
fi
