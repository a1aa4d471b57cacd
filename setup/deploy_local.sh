#!/usr/bin/env bash
# The rehearsal of a deployment: every stack with the cdk command to a fresh AWS on this machine, a stream through what was
# deployed, new certificates for its media cache, a verdict. docs/local-aws.md has the options.
# Usage: setup/deploy_local.sh [--keep] [--port N] [-- COMMAND...]: with a command, runs it on what was deployed instead.
set -euo pipefail
cd "$(dirname "$0")/.."
exec .venv/bin/python -m local.aws.deploy_local "$@"
