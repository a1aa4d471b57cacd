#!/usr/bin/env bash
# Runs one container of gpu_handler on the GPU host and goes back to the one before where it does not get ready.
# Run by State Manager as root, and again whenever something changes; it restarts the service only then. The image brings
# NVIDIA's driver, Docker and the NVIDIA container toolkit.
# Needs RELEASE_ID, AWS_REGION, CONTAINER (REPOSITORY@sha256:...), PRIVATE_IP, PORT, STS_SECRET, and for the host's journal
# PACKAGES_URL, LIVEDUB_URL (s3://...), LOG_GROUP, LOG_SERVICE, LOG_VOLUMES, METRICS_NAMESPACE. ROOT and PATIENCE_S are for tests.
set -euo pipefail
umask 022

readonly ROOT=${ROOT:-} PATIENCE_S=${PATIENCE_S:-900}
readonly UNIT=$ROOT/etc/systemd/system/livedub-sts.service
readonly KEEPS=$ROOT/var/lib/livedub-sts
readonly LOGS=$ROOT/opt/livedub
readonly USER_OF_IMAGE=10001

fail() { printf 'gpu host: %s\n' "$*" >&2; exit 1; }

check_machine() {
  local tool
  for tool in docker nvidia-smi nvidia-ctk; do
    command -v "$tool" >/dev/null || fail "$tool is missing: take an Ubuntu image with NVIDIA's driver, Docker and the container toolkit"
  done
  nvidia-smi --list-gpus >/dev/null || fail "no GPU answers: nvidia-smi"
  mountpoint --quiet "$KEEPS" || fail "$KEEPS is not mounted: cloud-init status --long"
}

fetch_into() {
  aws s3 cp --only-show-errors --region "$AWS_REGION" "$1" "$staging/fetched"
  python3 -m zipfile -e "$staging/fetched" "$staging/livedub"
}

# Of livedub the journal's part alone runs here, by the image's own Python: nothing of it is compiled.
start_logs() {
  staging=$(mktemp -d)
  trap 'rm -rf "$staging"' EXIT
  fetch_into "$PACKAGES_URL"
  fetch_into "$LIVEDUB_URL"
  chmod 0755 "$staging/livedub"
  rm -rf "$LOGS"
  install -d "$ROOT/opt" "$ROOT/etc/livedub" "$ROOT/usr/local/bin" "${UNIT%/*}"
  mv "$staging/livedub" "$LOGS"
  cat >"$ROOT/usr/local/bin/livedub" <<COMMAND
#!/bin/sh
PYTHONPATH=$LOGS exec python3 -m livedub.cli.main "\$@"
COMMAND
  chmod 0755 "$ROOT/usr/local/bin/livedub"
  cat >"$ROOT/etc/livedub/logs.env" <<SETTINGS
AWS_DEFAULT_REGION=$AWS_REGION
LOG_GROUP=$LOG_GROUP
LOG_SERVICE=$LOG_SERVICE
LOG_VOLUMES=$LOG_VOLUMES
METRICS_NAMESPACE=$METRICS_NAMESPACE
SETTINGS
  install -m 0644 "$LOGS/livedub/host_logs/livedub-logs.service" "${UNIT%/*}/"
  systemctl daemon-reload
  systemctl enable --quiet livedub-logs
  systemctl restart livedub-logs
}

pull() {
  case $CONTAINER in
    *.dkr.ecr.*)
      aws ecr get-login-password --region "$AWS_REGION" \
        | docker login --username AWS --password-stdin "${CONTAINER%%/*}" >/dev/null ;;
  esac
  docker pull --quiet "$CONTAINER" >/dev/null
}

# The key is fetched at every start of the service: a new one needs a restart and no deployment.
write_key_script() {
  install -d "$ROOT/usr/local/sbin"
  cat >"$ROOT/usr/local/sbin/livedub-sts-key" <<SCRIPT
#!/usr/bin/env bash
set -euo pipefail
umask 077
mkdir -p $ROOT/run/livedub
aws secretsmanager get-secret-value --region $AWS_REGION --secret-id $STS_SECRET --query SecretString --output text \\
  | python3 -c '
import json, sys
key = json.load(sys.stdin).get("STS_API_KEY", "")
if not key or not key.isprintable():
    sys.exit("$STS_SECRET has no STS_API_KEY: put one in (openssl rand -hex 32), then start the service again")
print("STS_API_KEY=" + key)
' >$ROOT/run/livedub/sts.env.next
mv $ROOT/run/livedub/sts.env.next $ROOT/run/livedub/sts.env
SCRIPT
  chmod 0755 "$ROOT/usr/local/sbin/livedub-sts-key"
}

write_unit() {
  install -d "${UNIT%/*}"
  cat >"$UNIT.next" <<UNIT
# Release $RELEASE_ID.
[Unit]
Description=livedub speech to speech on this machine's GPU
Requires=docker.service
After=docker.service network-online.target
Wants=network-online.target
RequiresMountsFor=/var/lib/livedub-sts
StartLimitIntervalSec=0

[Service]
ExecStartPre=/usr/local/sbin/livedub-sts-key
ExecStartPre=-/usr/bin/docker rm --force livedub-sts
ExecStart=/usr/bin/docker run --rm --name livedub-sts --gpus all --init=false --read-only --tmpfs /tmp \\
  --cap-drop ALL --security-opt no-new-privileges --publish $PRIVATE_IP:$PORT:8000 --env-file /run/livedub/sts.env \\
  --volume /var/lib/livedub-sts/models:/models --volume /var/lib/livedub-sts/cache:/cache $CONTAINER serve
ExecStop=/usr/bin/docker stop --time 30 livedub-sts
TimeoutStopSec=45
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
UNIT
  mv "$UNIT.next" "$UNIT"
}

fetch_models() {
  install -d -o "$USER_OF_IMAGE" -g "$USER_OF_IMAGE" "$KEEPS/models" "$KEEPS/cache"
  # Nothing is fetched that is there already, and whole.
  docker run --rm --volume /var/lib/livedub-sts/models:/models --volume /var/lib/livedub-sts/cache:/cache "$CONTAINER" models fetch
}

start() {
  systemctl daemon-reload
  systemctl enable --quiet livedub-sts
  systemctl restart livedub-sts
}

ready() {
  # shellcheck disable=SC2016 # expands in the inner shell
  timeout "$PATIENCE_S" bash -c 'until curl --silent --fail --max-time 5 --output /dev/null "$1"; do sleep 2; done' \
    wait "http://$PRIVATE_IP:$PORT/health"
}

check_machine
start_logs
pull
fetch_models
write_key_script
# Said now, and not by a service that fails again and again.
"$ROOT/usr/local/sbin/livedub-sts-key"
before=
[ ! -e "$UNIT" ] || before=$(cat "$UNIT")
write_unit
if [ "$before" = "$(cat "$UNIT")" ] && systemctl is-active --quiet livedub-sts && ready; then
  exit 0
fi
start
if ! ready; then
  if [ -n "$before" ]; then
    printf '%s\n' "$before" >"$UNIT"
    start
    fail "release $RELEASE_ID is not ready within $PATIENCE_S s: the one before runs again"
  fi
  fail "release $RELEASE_ID is not ready within $PATIENCE_S s: journalctl -u livedub-sts"
fi
docker image prune --all --force >/dev/null
