"""Reads a file's programme, the sound that is dubbed, from any place to the same samples."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its streams and packets open.

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from livedub.audio.activity import SpeechActivity
from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ, Samples, to_mono
from livedub.dubbing.media_file import placed_samples, programme_resampler
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.work.dub_plan import DubPlan, DubRange, borders
from livedub.library.work.media_source import known, open_source
from livedub.library.work.step_progress import StepProgress
from livedub.timeline.alignment import SampleAligner
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, Span, ns_to_samples, samples_to_ns
from livedub.timeline.fragmenter import Fragmenter, LevelFrame

_FRAME_SAMPLES = PROGRAMME_RATE_HZ // 50
_ANCHOR_EVERY_NS = NS_PER_S
_AHEAD_NS = 1_500 * NS_PER_MS
"""Before a range: what a decoder that starts in the middle needs to be right."""
_SILENT_BLOCK = PROGRAMME_RATE_HZ


def plan_file(source: Path, name: str, range_s: int, progress: StepProgress) -> DubPlan:
    """Read the whole programme and say in which ranges it is to be dubbed.

    Raises:
        LibraryError: INVALID_REQUEST where there is no sound, or what `open_source` says.
    """
    with open_source(source, name) as container:
        stream = _sound(container, name)
        length_ns = max(1, (container.duration or 0) * 1_000)
        listener = _Listener()
        anchors: list[tuple[int, int]] = []
        aligner = SampleAligner(PROGRAMME_RATE_HZ)
        first = last = None
        for frame, stamp_ns in _frames(container, stream):
            progress.tick(stamp_ns / length_ns)
            for position, samples in placed_samples(aligner, frame):
                first = position if first is None else first
                last = position + len(samples)
                if not anchors or stamp_ns - anchors[-1][0] >= _ANCHOR_EVERY_NS:
                    anchors.append((stamp_ns, position))
                listener.take(position, to_mono(samples))
    if first is None or last is None:
        raise LibraryError(
            LibraryErrorCode.INVALID_REQUEST,
            f"{name!r} has a silent sound track of no length.",
            "Check the file.",
        )
    return _plan(first, last, listener.fragments(), anchors, range_s)


def read_range(source: Path, name: str, dub_range: DubRange) -> Iterator[tuple[int, Samples]]:
    """The range's samples as (position, (n, 2) samples): every one of them, holes are silent.

    Raises:
        LibraryError: what `open_source` says.
    """
    written = dub_range.start
    with open_source(source, name) as container:
        stream = _sound(container, name)
        if dub_range.index:
            container.seek(dub_range.anchor_ns // 1_000 - 1_000_000, backward=True)
        aligner = SampleAligner(PROGRAMME_RATE_HZ)
        shift_ns = samples_to_ns(dub_range.anchor, PROGRAMME_RATE_HZ) - dub_range.anchor_ns
        for frame, stamp_ns in _frames(container, stream):
            if stamp_ns < dub_range.anchor_ns:
                continue
            for position, samples in placed_samples(aligner, frame, shift_ns):
                yield from _silence(written, min(position, dub_range.end))
                written = max(written, min(position, dub_range.end))
                wanted = samples[max(0, written - position) : max(0, dub_range.end - position)]
                if len(wanted):
                    yield written, wanted
                    written += len(wanted)
            if written >= dub_range.end:
                break
    yield from _silence(written, dub_range.end)


def _plan(
    first: int, last: int, fragments: list[Span], anchors: list[tuple[int, int]], range_s: int
) -> DubPlan:
    begin_ns, end_ns = (samples_to_ns(edge, PROGRAMME_RATE_HZ) for edge in (first, last))
    inside = [span for span in fragments if begin_ns <= span.start_ns and span.end_ns <= end_ns]
    cuts = [
        ns_to_samples(border_ns, PROGRAMME_RATE_HZ)
        for border_ns in borders(inside, begin_ns, end_ns, range_s * NS_PER_S)
    ]
    edges = [first, *cuts, last]
    ranges: list[DubRange] = []
    for index, (start, end) in enumerate(pairwise(edges)):
        ahead = start - ns_to_samples(_AHEAD_NS, PROGRAMME_RATE_HZ)
        before = [anchor for anchor in anchors if anchor[1] <= ahead]
        anchor_ns, anchor = before[-1] if before else anchors[0]
        ranges.append(DubRange(index=index, start=start, end=end, anchor_ns=anchor_ns, anchor=anchor))
    return DubPlan(ranges=tuple(ranges))


class _Listener:
    """Finds the fragments of a programme, as the session will, roughly: it does not separate."""

    def __init__(self) -> None:
        self._activity = SpeechActivity()
        self._fragmenter = Fragmenter()
        self._found: list[Span] = []
        self._rest: Samples = np.zeros(0, dtype=np.float32)
        self._position: int | None = None

    def take(self, position: int, mono: Samples) -> None:
        """Listen to what follows."""
        if self._position is None or position != self._position + len(self._rest):
            self._position, self._rest = position, mono[:0]
            self._activity.interrupt()
        pending = np.concatenate((self._rest, mono))
        whole = len(pending) // _FRAME_SAMPLES * _FRAME_SAMPLES
        for first in range(0, whole, _FRAME_SAMPLES):
            heard = self._activity.push(pending[first : first + _FRAME_SAMPLES])
            start_ns = samples_to_ns(self._position + first, PROGRAMME_RATE_HZ)
            cuts = self._fragmenter.push(LevelFrame(start_ns, heard.level_db, heard.speech))
            self._found += [Span(cut.start_ns, cut.end_ns) for cut in cuts]
        self._position += whole
        self._rest = pending[whole:]

    def fragments(self) -> list[Span]:
        """All of them, the open one too."""
        return self._found + [Span(cut.start_ns, cut.end_ns) for cut in self._fragmenter.flush()]


def _sound(container: InputContainer, name: str) -> Any:
    sounds = known(container.streams.audio)
    if not sounds:
        raise LibraryError(
            LibraryErrorCode.INVALID_REQUEST,
            f"{name!r} has no sound track to dub.",
            "Give a file with speech in it.",
        )
    return sounds[0]


def _frames(container: InputContainer, stream: Any) -> Iterator[tuple[av.AudioFrame, int]]:
    """The resampled frames with their timestamps, in nanoseconds."""
    resampler = programme_resampler(stream)
    for packet in container.demux(stream):
        try:
            frames = cast("list[av.AudioFrame]", packet.decode())
        except FFmpegError:
            continue  # a damaged packet leaves a hole
        for frame in frames:
            for converted in resampler.resample(frame):
                if converted.pts is not None and converted.time_base is not None:
                    yield converted, round(converted.pts * converted.time_base * NS_PER_S)


def _silence(start: int, end: int) -> Iterator[tuple[int, Samples]]:
    for position in range(start, end, _SILENT_BLOCK):
        count = min(_SILENT_BLOCK, end - position)
        yield position, np.zeros((count, PROGRAMME_CHANNELS), dtype=np.float32)
