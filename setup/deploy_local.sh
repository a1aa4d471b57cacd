#!/usr/bin/env bash
# Deploys the control plane with the cdk command to a fresh AWS on this machine and keeps it until Ctrl-C.
# Usage: setup/deploy_local.sh [--port N] [-- COMMAND...]: with a command, runs it on what was deployed and ends with it.
set -euo pipefail
cd "$(dirname "$0")/.."
exec .venv/bin/python -m local.aws.deploy_local "$@"
