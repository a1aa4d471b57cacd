#!/usr/bin/env bash
# Builds .venv-torch: torch, transformers and coqui-tts beside the small engines, and what the tests need.
# An environment of its own because these three want older huggingface-hub and tokenizers than .venv has, and because
# a laptop should not fetch gigabytes to dub a minute of video. Does nothing when its inputs did not change.
# Needs .venv (make setup). Usage: setup/torch_environment.sh
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PYTHON=/usr/bin/python3.11
readonly LOCK=locks/sts-torch.txt
readonly TARGET=.venv-torch
readonly STAMP=$TARGET/.inputs.sha256

say() { printf 'torch environment: %s\n' "$*"; }
fail() { printf 'torch environment: %s\n' "$*" >&2; exit 1; }

[ -x .venv/bin/uv ] || fail ".venv/bin/uv is missing; run: make setup"
[ -x "$PYTHON" ] || fail "$PYTHON is missing; run: apt-get install python3.11 python3.11-venv"
mkdir -p .setup
exec 9>.setup/torch-environment.lock
flock --timeout 900 9 || fail "another build holds .setup/torch-environment.lock for over 900 s"

inputs=$(cat "$LOCK" pyproject.toml setup/torch_environment.sh setup/sts-torch.in | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$STAMP" 2>/dev/null)" = "$inputs" ]; then
  say "$TARGET is as $LOCK wants it"
  exit 0
fi

# The version that setup/sts-torch.in pins, so that it stands in one place.
torch=$(sed -n 's/^\(torch==.*\)$/\1/p' setup/sts-torch.in)
[ -n "$torch" ] || fail "setup/sts-torch.in pins no torch"

say "creating $TARGET"
rm -rf "$TARGET"
"$PYTHON" -m venv "$TARGET"

say "installing Python packages from $LOCK"
# --no-deps: the lock is complete but for torch and what a CUDA torch brings along.
.venv/bin/uv pip install --quiet --python "$TARGET/bin/python" --no-deps --require-hashes --requirement "$LOCK"

# pip, not uv: a machine may offer its pip a CPU build of this very version (--find-links), which has another hash.
# Where it offers none, pip brings the build for CUDA with NVIDIA's libraries, about 2.5 GB, and that works too.
say "installing $torch (where pip has no CPU build at hand this is the CUDA build: about 2.5 GB)"
"$TARGET/bin/python" -m pip install --quiet --disable-pip-version-check "$torch" 2>&1 | { grep -v '^WARNING: Location' || true; }

# torchaudio's wheel is compiled against CUDA and cannot load beside a CPU torch. Without its shared libraries it
# falls back to its Python part (resampling, mel spectrograms, reading files through torchcodec), all that is used here.
find "$TARGET"/lib/python3.11/site-packages/torchaudio/lib -name '*.so' -delete

.venv/bin/uv pip install --quiet --python "$TARGET/bin/python" --no-deps --no-build-isolation --editable .
"$TARGET/bin/python" -c 'import torch, torchaudio, torchcodec, transformers, livedub; print("torch environment: ready, torch " + torch.__version__)' ||
  fail "$TARGET cannot import what it is for; remove it and run setup/torch_environment.sh again"
printf '%s\n' "$inputs" >"$STAMP"
