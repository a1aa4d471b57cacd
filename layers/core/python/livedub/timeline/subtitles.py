"""Subtitles of a dubbed stream as WebVTT (W3C Candidate Recommendation), from the session's event log."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from livedub.timeline.clock import NS_PER_MS

LINE_CHARACTERS = 42
LINES = 2
HEADER = "WEBVTT\n"
_TIMING = re.compile(r"(\d{2,}):(\d\d):(\d\d)\.(\d{3}) --> (\d{2,}):(\d\d):(\d\d)\.(\d{3})")
_SHORTEST_NS = 800 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class Cue:
    """A text and when it is on screen; the clock is whatever the caller counts in."""

    start_ns: int
    end_ns: int
    text: str


def cues_from_events(
    events: Iterable[Mapping[str, Any]], *, delay_ns: int, recording_start_ns: int
) -> list[Cue]:
    """What is said in the target language, at the times of a recording of the output.

    A fragment's text is shown while its dub sounds; where no dub aired, while the source speaks it, so that a
    viewer who hears the original can follow.

    Args:
        events: event log; other lines than fragments are skipped.
        delay_ns: D, which lies between the log's media times and the output's timestamps.
        recording_start_ns: output timestamp at the recording's time 0.
    """
    shift_ns = delay_ns - recording_start_ns
    cues = (cue_from_event(event, shift_ns) for event in events if event.get("event") == "fragment")
    return sorted((cue for cue in cues if cue is not None), key=lambda cue: cue.start_ns)


def cue_from_event(event: Mapping[str, Any], shift_ns: int) -> Cue | None:
    """What one fragment's line of the event log puts on screen; None where that is nothing.

    Args:
        event: the line, or a language's entry in it together with the fragment's own fields.
        shift_ns: from the log's media times to the cue's clock.
    """
    text = " ".join(str(event.get("translated_text") or "").split())
    if not text:
        return None
    start_ns, end_ns = _shown(event)
    cue = Cue(max(0, start_ns + shift_ns), max(end_ns + shift_ns, start_ns + shift_ns + _SHORTEST_NS), text)
    return cue if cue.end_ns > cue.start_ns else None


def render_webvtt(cues: Iterable[Cue]) -> str:
    """The text of a .vtt file: cues in order, each of at most two lines, none on screen together with the next."""
    parts = [part for cue in sorted(cues, key=lambda cue: cue.start_ns) for part in split_cue(cue)]
    shown = [replace(cue, end_ns=min(cue.end_ns, after.start_ns)) for cue, after in pairwise(parts)]
    blocks = [render_block(cue) for cue in [*shown, *parts[-1:]] if cue.end_ns - cue.start_ns >= NS_PER_MS]
    return "\n".join([HEADER, *blocks])


def render_block(cue: Cue) -> str:
    """One cue as it stands in a .vtt file; an empty line separates it from its neighbours."""
    return f"{_timestamp(cue.start_ns)} --> {_timestamp(cue.end_ns)}\n{_escaped(cue.text)}\n"


def read_timing(line: str) -> tuple[int, int] | None:
    """Start and end (nanoseconds) in the timing line of a block that `render_block` wrote; None for another line."""
    found = _TIMING.fullmatch(line)
    if found is None:
        return None
    numbers = [int(text) for text in found.groups()]
    times_ms = [
        ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms
        for hours, minutes, seconds, ms in (numbers[:4], numbers[4:])
    ]
    return times_ms[0] * NS_PER_MS, times_ms[1] * NS_PER_MS


def split_cue(cue: Cue) -> list[Cue]:
    """The cue with its text broken into lines of at most 42 characters; more than two lines become several cues.

    Each of these is shown in proportion to its length.
    """
    lines = _lines(cue.text)
    texts = ["\n".join(lines[index : index + LINES]) for index in range(0, len(lines), LINES)]
    total = sum(map(len, texts))
    cues: list[Cue] = []
    said = 0
    for text in texts:
        start_ns = cue.start_ns + (cue.end_ns - cue.start_ns) * said // total
        said += len(text)
        cues.append(Cue(start_ns, cue.start_ns + (cue.end_ns - cue.start_ns) * said // total, text))
    return cues


def _lines(text: str) -> list[str]:
    """As few lines as fit, of about equal length: two even lines read faster than a long one and a word."""
    lines = textwrap.wrap(text, LINE_CHARACTERS, break_on_hyphens=False)
    for width in range(max(1, len(text) // max(1, len(lines))), LINE_CHARACTERS):
        balanced = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
        if len(balanced) == len(lines) and max(map(len, balanced)) <= LINE_CHARACTERS:
            return balanced
    return lines


def _shown(event: Mapping[str, Any]) -> tuple[int, int]:
    if event.get("rung") == "dub" and event.get("dub_start_ns") is not None and event.get("dub_duration_ns"):
        clip_start_ns = event.get("clip_start_ns")
        first_ns = event["dub_start_ns"] if clip_start_ns is None else clip_start_ns
        return int(event["dub_start_ns"]), int(first_ns) + int(event["dub_duration_ns"])
    speech: list[Mapping[str, int]] = event.get("speech") or []
    if speech:
        return speech[0]["start_ns"], speech[-1]["end_ns"]
    return int(event["start_ns"]), int(event["start_ns"]) + int(event["duration_ns"])


def _escaped(text: str) -> str:
    """Cue text as WebVTT wants it: `-->` cannot occur once `>` is escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _timestamp(ns: int) -> str:
    ms = ns // NS_PER_MS
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1_000 % 60:02}.{ms % 1_000:03}"
