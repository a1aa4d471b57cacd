"""`livedub hosts logs`: what this host's journal says, in CloudWatch Logs; what livedub-logs.service runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(hosts: typer.Typer) -> None:
    """Add the command to `livedub hosts`."""
    hosts.command("logs")(logs)


def logs(
    volumes: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Where volumes are mounted that are watched.")
    ],
    *,
    group: Annotated[str, typer.Option(metavar="NAME", help="Log group; the stream is the host's id.")],
    service: Annotated[
        str,
        typer.Option(metavar="NAME", help="What hosts of this kind are called: dimension of the metrics."),
    ],
    namespace: Annotated[str, typer.Option(metavar="NAME", help="Namespace of the metrics.")],
    state: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Keeps the place in the journal over restarts.")
    ] = Path("/var/lib/livedub-logs"),
    host_file: Annotated[
        Path, typer.Option(metavar="FILE", help="Holds the id of this machine; cloud-init writes it.")
    ] = Path("/var/lib/cloud/data/instance-id"),
    journalctl: Annotated[
        str, typer.Option(metavar="PROGRAM", help="What prints the journal.")
    ] = "journalctl",
) -> None:
    """Bring the journal to CloudWatch Logs, and say every minute how full disks and memory are; until SIGTERM."""
    from livedub.host_logs.host_use import HostName  # noqa: PLC0415 - boto3 below
    from livedub.host_logs.service import ship  # noqa: PLC0415
    from livedub.observability import configure_logging  # noqa: PLC0415

    configure_logging()
    name = HostName(_host_id(host_file), service, namespace)
    ship(name, group=group, volumes=volumes, state=state, journalctl=journalctl)


def _host_id(file: Path) -> str:
    from livedub.errors import ConfigurationError  # noqa: PLC0415 - as above

    try:
        host = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        host = ""
    # Also what a log stream's name may not hold.
    if not host or any(letter in host for letter in ":*\n"):
        raise ConfigurationError(
            f"{file} holds no id of this machine.",
            remedy="Give --host-file a file with its name in one line.",
        )
    return host
