"""`livedub library ...`: files, catalogue and jobs of a deployment, or of the library that `livedub up` runs here."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livedub.cli.library_access import API_TOKEN, API_URL, find_library
from livedub.cli.library_choices import BucketChoice, StatusChoice
from livedub.cli.library_jobs import job
from livedub.errors import ConfigurationError, InvalidInputError

if TYPE_CHECKING:
    from rich.console import Console

    from livedub.library.api.rest_client import LibraryApi
    from livedub.library.storage import LibraryStorage

library = typer.Typer(
    no_args_is_help=True,
    help="Keep files in S3-compatible storage, see what is in them, and transcode, trim or dub them.",
    epilog="Finds the library of livedub up by itself; for another one set LIBRARY_API_URL and LIBRARY_API_TOKEN, and for "
    "get and put S3_ENDPOINT_URL (empty for AWS), S3_BUCKET_IN, S3_BUCKET_OUT and credentials. Exit codes: 0 done, 1 a job "
    "failed, 2 refused or out of reach.",
)
library.add_typer(job, name="job")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Bucket = Annotated[BucketChoice, typer.Option("--bucket", help="in: what comes in; out: what jobs wrote.")]


@library.command()
def scan(
    prefix: Annotated[str, typer.Argument(help="Only keys that begin like this.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Look what is in the bucket `in`, enter it into the catalogue, and read what is new."""
    from livedub.cli.library_view import reading_progress, scan_line  # noqa: PLC0415 - heavy

    with library_api() as (api, console):
        first = api.scan(prefix)
        if as_json:
            typer.echo(first.model_dump_json())
        else:
            console.print(scan_line(first), highlight=False)
        unread = _unread(api)
        if not unread:
            return
        # Every call reads for some seconds, so a large bucket takes several.
        with reading_progress(console) as progress:
            bar = progress.add_task("reading", total=unread, visible=not as_json)
            left = unread
            while left:
                api.scan(prefix)
                now = _unread(api)
                if now >= left:
                    break
                left = now
                progress.update(bar, completed=unread - left)


@library.command("ls")
def list_assets(
    prefix: Annotated[str, typer.Argument(help="Only keys that begin like this.")] = "",
    *,
    search: Annotated[str, typer.Option(help="Only keys that hold this text, in any case.")] = "",
    status: Annotated[StatusChoice | None, typer.Option(case_sensitive=False)] = None,
    bucket: Annotated[BucketChoice | None, typer.Option(help="Only of this bucket.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="At most so many.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """List what the catalogue knows."""
    from livedub.cli.library_view import assets_table  # noqa: PLC0415 - heavy
    from livedub.library.api.api_types import AssetFilter  # noqa: PLC0415

    wanted = AssetFilter.model_validate(
        {"prefix": prefix, "search": search, "status": status, "bucket": bucket}
    )
    with library_api() as (api, console):
        found = api.assets(wanted, most=most)
        if as_json:
            for asset in found:
                typer.echo(asset.model_dump_json())
        else:
            console.print(assets_table(found))


@library.command()
def get(
    key: Annotated[str, typer.Argument(help="Object to download.")],
    path: Annotated[
        Path | None, typer.Argument(help="File to write, or a folder; without it the key's last part.")
    ] = None,
    *,
    bucket: Bucket = BucketChoice.IN,
) -> None:
    """Download a file. What was begun before goes on where it stopped; the file appears when it is whole."""
    from livedub.cli.library_view import bytes_reporter, transfer_progress  # noqa: PLC0415 - heavy

    name = key.rsplit("/", 1)[-1]
    target = path or Path(name)
    target = target / name if target.is_dir() else target
    with (
        _storage() as (storage, console),
        _told_where_it_is(storage, key, bucket),
        transfer_progress(console) as progress,
    ):
        storage.download_file(_name(storage, bucket), key, target, bytes_reporter(progress, name))
    console.print(str(target), highlight=False, markup=False, soft_wrap=True)


@library.command()
def put(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, or folders with all in them.")
    ],
    *,
    key: Annotated[str, typer.Option(help="Key of the object; of one file alone.")] = "",
    prefix: Annotated[str, typer.Option(help="What goes before the files' names, such as shows/.")] = "",
    register: Annotated[
        bool, typer.Option("--scan", help="Enter them into the catalogue afterwards.")
    ] = False,
) -> None:
    """Upload files to the bucket `in`. What was begun before goes on where it stopped."""
    from livedub.cli.library_view import bytes_reporter, transfer_progress  # noqa: PLC0415 - heavy

    uploads = named_uploads(paths, key=key, prefix=prefix)
    with _storage() as (storage, console):
        with transfer_progress(console) as progress:
            report = bytes_reporter(progress, uploads[0][1] if len(uploads) == 1 else f"{len(uploads)} files")
            total_bytes = sum(path.stat().st_size for path, _ in uploads)
            before_bytes = 0
            for path, target in uploads:
                moved = _Shifted(report, before_bytes, total_bytes)
                before_bytes += storage.upload_file(
                    path, storage.bucket_in, target, "", moved, resume=True
                ).size_bytes
        for _, target in uploads:
            console.print(target, highlight=False, markup=False, soft_wrap=True)
    if register:
        with library_api() as (api, _console):
            for _, target in uploads:
                api.scan(target)


@library.command()
def presets(*, as_json: AsJson = False) -> None:
    """List the ways to transcode."""
    from livedub.cli.library_view import presets_table  # noqa: PLC0415 - heavy

    with library_api() as (api, console):
        found = api.presets()
        if as_json:
            for preset in found:
                typer.echo(preset.model_dump_json())
        else:
            console.print(presets_table(found))


@library.command()
def status(*, as_json: AsJson = False) -> None:
    """Say what answers and how much there is; fails where something does not answer."""
    from livedub.cli.library_view import status_sheet  # noqa: PLC0415 - heavy

    with library_api() as (api, console):
        found = api.status()
        if as_json:
            typer.echo(found.model_dump_json())
        else:
            console.print(status_sheet(found))
    if not found.ok:
        raise typer.Exit(1)


class _Shifted:
    """Tells a bar for several files of the bytes of one."""

    def __init__(self, report: Callable[[int, int], None], before_bytes: int, total_bytes: int) -> None:
        self._report = report
        self._before_bytes = before_bytes
        self._total_bytes = total_bytes

    def __call__(self, done_bytes: int, _total_bytes: int) -> None:
        self._report(self._before_bytes + done_bytes, self._total_bytes)


def named_uploads(paths: list[Path], *, key: str, prefix: str) -> list[tuple[Path, str]]:
    """Files to upload, each with its key.

    Raises:
        InvalidInputError: a path is not there, or one key is given for several files.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_file():
            found.append((path, f"{prefix}{path.name}"))
        elif path.is_dir():
            inner = sorted(one for one in path.rglob("*") if one.is_file())
            found += [(one, f"{prefix}{one.relative_to(path.parent).as_posix()}") for one in inner]
        else:
            raise InvalidInputError(f"{path} is not there.", remedy="Give files or folders.")
    if not found:
        raise InvalidInputError(
            "There is no file to upload.", remedy="Give files, or folders that hold some."
        )
    if key:
        if len(found) != 1 or prefix:
            raise InvalidInputError(
                "--key names one file.", remedy="Give one file and no --prefix, or take --prefix for several."
            )
        return [(found[0][0], key)]
    return found


@contextmanager
def library_api() -> Generator[tuple[LibraryApi, Console]]:
    """A client for the API at hand, and a console.

    Raises:
        ConfigurationError: no library is known, or only half of one.
    """
    from rich.console import Console  # noqa: PLC0415 - heavy

    from livedub.library.api.rest_client import LibraryApi  # noqa: PLC0415

    found = find_library(os.environ)
    missing = [name for name in (API_URL, API_TOKEN) if not found.get(name)]
    if missing:
        raise ConfigurationError(
            f"No library is known: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.",
            remedy="Start livedub up, or set both to those of your deployment.",
        )
    with LibraryApi(found[API_URL], found[API_TOKEN]) as api:
        yield api, Console()


@contextmanager
def _storage() -> Generator[tuple[LibraryStorage, Console]]:
    from rich.console import Console  # noqa: PLC0415 - heavy

    from livedub.library.library_settings import LibrarySettings  # noqa: PLC0415
    from livedub.library.storage import LibraryStorage  # noqa: PLC0415

    found = find_library(os.environ)
    os.environ.update(found)
    yield LibraryStorage(LibrarySettings.load()), Console()


@contextmanager
def _told_where_it_is(storage: LibraryStorage, key: str, bucket: BucketChoice) -> Generator[None]:
    """Where the object is not in this bucket but in the other, say so."""
    from livedub.library.library_errors import LibraryError, MissingKeyError  # noqa: PLC0415

    try:
        yield
    except MissingKeyError as missing:
        other = BucketChoice.OUT if bucket is BucketChoice.IN else BucketChoice.IN
        try:
            storage.stat(_name(storage, other), key)
        except LibraryError:
            raise missing from None
        raise LibraryError(
            missing.code, missing.message, f"It is in the bucket `{other.value}`: add --bucket {other.value}."
        ) from None


def _name(storage: LibraryStorage, bucket: BucketChoice) -> str:
    return storage.bucket_in if bucket is BucketChoice.IN else storage.bucket_out


def _unread(api: LibraryApi) -> int:
    """Files that are registered and were not read yet."""
    return next(
        (one.count for one in api.status().assets if one.status.value == StatusChoice.REGISTERED.value), 0
    )
