#!/bin/sh
# The tests of the web page look at it in Chromium: install it where that is possible, else they are skipped.
set -eu

command -v chromium >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq || true
    apt-get install -qq -y --no-install-recommends chromium || true
fi
command -v chromium >/dev/null 2>&1 || {
    echo "Chromium is not here: the tests of the web page are skipped. On Debian: sudo apt-get install chromium" >&2
}
