"""`livedub media cleanup`: take what is over out of the media cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from livedub.media_cache.cleanup import CleanupReport


def register(media: typer.Typer) -> None:
    """Add the command to `livedub media`."""
    media.command()(cleanup)


def cleanup(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="On a cache host: its MEDIA_DATA_DIR, to look for objects that no catalogue row lists.",
        ),
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="With --data-dir: delete such objects, once they are a day old.")
    ] = False,
    json_only: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Delete what is past its time, objects first, then catalogue rows. Safe to stop, repeat and run twice at once.

    Reads DATABASE_URL, TTS_MEDIA_CACHE_BASE_URL, _UPLOAD_TOKEN and _CA_BUNDLE, MEDIA_CLEANUP_*. Fails where an object
    could not be deleted; its row stays for the next run.
    """
    from livedub.errors import ConfigurationError  # noqa: PLC0415
    from livedub.media_cache.cleanup_run import clean_up, load_cleanup_settings  # noqa: PLC0415 - heavy

    if sweep and data_dir is None:
        raise ConfigurationError("--sweep finds nothing without --data-dir.", remedy="Give both.")
    settings, cache_settings = load_cleanup_settings()
    report = clean_up(settings, cache_settings, data_dir=data_dir, dry_run=dry_run, sweep=sweep)
    _print(report, dry_run=dry_run, looked=data_dir is not None, json_only=json_only)
    if report.failed:
        raise typer.Exit(1)


def _print(report: CleanupReport, *, dry_run: bool, looked: bool, json_only: bool) -> None:
    if json_only:
        import json  # noqa: PLC0415
        from dataclasses import asdict  # noqa: PLC0415

        typer.echo(json.dumps(asdict(report)))
        return
    verb = "would delete" if dry_run else "deleted"
    typer.echo(f"{verb} {report.rows_removed} rows with {report.objects_removed} objects")
    if looked:
        size_mb = report.orphan_bytes / 1_000_000
        typer.echo(
            f"{report.orphans} objects without a row, {size_mb:.1f} MB; deleted {report.orphans_removed}"
        )
    if not report.complete:
        typer.echo("stopped early; run it again")
    if report.failed:
        kept = report.rows_kept + report.orphans_kept
        typer.echo(f"{kept} could not be deleted and stay for the next run: {report.problem}", err=True)
