#!/usr/bin/env bash
# Install the test extra and run every check. More arguments go to pytest: bash scripts/test.sh -k dcgan
# The continuous integration runs more: bash scripts/test.sh -m "not slow and not gpu"
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE  # idle threads that spin slow a busy machine many times over

if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
    [ -x .venv/bin/pip ] || python3 -m venv .venv
    source .venv/bin/activate
fi
python -m pip install --quiet --editable ".[test]"

ruff check .
ruff format --check .
lint-imports
mypy genzoo/core genzoo/hub.py genzoo/fit.py genzoo/priors.py genzoo/losses.py
python -m pytest -n 2 --dist loadfile -m "not slow and not thorough and not gpu" "$@"
