#!/usr/bin/env bash
# First boot of the GPU host (Ubuntu LTS), below host_first_boot.sh. State Manager installs the rest (gpu_host_install.sh).
# Needs MODELS_VOLUME (vol-...): models and caches outlive the machine.

mount_volume "$MODELS_VOLUME" /var/lib/livedub-sts
