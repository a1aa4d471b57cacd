#!/usr/bin/env bash
# Builds the Python environment of an STS image from its lock: gpu_handler/Dockerfile runs this, and so does a test.
# Usage: setup/image_environment.sh cpu|gpu FOLDER, in a folder that holds locks/. Needs python3.11.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TARGET=$1 FOLDER=$2
readonly LOCK=locks/sts-image-$TARGET.txt

fail() { printf 'image environment: %s\n' "$*" >&2; exit 1; }

[ -f "$LOCK" ] || fail "$LOCK is missing; the targets are cpu and gpu"

/usr/bin/python3.11 -m venv "$FOLDER"
"$FOLDER/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/bootstrap.txt
# Bytecode belongs into an image, or every cold start compiles it all again.
# --no-deps: the lock is complete, and one requirement is overruled on purpose (setup/sts-image-*.override).
"$FOLDER/bin/uv" pip install --quiet --compile-bytecode --python "$FOLDER/bin/python" --no-deps --require-hashes --requirement "$LOCK"

if [ "$TARGET" = cpu ]; then
  # torchaudio's wheel is compiled against CUDA and cannot load beside a CPU torch. Without its shared libraries it falls
  # back to its Python part, which is all that is used here.
  find "$FOLDER"/lib/python3.11/site-packages/torchaudio/lib -name '*.so' -delete
fi
