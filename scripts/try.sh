#!/usr/bin/env bash
# Install, train a DCGAN on real digits, sample, interpolate, and say whether the samples are digits.
# Minutes, without a GPU and without a download of data.
set -euo pipefail
cd "$(dirname "$0")/.."
settings=(model.width=16 kimg=150)  # what two cores can do in three minutes

if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
    [ -x .venv/bin/pip ] || python3 -m venv .venv
    source .venv/bin/activate
    activate="source .venv/bin/activate"
fi
echo "Installing (torch is large; the first time takes a few minutes)"
python -m pip install --quiet --editable .

run="runs/try-$(date +%Y-%m-%d_%H-%M-%S)"
genzoo train model=dcgan data=digits "${settings[@]}" run="$run"
genzoo sample ckpt="$run" n=64 out="$run/grid.png"
genzoo sample ckpt="$run" n=1000 out="$run/samples.npy"
genzoo interpolate ckpt="$run" rows=6 out="$run/interpolation.png"

echo
verdict=0
python scripts/verdict.py "$run/samples.npy" || verdict=$?
cat <<EOF

Digits drawn      $run/grid.png
Interpolation     $run/interpolation.png
While it learned  $run/samples, or: tensorboard --logdir $run

Type next${activate:+
  $activate}
  genzoo sample ckpt=$run n=16 seed=1 out=more.png
  genzoo train resume=$run kimg=300
  genzoo train model=vae data=digits
  genzoo list
EOF
exit "$verdict"
