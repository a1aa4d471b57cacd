"""`livedub library job ...`: have files transcoded, trimmed and dubbed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import typer

from livedub.cli.library_choices import KindChoice, StateChoice
from livedub.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import Console

    from livedub.library.api.rest_client import LibraryApi
    from livedub.library.types import Job

EXIT_FAILED = 1
"""The job ended, and not well."""
_POLL_S = 0.5
_RUNNING = frozenset({StateChoice.PENDING.value, StateChoice.PROCESSING.value})

job = typer.Typer(no_args_is_help=True, help="Make jobs and see to them.")

JobId = Annotated[UUID, typer.Argument(metavar="JOB", help="Id of the job.")]
Source = Annotated[str, typer.Argument(metavar="KEY", help="File in the bucket `in`.")]
Output = Annotated[
    str, typer.Option(help="Key of the result in the bucket `out`; made from the source's by default.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it has ended; fails where the job does.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


@job.command()
def transcode(
    key: Source,
    *,
    preset: Annotated[str, typer.Option(help="See livedub library presets.")],
    output: Output = "",
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Encode a file by a preset."""
    _create(KindChoice.TRANSCODE, key, {"preset": preset}, output, wait=wait, as_json=as_json)


@job.command()
def trim(
    key: Source,
    *,
    start: Annotated[float, typer.Option(min=0, help="From where, in seconds.")] = 0.0,
    end: Annotated[float, typer.Option(min=0, help="Up to where, in seconds.")],
    exact: Annotated[
        bool, typer.Option("--exact", help="To the frame and sample; without it at the key frames around.")
    ] = False,
    output: Output = "",
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Cut a piece out of a file."""
    parameters = {"start_ms": round(start * 1_000), "end_ms": round(end * 1_000), "exact": exact}
    _create(KindChoice.TRIM, key, parameters, output, wait=wait, as_json=as_json)


@job.command()
def dub(
    key: Source,
    *,
    target: Annotated[
        list[str],
        typer.Option("--target", metavar="LANGUAGE[/VOICE]", help="Such as es or es/ef_dora; repeatable."),
    ],
    source: Annotated[str, typer.Option(help="Language spoken in the file, or auto.")] = "auto",
    subtitles: Annotated[bool, typer.Option(help="Write WebVTT beside the file.")] = True,
    output: Output = "",
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Dub a file into one or more languages, each a sound track of its own."""
    parameters = {
        "source_language": source,
        "targets": [{"language": one.split("/", 1)[0], "voice": one if "/" in one else ""} for one in target],
        "subtitles": subtitles,
    }
    _create(KindChoice.DUB, key, parameters, output, wait=wait, as_json=as_json)


@job.command("list")
def list_jobs(
    *,
    state: Annotated[StateChoice | None, typer.Option(case_sensitive=False)] = None,
    kind: Annotated[KindChoice | None, typer.Option(case_sensitive=False)] = None,
    source: Annotated[str, typer.Option(help="Only jobs on this file.")] = "",
    most: Annotated[int, typer.Option("--most", min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    from livedub.cli.library import library_api  # noqa: PLC0415 - it holds these commands
    from livedub.cli.library_view import jobs_table  # noqa: PLC0415 - heavy
    from livedub.library.api.api_types import JobFilter  # noqa: PLC0415

    wanted = JobFilter.model_validate({"state": state, "kind": kind, "source_key": source})
    with library_api() as (api, console):
        found = api.jobs(wanted, most=most)
        if as_json:
            for one in found:
                typer.echo(one.model_dump_json())
        else:
            console.print(jobs_table(found))


@job.command()
def show(job_id: JobId, *, wait: Wait = False, as_json: AsJson = False) -> None:
    """Show one job and what happened to it."""
    from livedub.cli.library import library_api  # noqa: PLC0415 - it holds these commands
    from livedub.cli.library_view import job_sheet  # noqa: PLC0415 - heavy

    with library_api() as (api, console):
        found = api.job(job_id)
        if wait:
            found = _await_end(api, found, console, quiet=as_json)
        if as_json:
            typer.echo(found.model_dump_json())
        else:
            console.print(job_sheet(found, api.job_events(job_id)))
    _judge(found, wait=wait)


@job.command()
def cancel(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Stop a job; it leaves nothing behind."""
    from livedub.cli.library import library_api  # noqa: PLC0415 - it holds these commands

    with library_api() as (api, console):
        _show(console, api.cancel_job(job_id), as_json=as_json)


@job.command()
def retry(job_id: JobId, *, wait: Wait = False, as_json: AsJson = False) -> None:
    """Put a failed or cancelled job into the queue again."""
    from livedub.cli.library import library_api  # noqa: PLC0415 - it holds these commands

    with library_api() as (api, console):
        made = api.retry_job(job_id)
        if wait:
            made = _await_end(api, made, console, quiet=as_json)
        _show(console, made, as_json=as_json)
    _judge(made, wait=wait)


def _create(
    kind: KindChoice, key: str, parameters: dict[str, Any], output: str, *, wait: bool, as_json: bool
) -> None:
    from pydantic import ValidationError  # noqa: PLC0415

    from livedub.cli.library import library_api  # noqa: PLC0415 - it holds these commands
    from livedub.library.api.refusals import malformed_request  # noqa: PLC0415
    from livedub.library.types import JOB_REQUEST  # noqa: PLC0415

    try:
        request = JOB_REQUEST.validate_python(
            {"kind": kind.value, "source_key": key, "output_key": output or None, "parameters": parameters}
        )
    except ValidationError as error:
        raise InvalidInputError(
            malformed_request([dict(item) for item in error.errors()]).message, remedy="See --help."
        ) from None
    with library_api() as (api, console):
        # With a key of its own the request may be repeated when an answer gets lost.
        made = api.create_job(request, idempotency_key=str(uuid4()))
        if wait:
            made = _await_end(api, made, console, quiet=as_json)
        _show(console, made, as_json=as_json)
    _judge(made, wait=wait)


def _await_end(api: LibraryApi, made: Job, console: Console, *, quiet: bool) -> Job:
    """The job as it ended; a bar shows how far it is. Ctrl-C leaves it running."""
    from livedub.cli.library_view import job_progress  # noqa: PLC0415 - heavy

    with job_progress(console) as progress:
        bar = progress.add_task(f"{made.kind.value} {made.source_key}", total=1.0, visible=not quiet)
        while made.state.value in _RUNNING:
            progress.update(bar, completed=made.progress)
            time.sleep(_POLL_S)
            made = api.job(made.id)
        progress.update(bar, completed=made.progress)
    return made


def _show(console: Console, found: Job, *, as_json: bool) -> None:
    from livedub.cli.library_view import job_sheet  # noqa: PLC0415 - heavy

    if as_json:
        typer.echo(found.model_dump_json())
    else:
        console.print(job_sheet(found))


def _judge(ended: Job, *, wait: bool) -> None:
    if wait and ended.state.value != StateChoice.COMPLETED.value:
        raise typer.Exit(EXIT_FAILED)
