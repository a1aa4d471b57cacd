"""`livedub hosts environment`: variables from Parameter Store and Secrets Manager as a file that systemd reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(hosts: typer.Typer) -> None:
    """Add the command to `livedub hosts`."""
    hosts.command("environment")(environment)


def environment(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where they go; its folder is made where it is missing.")
    ],
    *,
    parameters: Annotated[
        list[str],
        typer.Option(metavar="PATH", help="SSM path, such as /livedub/prod/workers; several times."),
    ],
    secrets: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="Secret, a JSON object of variables; several times, and wins."),
    ] = [],  # noqa: B006 - typer copies it
    prefix: Annotated[
        list[str], typer.Option(metavar="START", help="How the variables begin that are wanted.")
    ] = ["AGENT_", "WORKER_", "STS_", "LIVEDUB_", "LIBRARY_", "S3_", "RELAY_"],  # noqa: B006 - as above
    need: Annotated[
        list[str], typer.Option(metavar="VARIABLE", help="Fail where it is missing; several times.")
    ] = [],  # noqa: B006 - as above
) -> None:
    """Write FILE, readable by its owner alone and whole or not at all: one variable a line, sorted.

    What a running host must hear of it asks for itself: this is for what it starts with.
    """
    from livedub.errors import ConfigurationError  # noqa: PLC0415 - heavy
    from livedub.media_cache.host_environment import write_environment  # noqa: PLC0415
    from livedub.supervision.shared_settings_store import (  # noqa: PLC0415
        SharedSettingsStore,
        SharedSources,
    )

    sources = SharedSources(tuple(parameters), tuple(secrets), tuple(prefix))
    found = SharedSettingsStore.connect().read(sources)
    missing = [name for name in need if name not in found]
    if missing:
        raise ConfigurationError(
            f"{', '.join(missing)} is in none of {', '.join((*parameters, *secrets))}.",
            remedy="Put it there, then run this again.",
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise ConfigurationError(
            f"{file.parent} cannot be made: {error.strerror}.",
            remedy="Give a file in a folder of this user's.",
        ) from error
    write_environment(file, found, sorted(found))
    typer.echo(f"{file}: {', '.join(sorted(found))}")
