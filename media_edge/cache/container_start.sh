#!/bin/sh
# Starts the media cache in its container, and leaves what its consumers must know as media-cache.env in LIVEDUB_RUN_DIR
# once it serves. MEDIA_DATA_DIR and MEDIA_TLS_CERT_HOST_PATH are on a volume.
set -eu
umask 077

# A token that nobody chose is made once: with a new one at every start, consumers that run could not write any more.
if [ -z "${MEDIA_UPLOAD_TOKEN:-}${MEDIA_UPLOAD_TOKENS:-}${MEDIA_UPLOAD_TOKENS_FILE:-}" ]; then
  kept=$MEDIA_TLS_CERT_HOST_PATH/upload-token
  if [ ! -s "$kept" ]; then
    python -c 'import secrets; print(secrets.token_hex(32))' >"$kept.new"
    mv "$kept.new" "$kept"
  fi
  MEDIA_UPLOAD_TOKEN=$(cat "$kept")
  export MEDIA_UPLOAD_TOKEN
fi

# It prints its export lines when it serves; until then there is nothing to read.
left=${LIVEDUB_RUN_DIR:-/run/livedub}/media-cache.env
rm -f "$left"
exec python -m livedub.cli.main media up >"$left"
