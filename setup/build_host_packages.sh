#!/usr/bin/env bash
# Builds what a host has of other people's: the packages of a lock, into a folder that becomes its site-packages. Hosts ask no
# registry. The same lock gives the same bytes. Needs .venv (make setup).
# Usage: setup/build_host_packages.sh FOLDER LOCK [PROGRAM]    PROGRAM: what to keep of the packages' bin, such as caddy
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TARGET=$1 LOCK=$2 PROGRAM=${3:-}
readonly STAMP=$TARGET.sha256
# Amazon Linux 2023 has glibc 2.34, Debian 12 has 2.36. Both run Python 3.11.
readonly HOST_PLATFORM=x86_64-manylinux_2_34
readonly HOST_PYTHON=3.11

fail() { printf 'build_host_packages: %s\n' "$*" >&2; exit 1; }

[ -x .venv/bin/uv ] || fail ".venv/bin/uv is missing; run: make setup"
mkdir -p "$(dirname "$TARGET")"
exec 9>"$TARGET.lock"
flock --timeout 300 9 || fail "another build holds $TARGET.lock for over 300 s"

inputs=$({ cat "$LOCK" setup/build_host_packages.sh; printf '%s' "$PROGRAM"; } | sha256sum | cut -d ' ' -f 1)
if [ -d "$TARGET" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$inputs" ]; then
  exit 0
fi

staging=$(mktemp -d "$TARGET.XXXXXX")
trap 'rm -rf "$staging"' EXIT
# Copied: what follows changes times and modes, and linked files are uv's cache and other environments, too.
.venv/bin/uv pip install --quiet --link-mode copy --python .venv/bin/python --target "$staging/packages" --require-hashes --only-binary :all: \
  --python-platform "$HOST_PLATFORM" --python-version "$HOST_PYTHON" --requirement "$LOCK"
# The other scripts name this machine's interpreter, records list them, and nobody runs either.
if [ -n "$PROGRAM" ]; then
  [ -f "$staging/packages/bin/$PROGRAM" ] || fail "$LOCK brings no $PROGRAM"
  find "$staging/packages/bin" -type f ! -name "$PROGRAM" -delete
else
  rm -rf "$staging/packages/bin"
fi
rm -f "$staging/packages/.lock"
find "$staging/packages" \( -name __pycache__ -o -name tests \) -type d -prune -exec rm -rf {} +
find "$staging/packages" -path '*.dist-info/*' \( -name RECORD -o -name REQUESTED -o -name INSTALLER -o -name direct_url.json -o -name 'uv_*' \) -delete
# Times and modes would otherwise differ from build to build, and with them the archive.
find "$staging/packages" -type d -exec chmod 755 {} +
find "$staging/packages" -type f -perm -u+x -exec chmod 755 {} +
find "$staging/packages" -type f ! -perm -u+x -exec chmod 644 {} +
find "$staging/packages" -exec touch --no-dereference --date 1980-01-01T00:00:00Z {} +

rm -rf "$TARGET"
mv "$staging/packages" "$TARGET"
printf '%s\n' "$inputs" >"$STAMP"
