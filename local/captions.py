"""WebVTT subtitles (W3C WebVTT) of a recorded output, from the session's event log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NS_PER_MS = 1_000_000
_LINE_CHARACTERS = 42
_SHORTEST_MS = 800


@dataclass(frozen=True, slots=True)
class Cue:
    """A text and when it is on the screen, on the recording's own clock."""

    start_ms: int
    end_ms: int
    text: str


def read_events(path: Path) -> list[dict[str, Any]]:
    """The event log; a last line that was cut short is left out."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def cues(events: Iterable[dict[str, Any]], *, delay_ms: int, recording_start_ms: float) -> list[Cue]:
    """One cue per translated fragment, over the dub where there is one, else over the source's speech.

    Args:
        events: the event log; its times are media time, and a picture leaves with media time plus D as its PTS.
        delay_ms: D.
        recording_start_ms: PTS that the recording's own clock counts from.
    """
    found: list[Cue] = []
    for event in events:
        text = (event.get("translated_text") or "").strip()
        if event.get("event") != "fragment" or not text:
            continue
        start_ns, end_ns = _shown(event)
        start_ms = start_ns // _NS_PER_MS + delay_ms - round(recording_start_ms)
        end_ms = max(end_ns // _NS_PER_MS + delay_ms - round(recording_start_ms), start_ms + _SHORTEST_MS)
        if end_ms > 0:
            found.append(Cue(max(0, start_ms), end_ms, text))
    return sorted(found, key=lambda cue: cue.start_ms)


def render_vtt(found: list[Cue]) -> str:
    """The file's text; a cue that runs into the next ends with its start."""
    blocks = ["WEBVTT\n"]
    for index, cue in enumerate(found):
        next_start_ms = found[index + 1].start_ms if index + 1 < len(found) else cue.end_ms
        end_ms = min(cue.end_ms, next_start_ms) if next_start_ms > cue.start_ms else cue.end_ms
        blocks.append(f"{_stamp(cue.start_ms)} --> {_stamp(end_ms)}\n{_lines(cue.text)}\n")
    return "\n".join(blocks)


def _shown(event: dict[str, Any]) -> tuple[int, int]:
    if event.get("rung") == "dub" and event.get("dub_start_ns") is not None and event.get("dub_duration_ns"):
        return event["dub_start_ns"], event["dub_start_ns"] + event["dub_duration_ns"]
    speech = event.get("speech") or []
    if speech:
        return speech[0]["start_ns"], speech[-1]["end_ns"]
    return event["start_ns"], event["start_ns"] + event["duration_ns"]


def _stamp(ms: int) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def _lines(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    lines: list[str] = [""]
    for word in escaped.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > _LINE_CHARACTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
