#!/bin/sh
# Make .venv and install the package in it, PyTorch first. `make` runs this; by hand: sh setup.sh
#
# PYTHON  the Python to use (3.11 to 3.14); by default the first one found
# TORCH   what to hand to `pip install` for PyTorch; by default chosen below, and said
set -eu

# Numba and PyTorch are made for certain versions: with a newer one pip would fail after minutes, or compile for hours.
is_right() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; }
home_of() { "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null; }

if [ -z "${TORCH:-}" ] && [ "$(uname -s)" = Darwin ] && [ "$(uname -m)" = x86_64 ]; then
    echo "PyTorch 2.10 or newer, which this project needs, isn't published for Macs with an Intel processor. Use another" \
        "machine, or name a build that you have: make TORCH=/path/to/torch.whl" >&2
    exit 1
fi

if [ -n "${PYTHON:-}" ]; then
    is_right "$PYTHON" || { echo "PYTHON=$PYTHON is not Python 3.11 to 3.14." >&2; exit 1; }
    if [ -x .venv/bin/python ] && [ "$(home_of .venv/bin/python)" != "$(home_of "$PYTHON")" ]; then
        echo ".venv was made with $(.venv/bin/python --version), not with PYTHON=$PYTHON. To use that one, remove .venv" \
            "first: rm -r .venv" >&2
        exit 1
    fi
else
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if is_right "$name"; then PYTHON=$name; break; fi
    done
    [ -n "${PYTHON:-}" ] || {
        echo "No Python 3.11 to 3.14 was found. Install one (python.org), or name it: make PYTHON=/path/to/python" >&2
        exit 1
    }
fi

if [ ! -x .venv/bin/python ]; then
    echo "Making .venv with $("$PYTHON" --version)"
    "$PYTHON" -m venv .venv || {
        echo "Could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    }
fi
pip() { .venv/bin/python -m pip "$@"; }

# On Linux the ordinary torch brings gigabytes of GPU libraries. Without an NVIDIA GPU the CPU build does the same work,
# so it is taken from PyTorch's own index. Where that index cannot be reached (no network, a mirror) whatever torch
# pip is set up to find is installed instead.
CPU_INDEX=https://download.pytorch.org/whl/cpu
reachable() {
    .venv/bin/python - "$1" <<'PY' 2>/dev/null
import sys, urllib.request
urllib.request.urlopen(sys.argv[1] + "/torch/", timeout=10).close()
PY
}
if .venv/bin/python -c 'import torch' 2>/dev/null; then
    echo "PyTorch is installed already"
else
    if [ -n "${TORCH:-}" ]; then
        echo "PyTorch: $TORCH, as asked for"
    elif [ "$(uname -s)" != Linux ]; then
        TORCH=torch
        echo "PyTorch: the ordinary package, which is small on this system"
    elif nvidia-smi -L >/dev/null 2>&1; then
        TORCH=torch
        echo "PyTorch: the ordinary package with CUDA, since there is an NVIDIA GPU"
    elif reachable "$CPU_INDEX"; then
        TORCH="torch --index-url $CPU_INDEX"
        echo "PyTorch: the CPU build from $CPU_INDEX, since there is no NVIDIA GPU"
    else
        TORCH=torch==2.13.0
        echo "PyTorch: $TORCH from pip's own index, since $CPU_INDEX cannot be reached"
    fi
    # Not quoted: it may hold options.
    pip install $TORCH
fi
pip install -e '.[dev]'
