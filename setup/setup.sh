#!/usr/bin/env bash
# Prepares this checkout: Debian packages, the Python environment in .venv, the speech models.
# Idempotent; every step is skipped when its inputs did not change. Run it through `make setup`.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PYTHON=/usr/bin/python3.11
readonly STAMPS=.setup
mkdir -p "$STAMPS"

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

missing_debian_packages() {
  local wanted installed
  wanted=$(sed -e 's/#.*//' -e '/^\s*$/d' setup/debian/*.txt | sort -u)
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null | sed -n 's/ installed$//p' | sort -u)
  comm -23 <(printf '%s\n' "$wanted") <(printf '%s\n' "$installed")
}

install_debian_packages() {
  command -v dpkg-query >/dev/null || fail "this machine has no dpkg: livedub sets itself up on Debian 12 (packages: setup/debian/*.txt)"
  local missing
  missing=$(missing_debian_packages)
  [ -n "$missing" ] || return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "Debian packages are missing; as root run: apt-get install --no-install-recommends $(echo $missing)"
    as_root=(sudo)
  fi
  say "installing Debian packages: $(echo $missing)"
  "${as_root[@]}" apt-get update -qq
  # shellcheck disable=SC2086 # one word per package is meant
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >"$STAMPS/apt.log" 2>&1 ||
    fail "apt-get failed; the end of $STAMPS/apt.log says why: $(tail -n 3 "$STAMPS/apt.log")"
}

# Succeeds when STAMP holds the digest of the given files, that is: nothing changed since it was written.
unchanged() {
  local stamp=$1
  shift
  [ -f "$STAMPS/$stamp" ] && [ "$(digest "$@")" = "$(cat "$STAMPS/$stamp")" ]
}
digest() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

make_python_environment() {
  local inputs=(locks/bootstrap.txt locks/dev.txt pyproject.toml setup/setup.sh)
  if unchanged python "${inputs[@]}" && .venv/bin/python -c 'import gi, livedub' 2>/dev/null; then
    return 0
  fi
  [ -x "$PYTHON" ] || fail "$PYTHON is missing (Debian's GStreamer bindings need Python 3.11); run: apt-get install python3.11 python3.11-venv"
  if ! .venv/bin/python -c 'import sys; assert sys.version_info[:2] == (3, 11)' 2>/dev/null; then
    say "creating .venv"
    rm -rf .venv
    "$PYTHON" -m venv .venv
  fi
  say "installing Python packages from locks/dev.txt"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/bootstrap.txt
  .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes locks/dev.txt
  # Debian builds the GStreamer bindings for this very interpreter; only gi is taken from the system.
  ln -sfn /usr/lib/python3/dist-packages/gi .venv/lib/python3.11/site-packages/gi
  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
  .venv/bin/python -c 'import gi, livedub' || fail "the new environment cannot import gi or livedub; remove .venv and run make setup again"
  digest "${inputs[@]}" >"$STAMPS/python"
}

# The Lambda runtime interface emulator (Apache-2.0) comes inside the SAM CLI's wheel; nothing else of it is used.
fetch_lambda_emulator() {
  if unchanged lambda-emulator locks/lambda-emulator.txt && [ -x .tools/aws-lambda-rie ]; then
    return 0
  fi
  say "fetching the Lambda runtime interface emulator"
  local unpacked binary
  unpacked=$(mktemp -d)
  .venv/bin/uv pip install --quiet --python .venv/bin/python --target "$unpacked" --no-deps --require-hashes -r locks/lambda-emulator.txt
  binary=$unpacked/samcli/local/rapid/aws-lambda-rie-$(uname -m | sed 's/aarch64/arm64/')
  [ -f "$binary" ] || fail "the SAM CLI's wheel has no ${binary##*/}: this machine's processor is not supported"
  install -D -m 755 "$binary" .tools/aws-lambda-rie
  rm -rf "$unpacked"
  digest locks/lambda-emulator.txt >"$STAMPS/lambda-emulator"
}

# The cdk command; its library is a Python package and came with locks/dev.txt.
install_cdk() {
  local inputs=(infra/package.json infra/package-lock.json)
  if unchanged cdk "${inputs[@]}" && [ -x infra/node_modules/.bin/cdk ]; then
    return 0
  fi
  say "installing the cdk command from infra/package-lock.json"
  PATH="$PWD/.venv/bin:$PATH" npm ci --prefix infra --silent --no-audit --no-fund >"$STAMPS/npm.log" 2>&1 ||
    fail "npm ci failed; the end of $STAMPS/npm.log says why: $(tail -n 3 "$STAMPS/npm.log")"
  digest "${inputs[@]}" >"$STAMPS/cdk"
}

fetch_models() {
  .venv/bin/python -m gpu_handler models fetch
}

install_debian_packages
make_python_environment
fetch_lambda_emulator
install_cdk
fetch_models
say "ready"
