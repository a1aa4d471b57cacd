#!/usr/bin/env bash
# Releases of a host side by side, one of them in place: what the host's own installation, which stands below it in one script
# (media_install.sh, media_cache_install.sh), may call. Needs RELEASE_ID, AWS_REGION, LOG_GROUP, LOG_SERVICE, LOG_VOLUMES,
# METRICS_NAMESPACE, and of the script below `fail`, `fill` (fetches what a release is made of into a folder), `use` (puts the
# files of one where the system looks), `start` and `ready`. ROOT and PATIENCE_S are for tests.
set -euo pipefail
umask 022

readonly ROOT=${ROOT:-} PATIENCE_S=${PATIENCE_S:-60}
readonly INSTALLED=$ROOT/opt/livedub-releases CURRENT=$ROOT/opt/livedub ENVIRONMENT=$ROOT/etc/livedub

check_first_boot() {
  local booted=0
  cloud-init status --wait >/dev/null || booted=$?
  # 2: well but for warnings.
  [ "$booted" -eq 0 ] || [ "$booted" -eq 2 ] || fail "the first boot did not end well: cloud-init status --long"
}

fetch() { aws s3 cp --only-show-errors --region "$AWS_REGION" "$1" "$2"; }

# fetch_into s3://... FOLDER: an archive, unpacked.
fetch_into() {
  mkdir -p "$2"
  fetch "$1" "$2/.fetched"
  python3.11 -m zipfile -e "$2/.fetched" "$2"
  rm "$2/.fetched"
}

# A release is there whole, or not at all.
unpack_release() {
  [ ! -e "$INSTALLED/$RELEASE_ID" ] || return 0
  mkdir -p "$INSTALLED"
  staging=$(mktemp -d "$INSTALLED/.staged.XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  chmod 755 "$staging"
  python3.11 -m venv --without-pip "$staging/.venv"
  fill "$staging"
  mv "$staging" "$INSTALLED/$RELEASE_ID"
  trap - EXIT
}

put_in_place() {
  ln -sfn "$1" "$CURRENT.next"
  mv -T "$CURRENT.next" "$CURRENT"
}

write_log_settings() {
  install -d -m 0755 "$ENVIRONMENT"
  cat >"$ENVIRONMENT/logs.env" <<SETTINGS
AWS_DEFAULT_REGION=$AWS_REGION
LOG_GROUP=$LOG_GROUP
LOG_SERVICE=$LOG_SERVICE
LOG_VOLUMES=$LOG_VOLUMES
METRICS_NAMESPACE=$METRICS_NAMESPACE
SETTINGS
}

# start_or_go_back FOLDER LOOK: where the release does not get ready the one in FOLDER, if there is one, is started again.
# LOOK tells why it did not.
start_or_go_back() {
  start
  ! ready || return 0
  if [ -z "$1" ] || [ "$1" = "$INSTALLED/$RELEASE_ID" ]; then
    fail "release $RELEASE_ID is not ready within $PATIENCE_S s: $2"
  fi
  use "$1"
  start
  fail "release $RELEASE_ID is not ready within $PATIENCE_S s: ${1##*/} runs again"
}

# But for this one and the one in FOLDER.
remove_releases() {
  local release
  for release in "$INSTALLED"/*; do
    case $release in
      "$INSTALLED/$RELEASE_ID" | "$1") ;;
      *) rm -rf "$release" ;;
    esac
  done
}
