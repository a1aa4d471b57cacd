#!/usr/bin/env bash
# First boot of a media-cache host: its two volumes, and Python. State Manager installs the rest (media_cache_install.sh).
# Needs DATA_VOLUME and TLS_VOLUME (vol-...). ROOT and DEVICES are for tests.
set -euo pipefail

readonly ROOT=${ROOT:-} DEVICES=${DEVICES:-/dev/disk/by-id} PATIENCE_S=${PATIENCE_S:-900}

fail() { printf 'media cache: %s\n' "$*" >&2; exit 1; }

mount_volume() {
  local volume=$1 folder=$2
  local device=$DEVICES/nvme-Amazon_Elastic_Block_Store_${volume//-/}
  # It is attached when the machine runs already.
  # shellcheck disable=SC2016 # expands in the inner shell
  timeout "$PATIENCE_S" bash -c 'until [ -e "$1" ]; do sleep 1; done' wait "$device" \
    || fail "$volume was not attached within $PATIENCE_S s"
  local probed=0
  blkid --probe "$device" >/dev/null || probed=$?
  case $probed in
    0) ;;                                # somebody's data
    2) mkfs.ext4 -q -m 0 "$device" ;;    # nothing was ever written
    *) fail "$volume holds something that blkid cannot tell ($probed): left as it is" ;;
  esac
  mkdir -p "$ROOT$folder"
  printf '%s %s ext4 defaults,noatime,nofail,x-systemd.growfs 0 2\n' "$device" "$folder" >>"$ROOT/etc/fstab"
  systemctl daemon-reload
  mount "$ROOT$folder"
}

mount_volume "$DATA_VOLUME" /mnt/media-data
mount_volume "$TLS_VOLUME" /opt/services/media
# From the repositories of this image's own release: another image, another version.
dnf install --quiet --assumeyes python3.11
