#!/bin/sh
# A test has Godot read the exported .glb: install it where that is possible, else the test is skipped.
set -eu

command -v godot3-server >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get install -qq -y --no-install-recommends godot3-server >/dev/null || true
fi
command -v godot3-server >/dev/null 2>&1 || {
    echo "Godot is not here: its test is skipped. On Debian: sudo apt-get install godot3-server" >&2
}
