"""The `livedub` command. A command's own file loads what is heavy only when it runs, so that help comes at once."""

from __future__ import annotations

from typing import Annotated

import typer

from livedub import __version__
from livedub.cli.demo import demo
from livedub.cli.dub import dub
from livedub.cli.hosts import hosts
from livedub.cli.invoke import invoke
from livedub.cli.library import library
from livedub.cli.media import media
from livedub.cli.models import models
from livedub.cli.runpod import runpod
from livedub.cli.streams import streams
from livedub.cli.sts import sts
from livedub.cli.up import up
from livedub.cli.verify import verify
from livedub.errors import LivedubError

EXIT_FAILED = 2

app = typer.Typer(
    name="livedub",
    help="Dub a live stream into another language: same picture, same music, another voice, a few seconds later.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (demo, up, dub, verify, sts, invoke):
    app.command()(_command)
app.add_typer(streams, name="streams")
app.add_typer(models, name="models")
app.add_typer(media, name="media")
app.add_typer(library, name="library")
app.add_typer(hosts, name="hosts")
app.add_typer(runpod, name="runpod")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag
    if wanted:
        typer.echo(f"livedub {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run the command; a deliberate error is one line and its remedy, anything else a traceback."""
    try:
        app()
    except LivedubError as error:
        typer.secho(f"livedub: {error.message}", fg=typer.colors.RED, err=True)
        if error.remedy:
            typer.echo(error.remedy, err=True)
        raise SystemExit(EXIT_FAILED) from error


if __name__ == "__main__":
    main()
