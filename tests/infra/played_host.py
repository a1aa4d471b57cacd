"""A host's file system in a folder, with AWS, systemd and the package managers played: its scripts run as they are."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

from tests.infra.conftest import ROOT

SCRIPTS = ROOT / "infra/user_data"
KEY = "0123456789abcdef" * 4
LOGS = {
    "LOG_GROUP": "/livedub/dev/some-host",
    "LOG_SERVICE": "some-host",
    "LOG_VOLUMES": "/ /mnt/some",
    "METRICS_NAMESPACE": "livedub/dev",
}
"""What every installation is told of where the host's journal goes."""
LOGS_UNIT = ROOT / "layers/core/python/livedub/host_logs/livedub-logs.service"


def variables_of(*scripts: str) -> set[str]:
    """What parts of one script say in their first comments that they need, beside what is for tests."""
    heads = [
        re.split("^[^#]", (SCRIPTS / script).read_text(), maxsplit=1, flags=re.MULTILINE)[0]
        for script in scripts
    ]
    return set(re.findall(r"\b([A-Z][A-Z_]+)\b", "".join(heads))) - {"ROOT", "PATIENCE_S"}


PLAYED = {
    "apt-get": "",
    # s3 cp --only-show-errors --region R URL FILE; secretsmanager get-secret-value ...; ecr get-login-password ...
    "aws": 'case $1 in s3) cp "$ARCHIVES/${6##*/}" "$7" ;; secretsmanager) printf "%s\\n" "${PLAYED_KEY-}" ;; '
    "ecr) echo password ;; esac",
    "blkid": 'exit "$BLKID"',
    "chown": "",
    "cloud-init": 'exit "${CLOUD_INIT:-0}"',
    # Ready once there is nothing wrong with the release that is in place.
    "curl": '[ -z "$(find "$ROOT/opt/livedub/" -name broken)" ]',
    "dnf": "",
    "docker": '[ "$1" != login ] || cat >/dev/null',
    "dpkg": "",
    "mkfs.ext4": "",
    "mount": "",
    "mountpoint": '[ "$2" != "${UNMOUNTED:-}" ]',
    "nvidia-ctk": "",
    "nvidia-smi": "",
    "systemctl": 'case $1 in restart) for unit in "${@:2}"; do touch "$ROOT/active.$unit"; done ;; '
    'is-active) [ -e "$ROOT/active.${*: -1}" ] ;; esac',
    "systemd-sysusers": "",
    # Owners are not of this machine.
    "install": 'a=(); while [ $# -gt 0 ]; do case $1 in -o | -g) shift ;; *) a+=("$1") ;; esac; shift; done\n'
    'exec /usr/bin/install "${a[@]}"',
    "python3.11": 'if [ "$2" = venv ]; then mkdir -p "$4/bin" "$4/lib/python3.11/site-packages"; '
    'cp "$0" "$4/bin/python"; elif [ "$2" = zipfile ]; then exec "$PYTHON" "$@"; fi',
}
"""Programs of the host, by what they do beside noting how they were called."""


@dataclass(frozen=True)
class PlayedHost:
    """One host."""

    folder: Path

    @classmethod
    def made(cls, folder: Path, *folders: str, plays: Mapping[str, str] = MappingProxyType({})) -> Self:
        """In `folder`, with `folders` below its root; `plays` does instead what a program of PLAYED does."""
        for each in ("bin", "archives", "devices", "root/etc", *(f"root/{name}" for name in folders)):
            (folder / each).mkdir(parents=True)
        for program, does in {**PLAYED, **plays}.items():
            path = folder / "bin" / program
            path.write_text(f'#!/usr/bin/env bash\nprintf "%s %s\\n" "${{0##*/}}" "$*" >>"$CALLS"\n{does}\n')
            path.chmod(0o755)
        return cls(folder)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def archives(self) -> Path:
        """Where `aws s3 cp` finds things, by the last part of their address."""
        return self.folder / "archives"

    def run(self, *scripts: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run scripts of infra/user_data, one below the other as in user data."""
        together = self.folder / "script.sh"
        together.write_text("".join((SCRIPTS / script).read_text() for script in scripts))
        environment = {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "ROOT": str(self.root),
            "CALLS": str(self.folder / "calls"),
            "ARCHIVES": str(self.archives),
            "DEVICES": str(self.folder / "devices"),
            "PYTHON": sys.executable,
            "PATIENCE_S": "30",
            **variables,
        }
        return subprocess.run(
            ["bash", str(together)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """Every call, in order; paths without the folder that the host is in."""
        path = self.folder / "calls"
        text = path.read_text() if path.exists() else ""
        return text.replace(str(self.root), "").splitlines()

    def of(self, program: str) -> list[str]:
        return [call.split(" ", 1)[1] for call in self.calls if call.split(" ", 1)[0] == program]

    @property
    def journal_goes_to(self) -> dict[str, str]:
        """What the service that brings it there is told, once it is in place as it should be."""
        unit = self.root / "etc/systemd/system" / LOGS_UNIT.name
        assert unit.read_text() == LOGS_UNIT.read_text()
        assert (self.root / "usr/local/bin/livedub").is_file()
        lines = (self.root / "etc/livedub/logs.env").read_text().splitlines()
        settings = dict(line.split("=", 1) for line in lines)
        assert settings.pop("AWS_DEFAULT_REGION") == "eu-west-1"
        return settings

    def forget(self) -> None:
        """Begin a new list of calls; what runs goes on running."""
        (self.folder / "calls").unlink()

    def attach(self, *volumes: str) -> None:
        for volume in volumes:
            name = f"nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"
            (self.folder / "devices" / name).touch()

    @property
    def current(self) -> str:
        """The release that is in place."""
        return (self.root / "opt/livedub").readlink().name
