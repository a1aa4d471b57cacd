"""How `livedub library` looks on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from livedub.library.types import AssetStatus, JobState

if TYPE_CHECKING:
    from livedub.library.api.api_types import JobEventList, SystemStatus
    from livedub.library.types import Asset, Job, Preset, ScanResult

_STATUS_STYLES = {
    AssetStatus.READY: "green",
    AssetStatus.REGISTERED: "cyan",
    AssetStatus.UNREADABLE: "red",
    AssetStatus.GONE: "dim",
}
_STATE_STYLES = {
    JobState.PENDING: "cyan",
    JobState.PROCESSING: "yellow",
    JobState.COMPLETED: "green",
    JobState.FAILED: "bold red",
    JobState.CANCELLED: "dim",
}
_NOTHING = "-"
_UNITS = ("B", "kB", "MB", "GB", "TB")


def assets_table(assets: Iterable[Asset]) -> RenderableType:
    """A line for every asset."""
    table = _table("key", "size>", "length>", "content", "status")
    for asset in assets:
        content = "  ".join(_stream_words(asset)) or _NOTHING
        status = Text(asset.status.value.lower(), _STATUS_STYLES[asset.status])
        if asset.error is not None:
            status.append(f" ({asset.error.code.value})")
        bucket = "" if asset.bucket.value == "in" else f"{asset.bucket.value}: "
        table.add_row(
            Text(bucket + asset.key, overflow="fold"),
            size_in_words(asset.size_bytes),
            length_in_words(asset.duration_ms),
            content,
            status,
        )
    return (
        table
        if table.row_count
        else Text("Nothing here. livedub library put FILE, then livedub library scan.")
    )


def jobs_table(jobs: Iterable[Job]) -> RenderableType:
    """A line for every job."""
    table = _table("job", "kind", "state", "%>", "source", "begun")
    for job in jobs:
        table.add_row(
            str(job.id),
            job.kind.value,
            _state(job),
            f"{job.progress:.0%}",
            Text(job.source_key, overflow="fold"),
            f"{job.created_at:%Y-%m-%d %H:%M}",
        )
    return table if table.row_count else Text("No jobs yet. livedub library job trim KEY --start 0 --end 10")


def job_sheet(job: Job, events: JobEventList | None = None) -> RenderableType:
    """One job and all that is known of it."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in (
        ("job", str(job.id)),
        ("kind", f"{job.kind.value} {job.parameters.model_dump_json(exclude_defaults=True)}"),
        ("state", _state(job)),
        ("progress", f"{job.progress:.0%}"),
        ("source", job.source_key),
        ("output", job.output_key),
        ("attempt", f"{job.attempt} (submission {job.submission})"),
    ):
        grid.add_row(name, value if isinstance(value, Text) else Text(value))
    for output in job.outputs[:20]:
        grid.add_row("wrote", Text(f"{output.key} ({size_in_words(output.size_bytes)})"))
    if job.outputs:
        # Not wrapped: it is there to be copied.
        fetch = f"livedub library get --bucket out {shlex.quote(job.outputs[0].key)}"
        grid.add_row("fetch it", Text(fetch, no_wrap=True, overflow="ignore"))
    if len(job.outputs) > 20:
        grid.add_row("", f"and {len(job.outputs) - 20} more")
    if job.error is not None:
        grid.add_row("error", Text(f"{job.error.code.value}: {job.error.message}", "red"))
        grid.add_row("", Text(job.error.remedy))
    parts: list[RenderableType] = [grid]
    if events is not None:
        history = _table("at", "state", "attempt>")
        for event in events.items:
            history.add_row(f"{event.at:%H:%M:%S.%f}"[:12], event.state.value.lower(), str(event.attempt))
        parts += [Text(), history]
    return Group(*parts)


def presets_table(presets: Iterable[Preset]) -> RenderableType:
    """A line for every preset."""
    table = _table("preset", "writes", "video", "audio", "description")
    for preset in presets:
        video, audio = preset.video, preset.audio
        table.add_row(
            Text(preset.name, "bold"),
            preset.container.value,
            _NOTHING if video is None else f"{video.codec} {video.max_height} lines",
            _NOTHING if audio is None else f"{audio.codec} {audio.bitrate_kbps} kbit/s",
            Text(preset.description),
        )
    return table


def status_sheet(status: SystemStatus) -> RenderableType:
    """What answers, and how much there is."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    for part in status.parts:
        words = "answers" if part.error is None else f"{part.error.code.value}: {part.error.message}"
        grid.add_row(part.name, Text(words, "green" if part.ok else "red"))
    grid.add_row("executor", status.executor)
    grid.add_row("assets", ", ".join(f"{one.count} {one.status.value.lower()}" for one in status.assets))
    grid.add_row("jobs", ", ".join(f"{one.count} {one.state.value.lower()}" for one in status.jobs))
    return grid


def scan_line(result: ScanResult) -> str:
    """What a scan found, in one line."""
    return (
        f"{result.found} found: {result.registered} registered, {result.changed} changed, {result.skipped} known; "
        f"{result.gone} gone"
    )


def transfer_progress(console: Console) -> Progress:
    """A bar for bytes."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def reading_progress(console: Console) -> Progress:
    """A bar for files that are read."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
    )


def job_progress(console: Console) -> Progress:
    """A bar for a job."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def bytes_reporter(progress: Progress, description: str) -> Callable[[int, int], None]:
    """What a transfer tells its bytes to: it moves a bar of its own."""
    task = progress.add_task(description, total=None)

    def report(done_bytes: int, total_bytes: int) -> None:
        progress.update(task, completed=done_bytes, total=total_bytes)

    return report


def size_in_words(size_bytes: int) -> str:
    """Such as 1.4 GB."""
    size, unit = float(size_bytes), 0
    while size >= 1_000 and unit < len(_UNITS) - 1:
        size, unit = size / 1_000, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def length_in_words(duration_ms: int | None) -> str:
    """Such as 1:02:03.5."""
    if duration_ms is None:
        return _NOTHING
    minutes, ms = divmod(duration_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{ms / 1_000:04.1f}" if hours else f"{minutes}:{ms / 1_000:04.1f}"


def _stream_words(asset: Asset) -> Iterable[str]:
    if asset.container:
        yield asset.container
    for stream in asset.streams:
        size = f" {stream.width}x{stream.height}" if stream.width and stream.height else ""
        language = f" {stream.language}" if stream.language else ""
        yield f"{stream.codec or stream.kind.value}{size}{language}"


def _state(job: Job) -> Text:
    return Text(job.state.value.lower(), _STATE_STYLES[job.state])


def _table(*columns: str) -> Table:
    """Columns by their names; `>` aligns one to the right."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left")
    return table
