"""`livedub media check-tls`: why a consumer cannot use the cache."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def register(media: typer.Typer) -> None:
    """Add the command to the group."""
    media.command("check-tls")(check_tls)


def check_tls(
    docker: Annotated[
        str, typer.Option(metavar="CONTAINER", help="Take the variables of this running container.")
    ] = "",
) -> None:
    """Look at the cache as a consumer with these TTS_MEDIA_CACHE_* variables does; ends with one verdict line."""
    from livedub.media_cache.consumer_check import Fault  # noqa: PLC0415 - heavy
    from livedub.media_cache.consumer_probe import Consumer, check  # noqa: PLC0415

    consumer = Consumer.in_container(docker) if docker else Consumer.of(os.environ)
    verdict = check(consumer, typer.echo)
    typer.echo(verdict.line())
    if verdict.fault is not Fault.NONE:
        raise typer.Exit(1)
