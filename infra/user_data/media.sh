#!/usr/bin/env bash
# First boot of a media host, below host_first_boot.sh. State Manager installs the rest (media_install.sh).
# Needs AWS_REGION, SSM_AGENT_URL (s3://..., or nothing), RECORDINGS_VOLUME (vol-...).

# First: whatever fails below can be looked at.
install_ssm_agent "$SSM_AGENT_URL"
mount_volume "$RECORDINGS_VOLUME" /var/lib/livedub-recordings
