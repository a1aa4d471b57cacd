#!/usr/bin/env bash
# Installs one release of the media host, MediaMTX and its relay, and goes back to the one before where it does not get ready.
# Run by State Manager as root, and again whenever something changes; streams go on unless MediaMTX itself, its unit or its
# variables are other ones. Needs RELEASE_ID, AWS_REGION, PACKAGES_URL, LIVEDUB_URL, MEDIAMTX_URL (s3://..., the last one
# empty where the image has /usr/local/bin/mediamtx), API_URL, RELAY_KEY_SECRET, RELAY_ID, PRIVATE_IP, API_NETWORKS, RECORD
# (yes or no), MEDIA_BUCKET_IN, and for the host's journal LOG_GROUP, LOG_SERVICE, LOG_VOLUMES and METRICS_NAMESPACE. ROOT and
# PATIENCE_S are for tests.
set -euo pipefail
umask 022

readonly ROOT=${ROOT:-} PATIENCE_S=${PATIENCE_S:-60}
readonly INSTALLED=$ROOT/opt/livedub-releases CURRENT=$ROOT/opt/livedub
readonly ENVIRONMENT=$ROOT/etc/livedub UNITS=$ROOT/etc/systemd/system
readonly RECORDINGS=$ROOT/var/lib/livedub-recordings
readonly SITE=.venv/lib/python3.11/site-packages
readonly MEDIA=$SITE/media_edge/mediamtx LOGS=$SITE/livedub/host_logs
readonly RUNNING=$ROOT/var/lib/livedub/mediamtx-running

fail() { printf 'media host: %s\n' "$*" >&2; exit 1; }

fetch() { aws s3 cp --only-show-errors --region "$AWS_REGION" "$1" "$staging/fetched"; }

fetch_into() {
  fetch "$1"
  python3.11 -m zipfile -e "$staging/fetched" "$2"
  rm "$staging/fetched"
}

fetch_mediamtx() {
  local program=$staging/.venv/bin/mediamtx
  if [ -z "$MEDIAMTX_URL" ]; then
    install -m 0755 "$ROOT/usr/local/bin/mediamtx" "$program"
    return
  fi
  fetch "$MEDIAMTX_URL"
  tar --extract --gzip --to-stdout --file "$staging/fetched" mediamtx >"$program"
  chmod 0755 "$program"
  rm "$staging/fetched"
}

unpack_release() {
  [ ! -e "$INSTALLED/$RELEASE_ID" ] || return 0
  mkdir -p "$INSTALLED"
  staging=$(mktemp -d "$INSTALLED/.staged.XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  chmod 755 "$staging"
  python3.11 -m venv --without-pip "$staging/.venv"
  fetch_into "$PACKAGES_URL" "$staging/.venv/lib/python3.11/site-packages"
  # A wheel of nothing but Python is unpacked where it belongs.
  fetch_into "$LIVEDUB_URL" "$staging/.venv/lib/python3.11/site-packages"
  fetch_mediamtx
  mv "$staging" "$INSTALLED/$RELEASE_ID"
  trap - EXIT
}

# MediaMTX reads its configuration again when the file is written: one that is the same is left alone.
place() { cmp --silent "$1" "$2" || install -D -m 0644 "$1" "$2"; }

use() {
  ln -sfn "$1" "$CURRENT.next"
  mv -T "$CURRENT.next" "$CURRENT"
  local media=$CURRENT/$MEDIA
  place "$media/livedub-media-host.sysusers.conf" "$ROOT/etc/sysusers.d/livedub-media-host.conf"
  systemd-sysusers
  local unit
  for unit in mediamtx livedub-relay livedub-recordings; do
    place "$media/$unit.service" "$UNITS/$unit.service"
  done
  if [ "$RECORD" = yes ]; then
    place "$media/livedub-relay.recordings.conf" "$UNITS/livedub-relay.service.d/recordings.conf"
  else
    rm -f "$UNITS/livedub-relay.service.d/recordings.conf"
  fi
  place "$CURRENT/$LOGS/livedub-logs.service" "$UNITS/livedub-logs.service"
  place "$media/mediamtx.yml" "$ENVIRONMENT/mediamtx.yml"
  systemctl daemon-reload
}

write_settings() {
  install -d -m 0755 "$ENVIRONMENT" "${RUNNING%/*}"
  cat >"$ENVIRONMENT/relay.env" <<SETTINGS
RELAY_API_NETWORKS=$API_NETWORKS
RELAY_API_URL=$API_URL
RELAY_ID=$RELAY_ID
RELAY_KICK_HOST=$PRIVATE_IP
RELAY_KICK_URL=http://$PRIVATE_IP:9995/v1/kick
RELAY_PLAY_BASE_URL=rtmp://$PRIVATE_IP:1935
RELAY_PUBLISH_BASE_URL=rtmp://$PRIVATE_IP:1935
RELAY_SERVER_API_URL=http://$PRIVATE_IP:9997
SETTINGS
  cat >"$ENVIRONMENT/mediamtx.env" <<SETTINGS
MTX_APIADDRESS=$PRIVATE_IP:9997
MTX_METRICSADDRESS=$PRIVATE_IP:9998
MTX_PATHDEFAULTS_RECORD=$RECORD
SETTINGS
  cat >"$ENVIRONMENT/recordings.env" <<SETTINGS
AWS_REGION=$AWS_REGION
S3_BUCKET_IN=$MEDIA_BUCKET_IN
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
exec $CURRENT/.venv/bin/python -m livedub.cli.main "\$@"
COMMAND
  chmod 0755 "$ROOT/usr/local/bin/livedub"
}

write_key() {
  local key
  key=$(aws secretsmanager get-secret-value --region "$AWS_REGION" --secret-id "$RELAY_KEY_SECRET" --query SecretString --output text)
  [[ $key =~ ^[0-9a-f]{32,} ]] || fail "the secret $RELAY_KEY_SECRET holds no key in hex"
  (umask 077 && printf '%s\n' "$key" >"$ENVIRONMENT/relay.key.next")
  mv "$ENVIRONMENT/relay.key.next" "$ENVIRONMENT/relay.key"
}

# What MediaMTX cannot take over while it runs.
mediamtx_as_wanted() {
  sha256sum <"$CURRENT/.venv/bin/mediamtx"
  cat "$UNITS/mediamtx.service" "$ENVIRONMENT/mediamtx.env"
}

start() {
  # First: what does not get ready tells why.
  systemctl enable --quiet livedub-logs
  systemctl restart livedub-logs
  # No stream ends with the relay: MediaMTX asks it again.
  systemctl enable --quiet livedub-relay mediamtx livedub-recordings
  systemctl restart livedub-relay
  if ! systemctl is-active --quiet mediamtx || ! cmp --silent <(mediamtx_as_wanted) "$RUNNING"; then
    systemctl restart mediamtx
  fi
  mediamtx_as_wanted >"$RUNNING"
  # Also where nothing is recorded: what was before is still uploaded.
  systemctl restart livedub-recordings
}

ready() {
  # The relay answers for itself; the list of paths comes from MediaMTX, after it has asked the relay.
  # shellcheck disable=SC2016 # expands in the inner shell
  timeout "$PATIENCE_S" bash -c 'for url in "$@"; do
    until curl --silent --fail --max-time 5 --output /dev/null "$url"; do sleep 1; done
  done' wait http://127.0.0.1:9996/health "http://$PRIVATE_IP:9997/v3/paths/list"
}

booted=0
cloud-init status --wait >/dev/null || booted=$?
# 2: well but for warnings.
[ "$booted" -eq 0 ] || [ "$booted" -eq 2 ] || fail "the first boot did not end well: cloud-init status --long"
mountpoint --quiet "$RECORDINGS" || fail "/var/lib/livedub-recordings is not mounted"
before=$(readlink "$CURRENT" || true)
unpack_release
write_settings
write_key
use "$INSTALLED/$RELEASE_ID"
install -d -o mediamtx -g livedub-media -m 2770 "$RECORDINGS"
start
if ! ready; then
  if [ -z "$before" ] || [ "$before" = "$INSTALLED/$RELEASE_ID" ]; then
    fail "release $RELEASE_ID is not ready within $PATIENCE_S s: journalctl -u livedub-relay -u mediamtx"
  fi
  use "$before"
  start
  fail "release $RELEASE_ID is not ready within $PATIENCE_S s: ${before##*/} runs again"
fi
for release in "$INSTALLED"/*; do
  case $release in
    "$INSTALLED/$RELEASE_ID" | "$before") ;;
    *) rm -rf "$release" ;;
  esac
done
