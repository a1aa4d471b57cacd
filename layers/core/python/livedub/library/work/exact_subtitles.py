"""The subtitles of an exact cut: copied, those at the edges shortened."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its streams and packets open.

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from av.container import InputContainer

from livedub.library.work.exact_span import ExactSpan
from livedub.library.work.media_output import MediaOutput
from livedub.library.work.media_source import known
from livedub.library.work.step_progress import StepProgress


def cut_subtitles(
    container: InputContainer, index: int, output: MediaOutput, span: ExactSpan, progress: StepProgress
) -> Iterator[Any]:
    """The packets of the subtitle stream of that number that are on screen within the piece."""
    stream = known(container.streams.subtitles)[index]
    return _packets(container, stream, output.add_copy(stream), span, progress)


def _packets(
    container: InputContainer, stream: Any, copy: Any, span: ExactSpan, progress: StepProgress
) -> Iterator[Any]:
    # From the file's start: what is on screen at the cut may have come long before.
    for packet in container.demux(stream):
        progress.tick(0)
        if packet.pts is None:
            continue
        base = stream.time_base
        start = max(packet.pts, round(span.start / base))
        end = min(packet.pts + (packet.duration or 0), round(span.end / base))
        if packet.pts * base >= span.end:
            return
        if end <= start:
            continue
        packet.pts = packet.dts = span.shifted(start, base)
        packet.duration = end - start
        packet.stream = copy
        yield packet
