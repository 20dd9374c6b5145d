#!/bin/sh
# Install the constrained PyTorch into an environment: the CPU build where there is no NVIDIA driver, because the
# default build brings gigabytes of CUDA libraries along. Usage: install_torch.sh PYTHON
set -eu

if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then
    exec "$1" -m pip install --quiet -c constraints.txt torch
fi
"$1" -m pip install --quiet --retries 1 --timeout 20 -c constraints.txt torch \
    --index-url https://download.pytorch.org/whl/cpu ||
    exec "$1" -m pip install --quiet -c constraints.txt torch
