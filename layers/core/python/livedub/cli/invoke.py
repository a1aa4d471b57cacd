"""`livedub invoke`: one call of a Lambda function as it is deployed, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from livedub.cli.checkout import run_module


def invoke(
    function: Annotated[
        str, typer.Argument(metavar="FUNCTION", help="Such as OnPublish: the name in the template.")
    ],
    *,
    event: Annotated[
        Path, typer.Option(metavar="FILE", help="The event as JSON; examples lie in tests/events.")
    ],
    on: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="A local AWS with a deployed control plane; without it a fresh one is started.",
        ),
    ] = "",
    sign: Annotated[
        bool,
        typer.Option(
            "--sign", help="Send an HTTP event with what its real caller adds: a signature or the token."
        ),
    ] = False,
) -> None:
    """Call a Lambda function once, as deployed: same code, layers and runtime emulator.

    Prints its answer on stdout and its log on stderr. Exits 0 if it answered, 1 if it raised, 2 if it was not run.
    """
    arguments = [function, f"--event={event}", f"--on={on}", *(["--sign"] if sign else [])]
    run_module("local.aws.invoke", arguments, command="invoke")
