#!/usr/bin/env bash
# Builds a Lambda layer of third-party packages from a lock: locks/functions.txt into build/layers/dependencies/python, or
# locks/library-functions.txt into build/layers/library/python. The same lock gives the same bytes, on any machine. Does
# nothing when the lock did not change. Needs .venv (make setup).
# Usage: setup/build_layer.sh [FOLDER [LOCK]]
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TARGET=${1:-build/layers/dependencies}
readonly LOCK=${2:-locks/functions.txt}
readonly STAMP=$TARGET.sha256
# Lambda runs Python 3.11 on Amazon Linux 2: glibc 2.26, so nothing built for 2.28 would load.
readonly LAMBDA_PLATFORM=x86_64-manylinux2014
readonly LAMBDA_PYTHON=3.11
readonly MOST_MIB=240

fail() { printf 'build_layer: %s\n' "$*" >&2; exit 1; }

[ -x .venv/bin/uv ] || fail ".venv/bin/uv is missing; run: make setup"
mkdir -p "$(dirname "$TARGET")"
exec 9>"$TARGET.lock"
flock --timeout 300 9 || fail "another build holds $TARGET.lock for over 300 s"

inputs=$(cat "$LOCK" setup/build_layer.sh | sha256sum | cut -d ' ' -f 1)
if [ -d "$TARGET/python" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$inputs" ]; then
  exit 0
fi

staging=$(mktemp -d "$TARGET.XXXXXX")
trap 'rm -rf "$staging"' EXIT
# Copies: what follows changes modes and times, which a link would share with uv's cache and with .venv.
.venv/bin/uv pip install --quiet --link-mode copy --python .venv/bin/python --target "$staging/python" --require-hashes --only-binary :all: \
  --python-platform "$LAMBDA_PLATFORM" --python-version "$LAMBDA_PYTHON" --requirement "$LOCK"

# Lambda brings these; a second copy would cost seconds of every cold start.
for provided in boto3 botocore s3transfer; do
  [ ! -e "$staging/python/$provided" ] || fail "$LOCK holds $provided, which Lambda brings itself; take it out of the extra"
done
# Scripts name this machine's interpreter, records list them, and nothing in a layer runs either.
rm -rf "$staging/python/bin" "$staging/python/.lock"
find "$staging/python" \( -name __pycache__ -o -name tests \) -type d -prune -exec rm -rf {} +
find "$staging/python" -path '*.dist-info/*' \( -name RECORD -o -name REQUESTED -o -name INSTALLER -o -name direct_url.json -o -name 'uv_*' \) -delete
# A layer cannot be written to, so without bytecode every cold start compiles it all: 0.4 s of a whole processor.
# "unchecked": what lies in a layer does not change under its bytecode, and a check by time would never hold.
PYTHONHASHSEED=0 .venv/bin/python -m compileall -q -j 1 --invalidation-mode unchecked-hash \
  -s "$staging" -p /opt "$staging/python" || fail "a package of $LOCK does not compile"
# Times and modes would otherwise differ from build to build, and with them the archive.
find "$staging/python" -type d -exec chmod 755 {} +
find "$staging/python" -type f -exec chmod 644 {} +
find "$staging/python" -exec touch --no-dereference --date 1980-01-01T00:00:00Z {} +

# Lambda unpacks all layers of a function together; livedub itself takes the rest.
unpacked_mib=$(du -sm --apparent-size "$staging/python" | cut -f 1)
[ "$unpacked_mib" -le "$MOST_MIB" ] || fail "$LOCK makes $unpacked_mib MiB, Lambda takes 250 with all layers"

rm -rf "$TARGET"
mkdir "$TARGET"
mv "$staging/python" "$TARGET/python"
printf '%s\n' "$inputs" >"$STAMP"
