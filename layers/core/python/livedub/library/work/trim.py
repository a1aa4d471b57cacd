"""Cuts a piece out of a file without encoding anything anew: from key frame to key frame."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its streams and packets open.

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.container import InputContainer

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import TrimParameters
from livedub.library.work.media_output import open_output
from livedub.library.work.media_source import duration_ms, known, open_source, pictures, rewind, start_us
from livedub.library.work.step_progress import StepProgress

_US_PER_S = 1_000_000
_US_PER_MS = 1_000
_LATE_US = 10 * _US_PER_S
"""How far the streams of a file may lie apart."""


@dataclass(frozen=True, slots=True)
class CutSpan:
    """A piece of a file in microseconds of its own timestamps.

    Attributes:
        start_us: its first moment.
        end_us: the first moment behind it; None where it goes on to the last packet.
        seek_us: where to seek so as to come by everything of it; None: to the file's start.
    """

    start_us: int
    end_us: int | None
    seek_us: int | None = None


def trim_copy(
    source: Path, name: str, target: Path, parameters: TrimParameters, progress: StepProgress
) -> None:
    """Write the piece of `source` between the key frames around what is asked for; a file of sound has no key frames.

    Raises:
        LibraryError: TRIM_OUTSIDE_DURATION, UNSUPPORTED_TYPE for a container that cannot hold the streams, or what
            `open_source` says.
    """
    with open_source(source, name) as container:
        wanted = wanted_span(container, name, parameters)
        span = _between_key_frames(container, wanted, progress) if pictures(container) else wanted
        _copy(container, target, span, progress)


def wanted_span(container: InputContainer, name: str, parameters: TrimParameters) -> CutSpan:
    """What is asked for, in the file's timestamps.

    Raises:
        LibraryError: TRIM_OUTSIDE_DURATION.
    """
    length_ms = duration_ms(container)
    if length_ms and (parameters.start_ms >= length_ms or parameters.end_ms > length_ms):
        raise LibraryError(
            LibraryErrorCode.TRIM_OUTSIDE_DURATION,
            f"{name!r} lasts {length_ms} ms; {parameters.start_ms} to {parameters.end_ms} ms lies outside.",
            "Give start_ms and end_ms within the duration.",
        )
    zero_us = start_us(container)
    first_us = zero_us + parameters.start_ms * _US_PER_MS
    return CutSpan(first_us, zero_us + parameters.end_ms * _US_PER_MS, first_us)


def stamp_us(stamp: int, time_base: Fraction) -> int:
    """A timestamp in microseconds, rounded to the nearest."""
    return round(stamp * time_base * _US_PER_S)


def _between_key_frames(container: InputContainer, wanted: CutSpan, progress: StepProgress) -> CutSpan:
    """From the last key frame at or before the start to the first at or after the end.

    Where the file has no index, a seek may end behind that first one; then everything is read.
    """
    span = _key_frames_around(container, wanted, progress)
    if span.start_us > wanted.start_us and wanted.seek_us is not None:
        span = _key_frames_around(container, CutSpan(wanted.start_us, wanted.end_us), progress)
    return span


def _key_frames_around(container: InputContainer, wanted: CutSpan, progress: StepProgress) -> CutSpan:
    first: int | None = None
    last: int | None = None
    seek_to(container, wanted)
    for packet in container.demux(pictures(container)[0]):
        if packet.pts is None:
            continue
        at_us = stamp_us(packet.pts, packet.time_base)
        if last is not None:
            if at_us > last:
                break  # everything that is shown before `last` has come by
            if wanted.end_us is not None and at_us < wanted.end_us:
                last = None  # pictures shown before it depend on it and are wanted: an open group
        if not packet.is_keyframe:
            continue
        progress.stop_if_cancelled()
        if first is None or at_us <= wanted.start_us:
            first = at_us
        elif wanted.end_us is not None and at_us >= wanted.end_us:
            last = at_us
    return CutSpan(wanted.start_us if first is None else first, last, wanted.seek_us)


def seek_to(container: InputContainer, span: CutSpan) -> None:
    """Go to a key frame at or before the span's `seek_us`."""
    if span.seek_us is None:
        rewind(container)
    else:
        container.seek(span.seek_us, backward=True)


def _copy(container: InputContainer, target: Path, span: CutSpan, progress: StepProgress) -> None:
    wanted = [*pictures(container), *known((*container.streams.audio, *container.streams.subtitles))]
    end_us = span.end_us if span.end_us is not None else start_us(container) + (container.duration or 0)
    length_us = max(1, end_us - span.start_us)
    with open_output(target) as output:
        copies = {stream.index: output.add_copy(stream) for stream in wanted}
        seek_to(container, span)
        for packet, at_us in _stamped(_packets_of(container, wanted, span)):
            progress.tick((at_us - span.start_us) / length_us)
            shift = round(Fraction(span.start_us, _US_PER_S) / packet.time_base)
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = copies[packet.stream.index]
            output.mux(packet)


def _packets_of(container: InputContainer, wanted: list[Any], span: CutSpan) -> Iterator[tuple[Any, int]]:
    """The packets within the span, with their times; each stream begins with a key frame and ends before one."""
    begun: set[int] = set()
    over: set[int] = set()
    for packet in container.demux(wanted):
        if packet.pts is None:
            continue  # PyAV's flush packet, or one that cannot be placed
        at_us = stamp_us(packet.pts, packet.time_base)
        index = packet.stream.index
        if span.end_us is not None and at_us >= span.end_us:
            if packet.is_keyframe:
                over.add(index)
            if len(over) == len(wanted) or at_us >= span.end_us + _LATE_US:
                return
            continue
        # What is shown before the key frame that begins or ends the piece, but comes after it, depends on what is not here.
        if at_us < span.start_us or index in over or (index not in begun and not packet.is_keyframe):
            continue
        begun.add(index)
        yield packet, at_us


def _stamped(packets: Iterator[tuple[Any, int]]) -> Iterator[tuple[Any, int]]:
    """The same, each with a decoding time: Matroska stores none, and after a seek the first cannot be derived."""
    waiting: dict[int, list[tuple[Any, int]]] = {}
    for packet, at_us in packets:
        held = waiting.setdefault(packet.stream.index, [])
        if packet.dts is None:
            held.append((packet, at_us))
            continue
        yield from _stamped_before(held, packet.dts)
        held.clear()
        yield packet, at_us
    for held in waiting.values():
        yield from _stamped_before(held, max((packet.pts for packet, _ in held), default=0))


def _stamped_before(held: list[tuple[Any, int]], next_dts: int) -> Iterator[tuple[Any, int]]:
    dts = [min([next_dts, *(packet.pts for packet, _ in held)])]
    for packet, _ in reversed(held):
        dts.append(dts[-1] - max(1, packet.duration or 1))
    for (packet, at_us), stamp in zip(held, reversed(dts[1:]), strict=True):
        packet.dts = stamp
        yield packet, at_us
