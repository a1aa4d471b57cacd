"""How `livedub streams` looks on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from livedub.supervision.overview import StreamDetail, StreamEvents, StreamList, StreamOverview

_STATE_STYLES = {
    "running": "green",
    "starting": "cyan",
    "waiting_for_capacity": "yellow",
    "source_absent": "yellow",
    "restarting": "yellow",
    "draining": "yellow",
    "degraded": "bold red",
    "unattended": "bold red",
    "stopped": "dim",
    "idle": "dim",
}
_NOTHING = "-"
_COLUMNS = (
    ("stream", "left"),
    ("state", "left"),
    ("for", "right"),
    ("gen", "right"),
    ("restarts", "right"),
    ("agent", "left"),
)
_GAP = "   "


def streams_table(answer: StreamList, *, now_ms: int) -> RenderableType:
    """A line for every stream and, below it, the reason of its state over the whole width."""
    if not answer.streams:
        return Text(
            "No streams yet. Publish to rtmp://HOST/live/ID/in, or register one: livedub streams create ID"
        )
    rows = [
        (
            Text(stream.stream_id, style="bold"),
            _state(stream),
            Text(_age(stream.since_ms, now_ms)),
            Text(str(stream.generation)),
            Text(str(stream.restarts)),
            Text(stream.agent_id or _NOTHING),
        )
        for stream in answer.streams
    ]
    widths = [
        max(cell.cell_len for cell in (Text(title), *column))
        for (title, _), column in zip(_COLUMNS, zip(*rows, strict=True), strict=True)
    ]
    heading = tuple(Text(title, style="dim") for title, _ in _COLUMNS)
    lines: list[RenderableType] = [_line(heading, widths)]
    for stream, row in zip(answer.streams, rows, strict=True):
        lines.append(_line(row, widths))
        if stream.why and stream.state != "running":
            lines.append(Padding(Text(stream.why, style="dim"), (0, 0, 0, widths[0] + len(_GAP))))
    return Group(*lines)


def stream_sheet(detail: StreamDetail, *, now_ms: int) -> RenderableType:
    """One stream: what it does and why, then its settings."""
    facts = Table.grid(padding=(0, 3, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(detail, now_ms):
        facts.add_row(name, value)
    heading = Text.assemble((detail.stream.stream_id, "bold"), "  ", _state(detail.stream))
    parts: list[RenderableType] = [heading, Padding(facts, (0, 0, 0, 2))]
    parts += [Text("settings", style="bold"), Padding(_settings(detail), (0, 0, 0, 2))]
    if detail.stream_key:
        parts += [
            Text("stream key", style="bold"),
            Padding(Text(detail.stream_key, style="green"), (0, 0, 0, 2)),
            Padding(
                Text(
                    f"Shown this once. Publish to rtmp://HOST/live/{detail.stream.stream_id}/in?key=KEY",
                    style="dim",
                ),
                (0, 0, 0, 2),
            ),
        ]
    return Group(*parts)


def events_table(stream_id: str, answer: StreamEvents) -> RenderableType:
    """What happened, one line an event, by this machine's clock."""
    if not answer.events:
        return Text(f"Nothing has happened to {stream_id} yet.")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("at", no_wrap=True, style="dim")
    table.add_column("gen", justify="right", no_wrap=True)
    table.add_column("event", no_wrap=True)
    table.add_column("detail", overflow="fold")
    for event in answer.events:
        moment = datetime.fromtimestamp(event.at_ms / 1000).astimezone()
        table.add_row(
            moment.isoformat(sep=" ", timespec="milliseconds")[:23],
            str(event.generation),
            event.event,
            Text(event.detail),
        )
    return table


def age(duration_ms: int) -> str:
    """A duration in the largest unit that says enough."""
    seconds = max(0, duration_ms) // 1000
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86_400:
        return f"{seconds // 3600} h"
    return f"{seconds // 86_400} d"


def _facts(detail: StreamDetail, now_ms: int) -> Iterator[tuple[str, RenderableType]]:
    stream = detail.stream
    if stream.why:
        yield "why", Text(stream.why)
    yield "for", _age(stream.since_ms, now_ms)
    yield "desired", detail.desired
    yield "generation", str(stream.generation)
    yield "agent", stream.agent_id or _NOTHING
    yield "publisher", stream.source_id or _NOTHING
    yield "outputs", Text(" ".join(stream.outputs)) if stream.outputs else _NOTHING
    yield "restarts", f"{stream.restarts} that count against the budget"
    if stream.last_outcome:
        yield (
            "last run",
            Text(f"{stream.last_outcome}{f': {stream.last_detail}' if stream.last_detail else ''}"),
        )


def _settings(detail: StreamDetail) -> RenderableType:
    if not detail.settings:
        return Text("the deployment's defaults", style="dim")
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in sorted(detail.settings.items()):
        table.add_row(name, Text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    table.add_row("revision", str(detail.settings_revision))
    return table


def _line(cells: tuple[Text, ...], widths: list[int]) -> Text:
    """One row; the last column is as wide as it is, and the line is cut rather than wrapped."""
    line = Text(no_wrap=True, overflow="ellipsis", end="")
    for cell, (_, side), width in zip(cells, _COLUMNS, widths, strict=True):
        padding = " " * (width - cell.cell_len)
        line.append_text(Text.assemble(padding, cell) if side == "right" else Text.assemble(cell, padding))
        line.append(_GAP)
    line.rstrip()
    line.end = "\n"
    return line


def _state(stream: StreamOverview) -> Text:
    state = str(stream.state)
    return Text(escape(state.replace("_", " ")), style=_STATE_STYLES.get(state, ""))


def _age(since_ms: int | None, now_ms: int) -> str:
    return _NOTHING if since_ms is None else age(now_ms - since_ms)
