#!/usr/bin/env bash
# Installs one release of the media host, MediaMTX and its relay, and goes back to the one before where it does not get ready.
# Stands below release_install.sh, which needs variables, too. Run by State Manager as root, and again whenever something
# changes; streams go on unless MediaMTX itself, its unit or its variables are other ones. Needs PACKAGES_URL, LIVEDUB_URL,
# MEDIAMTX_URL (s3://..., the last one empty where the image has /usr/local/bin/mediamtx), API_URL, RELAY_KEY_SECRET, RELAY_ID,
# PRIVATE_IP, API_NETWORKS, RECORD (yes or no), MEDIA_BUCKET_IN.
readonly UNITS=$ROOT/etc/systemd/system
readonly RECORDINGS=$ROOT/var/lib/livedub-recordings
readonly SITE=.venv/lib/python3.11/site-packages
readonly MEDIA=$SITE/media_edge/mediamtx LOGS=$SITE/livedub/host_logs
readonly RUNNING=$ROOT/var/lib/livedub/mediamtx-running

fail() { printf 'media host: %s\n' "$*" >&2; exit 1; }

fetch_mediamtx() {
  local program=$1/.venv/bin/mediamtx
  if [ -z "$MEDIAMTX_URL" ]; then
    install -m 0755 "$ROOT/usr/local/bin/mediamtx" "$program"
    return
  fi
  fetch "$MEDIAMTX_URL" "$1/fetched"
  tar --extract --gzip --to-stdout --file "$1/fetched" mediamtx >"$program"
  chmod 0755 "$program"
  rm "$1/fetched"
}

fill() {
  fetch_into "$PACKAGES_URL" "$1/$SITE"
  # A wheel of nothing but Python is unpacked where it belongs.
  fetch_into "$LIVEDUB_URL" "$1/$SITE"
  fetch_mediamtx "$1"
}

# MediaMTX reads its configuration again when the file is written: one that is the same is left alone.
place() { cmp --silent "$1" "$2" || install -D -m 0644 "$1" "$2"; }

use() {
  put_in_place "$1"
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
  write_log_settings
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

check_first_boot
mountpoint --quiet "$RECORDINGS" || fail "/var/lib/livedub-recordings is not mounted"
before=$(readlink "$CURRENT" || true)
unpack_release
write_settings
write_key
use "$INSTALLED/$RELEASE_ID"
install -d -o mediamtx -g livedub-media -m 2770 "$RECORDINGS"
start_or_go_back "$before" "journalctl -u livedub-relay -u mediamtx"
remove_releases "$before"
