#!/usr/bin/env bash
# First boot of a worker host (Debian 12): installs one release and starts the agent, which tells the auto-scaling group when
# it takes streams. Where this fails the host is never counted, and is replaced when the group's patience ends; until then
# somebody can look: journalctl -u cloud-final.
# Needs RELEASE_ID, AWS_REGION, WHEEL_URL, PACKAGES_URL (s3://...), NAMESPACE, DRAIN_S, DEBIAN_URL (a list of Debian packages)
# where the image does not bring them, and for the host's journal LOG_GROUP, LOG_SERVICE, LOG_VOLUMES and METRICS_NAMESPACE.
# SETTINGS_ID is nobody's: another one is another launch template. ROOT is for tests.
set -euo pipefail
umask 022

readonly ROOT=${ROOT:-}
readonly HOME_FOLDER=$ROOT/opt/livedub UNITS=$ROOT/etc/systemd/system
readonly SITE=$HOME_FOLDER/.venv/lib/python3.11/site-packages

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT

fetch() { aws s3 cp --only-show-errors --region "$AWS_REGION" "$1" "$2"; }

install_debian_packages() {
  fetch "$DEBIAN_URL" "$staging/packages.txt"
  # From the repositories of this image's own release, signed by Debian.
  local options=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 --quiet --yes)
  export DEBIAN_FRONTEND=noninteractive
  apt-get "${options[@]}" update
  grep -v '^#' "$staging/packages.txt" | xargs apt-get "${options[@]}" install --no-install-recommends
}

install_release() {
  rm -rf "$HOME_FOLDER"
  # GStreamer's bindings are Debian's; everything else is in the release.
  python3.11 -m venv --without-pip --system-site-packages "$HOME_FOLDER/.venv"
  fetch "$PACKAGES_URL" "$staging/packages.zip"
  python3.11 -m zipfile -e "$staging/packages.zip" "$SITE"
  fetch "$WHEEL_URL" "$staging/livedub.whl"
  python3.11 -m zipfile -e "$staging/livedub.whl" "$SITE"
  printf '%s\n' "$RELEASE_ID" >"$HOME_FOLDER/RELEASE"
  install -d "$ROOT/usr/local/bin"
  cat >"$ROOT/usr/local/bin/livedub" <<COMMAND
#!/bin/sh
export AWS_REGION=$AWS_REGION AWS_DEFAULT_REGION=$AWS_REGION
exec $HOME_FOLDER/.venv/bin/python -m livedub.cli.main "\$@"
COMMAND
  chmod 0755 "$ROOT/usr/local/bin/livedub"
}

write_units() {
  install -d "$UNITS/livedub-agent.service.d" "$ROOT/etc/sysusers.d"
  printf 'u livedub - "livedub agent and workers" /var/lib/livedub\n' >"$ROOT/etc/sysusers.d/livedub.conf"
  systemd-sysusers
  install -m 0644 "$SITE/media_edge/worker/livedub-agent.service" "$UNITS/"
  cat >"$UNITS/livedub-agent.service.d/host.conf" <<UNIT
[Service]
Environment=AWS_REGION=$AWS_REGION AWS_DEFAULT_REGION=$AWS_REGION
# So long the streams may play out, as long again what they left may take to its upload, and then some.
TimeoutStopSec=$((2 * DRAIN_S + 60))
UNIT
}

start_logs() {
  install -m 0644 "$SITE/livedub/host_logs/livedub-logs.service" "$UNITS/"
  install -d -m 0755 "$ROOT/etc/livedub"
  cat >"$ROOT/etc/livedub/logs.env" <<SETTINGS
AWS_DEFAULT_REGION=$AWS_REGION
LOG_GROUP=$LOG_GROUP
LOG_SERVICE=$LOG_SERVICE
LOG_VOLUMES=$LOG_VOLUMES
METRICS_NAMESPACE=$METRICS_NAMESPACE
SETTINGS
  systemctl daemon-reload
  systemctl enable --quiet --now livedub-logs
}

[ -z "${DEBIAN_URL:-}" ] || install_debian_packages
install_release
write_units
# Before anything that may fail: the host is replaced then, and its log is all that is left of it.
start_logs
# What the agent starts with. Secrets are not in it: the agent asks for them itself, again and again.
"$ROOT/usr/local/bin/livedub" hosts environment "$ROOT/etc/livedub/agent.env" --parameters "/$NAMESPACE/workers" \
  --prefix AGENT_ --prefix WORKER_ --prefix LIVEDUB_ --prefix S3_ --need AGENT_WORK_QUEUE_URL --need AGENT_STREAMS_TABLE
systemctl daemon-reload
systemctl enable --quiet --now livedub-agent
