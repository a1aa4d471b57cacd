"""`livedub streams ...`: see and steer what runs, through the stream API of a deployment or of `livedub up`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from livedub.errors import InvalidInputError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

    from livedub.supervision.overview import StreamDetail
    from livedub.supervision.stream_api_client import StreamApi

EXIT_REFUSED = 1
"""The API understood and said no; 2 is everything that kept us from asking."""

streams = typer.Typer(
    no_args_is_help=True,
    help="See and steer the streams of a deployment, or of livedub up on this machine.",
    epilog="Address and token come from LIVEDUB_API_URL and LIVEDUB_API_TOKEN, else from the livedub up or demo that runs "
    "on this machine. Exit codes: 0 done, 1 the API refused, 2 it could not be asked.",
)

StreamId = Annotated[str, typer.Argument(metavar="ID", help="Stream, as in live/ID/in.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON.")]
Assignments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME=VALUE]...", help="Settings, such as target_language=fr dub_gain_db=-3."),
]


@streams.command("list")
def list_streams(*, as_json: AsJson = False) -> None:
    """List every stream: what it does, since when, why, and who runs it."""
    with _api() as (api, console):
        answer = api.streams()
        from livedub.cli.streams_view import streams_table  # noqa: PLC0415 - heavy

        _show(console, answer, streams_table(answer, now_ms=_now_ms()), as_json=as_json)


@streams.command()
def show(stream_id: StreamId, *, as_json: AsJson = False) -> None:
    """Show one stream and its settings."""
    with _api() as (api, console):
        _show_detail(console, api.stream(stream_id), as_json=as_json)


@streams.command()
def create(
    stream_id: StreamId,
    assignments: Assignments = None,
    *,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="No stream key: whoever reaches the media server may publish.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Register a stream, with settings of its own; prints its stream key, once."""
    settings = read_assignments(assignments or [])
    with _api() as (api, console):
        _show_detail(console, api.create(stream_id, settings, open_to_all=open_to_all), as_json=as_json)


@streams.command("new-key")
def new_key(stream_id: StreamId, *, as_json: AsJson = False) -> None:
    """Give a stream another key, printed once; a publisher that is on stays on, the next needs the new one."""
    with _api() as (api, console):
        _show_detail(console, api.new_key(stream_id), as_json=as_json)


@streams.command()
def start(stream_id: StreamId, *, as_json: AsJson = False) -> None:
    """Let a stopped, drained or degraded stream run again."""
    with _api() as (api, console):
        _show_detail(console, api.start(stream_id), as_json=as_json)


@streams.command()
def stop(stream_id: StreamId, *, as_json: AsJson = False) -> None:
    """End a stream; it stays off, whatever its publisher does, until it is started."""
    with _api() as (api, console):
        _show_detail(console, api.stop(stream_id), as_json=as_json)


@streams.command()
def drain(stream_id: StreamId, *, as_json: AsJson = False) -> None:
    """End this run of a stream; the next publisher starts another."""
    with _api() as (api, console):
        _show_detail(console, api.drain(stream_id), as_json=as_json)


@streams.command("set")
def set_settings(
    stream_id: StreamId,
    assignments: Assignments = None,
    *,
    restart: Annotated[
        bool, typer.Option("--restart", help="Allow settings that need a new worker, such as delay_ms.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change settings while the stream runs: `livedub streams set ID target_language=fr dub_gain_db=-3`.

    `more_targets=de,it/paola` are the languages beside the first, each on its own output; `more_targets=[]` ends them.
    """
    settings = read_assignments(assignments or [])
    if not settings:
        raise InvalidInputError("Nothing to set.", remedy="Give at least one NAME=VALUE.")
    with _api() as (api, console):
        _show_detail(console, api.change_settings(stream_id, settings, restart=restart), as_json=as_json)


@streams.command()
def events(stream_id: StreamId, *, as_json: AsJson = False) -> None:
    """List what happened to a stream lately, the latest last."""
    with _api() as (api, console):
        answer = api.events(stream_id)
        from livedub.cli.streams_view import events_table  # noqa: PLC0415 - heavy

        _show(console, answer, events_table(stream_id, answer), as_json=as_json)


def read_assignments(assignments: list[str]) -> dict[str, Any]:
    """`name=value` words as settings; a value is JSON where it can be read as such (-3, true, {...}), else text.

    Raises:
        InvalidInputError: a word without `=`, or a name given twice.
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise InvalidInputError(
                f"{assignment!r} is no setting.", remedy="Write NAME=VALUE, such as target_language=fr."
            )
        if name in settings:
            raise InvalidInputError(f"{name} is given twice.", remedy="Give it once.")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    return settings


@contextmanager
def _api() -> Generator[tuple[StreamApi, Console]]:
    """A client for the API at hand, and a console; what the API refuses ends the command with 1."""
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.markup import escape  # noqa: PLC0415

    from livedub.cli.api_access import find_access  # noqa: PLC0415
    from livedub.supervision.stream_api_client import StreamApi, StreamApiRefusedError  # noqa: PLC0415

    access = find_access(os.environ)
    try:
        with StreamApi(access.url, access.token) as api:
            yield api, Console()
    except StreamApiRefusedError as refused:
        errors = Console(stderr=True)
        errors.print(f"[red]livedub: {escape(refused.message)}[/red]", soft_wrap=True, highlight=False)
        if refused.remedy:
            errors.print(refused.remedy, soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(EXIT_REFUSED) from refused


def _show_detail(console: Console, detail: StreamDetail, *, as_json: bool) -> None:
    from livedub.cli.streams_view import stream_sheet  # noqa: PLC0415 - heavy

    _show(console, detail, stream_sheet(detail, now_ms=_now_ms()), as_json=as_json)


def _show(console: Console, answer: BaseModel, picture: RenderableType, *, as_json: bool) -> None:
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
    else:
        console.print(picture)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
