#!/usr/bin/env bash
# Builds the wheel that hosts install: livedub, gpu_handler and media_edge with units and configuration, into
# build/wheels/livedub-VERSION-py3-none-any.whl, and removes other versions there. The same sources give the same bytes, on
# any machine. Needs .venv (make setup).
# Usage: setup/build_wheel.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TARGET=${1:-build/wheels}

fail() { printf 'build_wheel: %s\n' "$*" >&2; exit 1; }

[ -x .venv/bin/python ] || fail ".venv/bin/python is missing; run: make setup"
mkdir -p "$TARGET"
exec 9>"$TARGET/.lock"
flock --timeout 300 9 || fail "another build holds $TARGET/.lock for over 300 s"
staging=$(mktemp -d "$TARGET/.staged.XXXXXX")
trap 'rm -rf "$staging"' EXIT
# Files' times in the archive are hatchling's own; this variable of the caller's would replace them.
said=$(env -u SOURCE_DATE_EPOCH .venv/bin/python -m hatchling build --target wheel --directory "$staging" 2>&1) || fail "$said"
[ -n "$(find "$staging" -name 'livedub-*-py3-none-any.whl')" ] || fail "hatchling built no wheel"
if ! cmp --silent "$staging"/livedub-*.whl "$TARGET"/livedub-*.whl; then
  rm -f "$TARGET"/livedub-*.whl
  mv "$staging"/livedub-*.whl "$TARGET/"
fi
