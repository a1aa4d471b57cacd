#!/usr/bin/env bash
# Builds a Python environment from locks: the Dockerfiles of media_edge and local run this, and so does a test.
# Usage: setup/lock_environment.sh FOLDER LOCK..., in a folder that holds locks/. Needs python3.11.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'lock environment: %s\n' "$*" >&2; exit 1; }

[ "$#" -ge 2 ] || fail "give a folder and at least one lock"
readonly FOLDER=$1
shift
requirements=()
for lock in "$@"; do
  [ -f "$lock" ] || fail "$lock is missing"
  requirements+=(--requirement "$lock")
done

# The installer stays out of what it builds: nothing at run time calls it.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
/usr/bin/python3.11 -m venv "$tools/venv"
"$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/bootstrap.txt
/usr/bin/python3.11 -m venv --without-pip "$FOLDER"
# Bytecode belongs into an image, or every start compiles it all again. --no-deps: locks are complete, and those of one
# image hold the same versions (every lock takes them from locks/dev.txt).
"$tools/venv/bin/uv" pip install --quiet --compile-bytecode --link-mode copy --python "$FOLDER/bin/python" \
  --no-deps --require-hashes "${requirements[@]}"
