#!/usr/bin/env bash
# Builds everything that is deployed, into build/: the layers of the functions and what hosts install. Seconds when nothing
# has changed.
# Usage: setup/build.sh
set -euo pipefail
cd "$(dirname "$0")/.."

setup/build_layer.sh
setup/build_layer.sh build/layers/library locks/library-functions.txt
setup/build_layer.sh build/layers/media-cache locks/media-cache-functions.txt
setup/build_hosts.sh
