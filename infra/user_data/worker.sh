#!/usr/bin/env bash
# First boot of a worker host (Debian 12), below host_first_boot.sh and above what fetches worker_install.sh.
# Needs AWS_REGION, SSM_AGENT_URL (s3://..., or nothing).

# First: whatever fails below can be looked at.
install_ssm_agent "$SSM_AGENT_URL"
