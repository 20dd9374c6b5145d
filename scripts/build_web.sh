#!/bin/sh
# Builds the web page of `headstudio export --to web` with npm; without npm its tests are skipped.
set -eu

command -v npm >/dev/null 2>&1 || {
    echo "npm is not here: the web page is not built. On Debian and Ubuntu: sudo apt-get install npm" >&2
    exit 0
}
cd "$(dirname "$0")/../web"
npm ci --no-audit --no-fund
npm run build
