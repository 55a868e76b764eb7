#!/usr/bin/env bash
# Install genzoo, train a DCGAN on real digits, sample, interpolate, and check that the samples are digits.
# Takes minutes, without a GPU. Only Python packages are downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."
settings=(model.width=16 kimg=150)  # what one core trains in two to three minutes

step() {  # step TEXT COMMAND...: run it and say how long it took
    local text=$1 began=$SECONDS status=0
    shift
    echo "== $text"
    "$@" || status=$?
    echo "== took $((SECONDS - began)) s"
    echo
    return $status
}
megabytes() { du -sm "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" | cut -f1; }

if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
    if [ ! -x .venv/bin/pip ]; then  # a PyTorch that is already installed is used as it is
        python3 -c 'import torch, torchvision' 2>/dev/null && reuse=--system-site-packages
        python3 -m venv ${reuse:-} .venv
    fi
    source .venv/bin/activate
    activate="source .venv/bin/activate"
fi
before=$(megabytes)
if version=$(python -c 'import torch, torchvision; print(torch.__version__)' 2>/dev/null); then
    echo "PyTorch $version is there and is used. The other packages are about 110 MB to download."
elif [ "$(uname -s)" = Linux ]; then
    echo "PyTorch is missing. With CUDA, which is its default on Linux, about 3 GB are downloaded and 6 GB stored."
    echo "Without a GPU its CPU build is much smaller: stop with Ctrl-C and follow \"Install\" in README.md."
else
    echo "PyTorch is missing, and is most of what is downloaded now."
fi
step "Installing genzoo" python -m pip install --disable-pip-version-check --editable .
echo "Installed: $(($(megabytes) - before)) MB more on disk"
echo

run="runs/try-$(date +%Y-%m-%d_%H-%M-%S)"
step "Training; $run/samples shows what it draws by now" genzoo train model=dcgan data=digits "${settings[@]}" run="$run"
step "Sampling" genzoo sample ckpt="$run" n=64 out="$run/grid.png"
step "Sampling 1,000 for the check" genzoo sample ckpt="$run" n=1000 out="$run/samples.npy"
step "Interpolating" genzoo interpolate ckpt="$run" rows=6 out="$run/interpolation.png"
verdict=0
step "Checking" python scripts/verdict.py "$run/samples.npy" || verdict=$?
cat <<END

Digits drawn      $run/grid.png
Interpolation     $run/interpolation.png
While it learned  $run/samples, or: tensorboard --logdir $run

Type next${activate:+
  $activate}
  genzoo sample ckpt=$run n=16 seed=1 out=more.png
  genzoo train resume=$run kimg=300
  genzoo train model=vae data=digits
  genzoo list
END
exit "$verdict"
