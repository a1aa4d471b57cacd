#!/usr/bin/env bash
# Builds everything that hosts install, into build/: the wheel, their packages, and what no registry has (locks/mediamtx.txt,
# locks/ssm-agent.txt). Without a way to those two addresses it says so and goes on: only a synthesis of hosts needs them.
# Usage: setup/build_hosts.sh
set -euo pipefail
cd "$(dirname "$0")/.."

readonly UNREACHABLE=75

fetch() {
  local code=0
  .venv/bin/python setup/fetch_pinned.py "$1" "$2" || code=$?
  case $code in
    0) ;;
    "$UNREACHABLE") printf 'build_hosts: %s is not there; put the file of %s there, or build where its address can be reached\n' "$2" "$1" >&2 ;;
    *) exit "$code" ;;
  esac
}

setup/build_wheel.sh
setup/build_host_packages.sh build/media-cache-host locks/media-cache.txt caddy
setup/build_host_packages.sh build/hosts/media locks/media-host.txt
setup/build_host_packages.sh build/hosts/worker locks/worker-host.txt
fetch locks/mediamtx.txt build/hosts/mediamtx.tar.gz
fetch locks/ssm-agent.txt build/hosts/amazon-ssm-agent.deb
