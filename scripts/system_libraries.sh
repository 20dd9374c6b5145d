#!/bin/sh
# OpenCV, which comes with the landmark detector, needs two libraries of the system: install them where that is
# possible, say how where it is not. Usage: system_libraries.sh PYTHON
set -eu

"$1" -c "import cv2" 2>/dev/null && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends libgl1 libglib2.0-0
fi
"$1" -c "import cv2" || {
    echo "OpenCV cannot be loaded. On Debian and Ubuntu run: sudo apt-get install libgl1 libglib2.0-0" >&2
    exit 1
}
