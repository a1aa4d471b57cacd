#!/bin/sh
# The entry point of the containers in compose.yaml: takes over the variables that other containers left as NAME.env in
# LIVEDUB_RUN_DIR, then becomes the command. Where there are none (a control plane in AWS), the container's own
# variables are all there is.
# Usage: container_entry.sh [NAME...] -- COMMAND...
set -eu

while [ "${1:?usage: container_entry.sh [NAME...] -- COMMAND...}" != -- ]; do
  left=${LIVEDUB_RUN_DIR:-/run/livedub}/$1.env
  if [ -f "$left" ]; then
    # shellcheck source=/dev/null
    . "$left"
  fi
  shift
done
shift
exec "$@"
