#!/usr/bin/env bash
# What a host's own first-boot script, which stands below it in the user data, may call. ROOT, DEVICES and PATIENCE_S are for
# tests.
set -euo pipefail

readonly ROOT=${ROOT:-} DEVICES=${DEVICES:-/dev/disk/by-id} PATIENCE_S=${PATIENCE_S:-900}

fail() { printf 'first boot: %s\n' "$*" >&2; exit 1; }

# mount_volume vol-... FOLDER: waits for the volume, formats it where nothing was ever written to it, and mounts it now and
# at every boot.
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

# install_ssm_agent s3://...deb: Debian's image has none. An empty address: this image does.
install_ssm_agent() {
  local url=$1 package
  [ -n "$url" ] || return 0
  package=$(mktemp --suffix .deb)
  # What a new role may do is known everywhere only after a while.
  # shellcheck disable=SC2016 # expands in the inner shell
  timeout "$PATIENCE_S" bash -c 'until aws s3 cp --only-show-errors --region "$AWS_REGION" "$1" "$2"; do sleep 2; done' \
    fetch "$url" "$package" || fail "$url could not be read within $PATIENCE_S s"
  dpkg --install "$package"
  rm "$package"
  systemctl enable --now amazon-ssm-agent
}
