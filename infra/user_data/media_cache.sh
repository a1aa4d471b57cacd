#!/usr/bin/env bash
# First boot of a media-cache host, below host_first_boot.sh: its two volumes, and Python. State Manager installs the rest
# (media_cache_install.sh). Needs DATA_VOLUME and TLS_VOLUME (vol-...).

mount_volume "$DATA_VOLUME" /mnt/media-data
mount_volume "$TLS_VOLUME" /opt/services/media
# From the repositories of this image's own release: another image, another version.
dnf install --quiet --assumeyes python3.11
