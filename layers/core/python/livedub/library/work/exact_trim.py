"""Cuts a piece out of a file to the frame and the sample.

A frame is in the piece when its time is, and so is a sample. Where the picture is H.264, only what lies before the
first and behind the last picture that starts afresh is encoded anew; everything between is copied. Sound is encoded
anew as a whole, losslessly where it was lossless: its packets overlap, so a cut between two encoders can be heard.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import TrimParameters
from livedub.library.work.exact_picture import copy_between_edges, encode_pictures, plan_picture
from livedub.library.work.exact_sound import encode_sound
from livedub.library.work.exact_span import ExactSpan
from livedub.library.work.exact_subtitles import cut_subtitles
from livedub.library.work.media_output import MediaOutput, open_output
from livedub.library.work.media_source import known, open_source, pictures, zero_of
from livedub.library.work.step_progress import StepProgress
from livedub.library.work.trim import wanted_span

_EXACT = frozenset({".flac", ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".ogg", ".wav", ".webm"})
"""Containers that can say how much of the first and last packet of sound to leave out."""


def trim_exact(
    source: Path, name: str, target: Path, parameters: TrimParameters, progress: StepProgress, threads: int
) -> None:
    """Write the frames and samples of `source` from start_ms up to end_ms; its time 0 is start_ms.

    Raises:
        LibraryError: TRIM_OUTSIDE_DURATION, UNSUPPORTED_TYPE for a container that cannot be cut exactly or cannot
            hold the streams, or what `open_source` says.
    """
    if target.suffix.lower() not in _EXACT:
        raise LibraryError(
            LibraryErrorCode.UNSUPPORTED_TYPE,
            f"output_key ends with {target.suffix!r}: such a file cannot be cut to the sample.",
            f"Use one of {', '.join(sorted(_EXACT))}, or trim without exact.",
        )
    with ExitStack() as stack:
        # Each stream is read by itself, so that all can be merged in order without holding any of them.
        first = stack.enter_context(open_source(source, name))
        wanted_span(first, name, parameters)  # refuses what lies outside
        span = ExactSpan.of(zero_of(first), parameters)
        output = stack.enter_context(open_output(target))
        streams: list[Iterator[Any]] = []
        if pictures(first):
            streams.append(_picture(stack, source, name, output, span, threads, progress))
        for index in range(len(known(first.streams.audio))):
            container = stack.enter_context(open_source(source, name))
            streams.append(encode_sound(container, index, output, span, progress))
        for index in range(len(known(first.streams.subtitles))):
            container = stack.enter_context(open_source(source, name))
            streams.append(cut_subtitles(container, index, output, span, progress))
        length = max(Fraction(1, 1000), span.end - span.start)
        for packet in heapq.merge(*streams, key=_decoding_time):
            progress.tick(float(_decoding_time(packet) / length))
            output.mux(packet)


def _picture(
    stack: ExitStack,
    source: Path,
    name: str,
    output: MediaOutput,
    span: ExactSpan,
    threads: int,
    progress: StepProgress,
) -> Iterator[Any]:
    container = stack.enter_context(open_source(source, name))
    plan = plan_picture(container, output.suffix, span, progress)
    if plan is None:
        return encode_pictures(container, output, span, threads, progress)
    return copy_between_edges(container, output, plan, span, threads, progress)


def _decoding_time(packet: Any) -> Fraction:
    return packet.dts * packet.time_base
