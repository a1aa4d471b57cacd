#!/usr/bin/env bash
# Resolves the extras of pyproject.toml into locks/*.txt: exact versions with hashes, no download addresses.
# Usage: setup/lock.sh [--upgrade]. Every runtime takes the versions of locks/dev.txt, so they cannot drift apart.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_CUSTOM_COMPILE_COMMAND="make lock"

compile() {
  .venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 "$@"
}

compile pyproject.toml --all-extras --group dev "$@" --output-file locks/dev.txt
echo "uv" | compile - --constraint locks/dev.txt --output-file locks/bootstrap.txt
for runtime in worker sts-cpu; do
  compile pyproject.toml --extra "$runtime" --constraint locks/dev.txt --output-file "locks/$runtime.txt"
done
