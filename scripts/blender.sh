#!/bin/sh
# Makes the environment that `headstudio export --to blender` calls: a Python 3.11 with bpy, apart from everything else.
# Where it cannot be made, the tests that open .blend files are skipped. Usage: blender.sh [FOLDER]
set -eu

folder="${1:-.venv-blender}"
"$folder/bin/python" -c "import bpy" 2>/dev/null && exit 0
command -v python3.11 >/dev/null 2>&1 || {
    echo "python3.11, which bpy wants, is not here: the tests that open .blend files are skipped" >&2
    exit 0
}
python3.11 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet 'bpy==4.5.15' 'numpy<2' && "$folder/bin/python" -c "import bpy" || {
    rm -rf "$folder"
    echo "bpy cannot be installed here: the tests that open .blend files are skipped" >&2
}
