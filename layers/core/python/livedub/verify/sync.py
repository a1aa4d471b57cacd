"""A/V offset on a flash-and-beep clip: where each beep starts against the first lit frame of its flash."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its packets open.

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from livedub.audio.pcm import PROGRAMME_RATE_HZ
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.verify.evidence import CannotTell, Evidence
from livedub.verify.model import SyncFigures
from livedub.verify.track import TIMELINE_RESET_NS, AudioTrack

Box = tuple[int, int, int, int]
"""x, y, width, height."""


@dataclass(frozen=True, slots=True)
class SyncPattern:
    """Where a flash-and-beep clip shows what: pixels of a 1280x720 picture, other sizes scale them.

    A black strip across the top carries `flash_box`, white at every event, and `index_bits` boxes that count the
    events in binary, least significant bit first. The beep starts with the flash.
    """

    reference_width: int = 1280
    reference_height: int = 720
    strip_height: int = 200
    flash_box: Box = (0, 0, 200, 200)
    index_bits: int = 16
    index_first_box: Box = (240, 20, 44, 160)
    index_step: int = 60
    period_ms: int = 2_000
    beep_hz: int = 1_000
    beep_ms: int = 100

    def index_box(self, bit: int) -> Box:
        """The box of one bit of the event index."""
        x, y, width, height = self.index_first_box
        return (x + bit * self.index_step, y, width, height)

    def between_boxes(self) -> Box:
        """A part of the strip that is always black."""
        x = self.flash_box[0] + self.flash_box[2]
        return (x, 0, self.index_first_box[0] - x, self.strip_height)


PATTERN = SyncPattern()

_LIT = 128
_BLACK, _WHITE = 64, 192
_JUDGED_FRAMES = 15
_MARGIN_SHARE = 0.15
"""Edges of a box blur under compression: only its inside is read."""
_PICTURE_GAP_NS = 200 * NS_PER_MS
_SAME_EVENT_NS = 40 * NS_PER_MS

_BEEP_FLOOR = 0.02
_BEEP_SHARE = 0.1
_BEEP_BRIDGE_MS = 200
_DEMODULATION_PERIODS = 2


@dataclass(frozen=True, slots=True)
class SyncEvent:
    """One event of the clip as a file shows it."""

    index: int
    flash_ns: int
    offset_ns: float
    """Beep minus flash: positive where sound is late."""


@dataclass(frozen=True, slots=True)
class _Flash:
    index: int
    at_ns: int
    settled: bool
    """Pictures ran without a gap since the flash before: not the first event after a join."""


def measure_sync(evidence: Evidence, pattern: SyncPattern = PATTERN) -> SyncFigures:
    """A/V offset of the output, each event relative to the same event of the input where that has one.

    The first event after a join or a gap is left out: players start their sound and picture at different packets
    then, and what they lose of a beep is not what a worker did.

    Raises:
        CannotTell: the clip does not carry the pattern, or no event is whole.
    """
    output_events = sync_events(evidence.output.path, (evidence.output_audio,), pattern)
    if not output_events:
        raise CannotTell("the output shows no whole flash with a beep")
    input_events = _input_events(evidence, pattern)
    offsets = [(event, _same_event(event, input_events, evidence)) for event in output_events]
    relative = [
        (event.offset_ns - other.offset_ns) / NS_PER_MS for event, other in offsets if other is not None
    ]
    inputs = [other.offset_ns / NS_PER_MS for _, other in offsets if other is not None]
    figures = relative or [event.offset_ns / NS_PER_MS for event in output_events]
    return SyncFigures(
        events=len(figures),
        median_ms=round(float(np.median(figures)), 3),
        max_abs_ms=round(max(abs(figure) for figure in figures), 3),
        input_median_ms=round(float(np.median(inputs)), 3) if inputs else None,
        relative_to_input=bool(relative),
    )


def sync_events(path: Path, takes: tuple[AudioTrack, ...], pattern: SyncPattern = PATTERN) -> list[SyncEvent]:
    """Every settled event of a file, in order.

    Raises:
        CannotTell: its first pictures do not carry the pattern.
    """
    events: list[SyncEvent] = []
    flashes_of_takes = list(_flashes(path, pattern))
    if len(takes) == 1:
        # Pictures may step where sound does not; then they are still on the one timeline that the sound is on.
        flashes_of_takes = [[flash for flashes in flashes_of_takes for flash in flashes]]
    for take, flashes in zip(takes, flashes_of_takes, strict=False):
        onsets_ns = beep_onsets_ns(take, pattern)
        for flash in flashes:
            if not flash.settled or not len(onsets_ns):
                continue
            nearest = float(onsets_ns[int(np.argmin(np.abs(onsets_ns - flash.at_ns)))])
            if abs(nearest - flash.at_ns) < pattern.period_ms * NS_PER_MS * 0.45:
                events.append(SyncEvent(flash.index, flash.at_ns, nearest - flash.at_ns))
    return events


def beep_onsets_ns(track: AudioTrack, pattern: SyncPattern = PATTERN) -> NDArray[np.float64]:
    """Start of each beep, between samples.

    The signal is demodulated at the beep's frequency and averaged over two periods around each sample: where a
    beep starts, half of that window lies in it, so the onset is where the envelope crosses half the beep's height.
    """
    envelope = _envelope(track, pattern.beep_hz)
    threshold = max(_BEEP_FLOOR, _BEEP_SHARE * float(envelope.max(initial=0.0)))
    loud = np.flatnonzero(envelope > threshold)
    if not loud.size:
        return np.zeros(0)
    bridge = _BEEP_BRIDGE_MS * PROGRAMME_RATE_HZ // 1000
    breaks = np.flatnonzero(np.diff(loud) > bridge)
    begins = loud[np.concatenate(([0], breaks + 1))]
    ends = loud[np.concatenate((breaks, [loud.size - 1]))] + 1
    least = pattern.beep_ms * PROGRAMME_RATE_HZ // 2000
    onsets = [
        _half_height(envelope, int(begin), int(end))
        for begin, end in zip(begins, ends, strict=True)
        if end - begin >= least and begin > 0
    ]
    return np.array([track.start_ns + onset * NS_PER_S / PROGRAMME_RATE_HZ for onset in onsets])


def _envelope(track: AudioTrack, frequency_hz: int) -> NDArray[np.float64]:
    mono = track.mono().astype(np.float64)
    phase = 2 * np.pi * frequency_hz / PROGRAMME_RATE_HZ * np.arange(len(mono))
    window = _DEMODULATION_PERIODS * PROGRAMME_RATE_HZ // frequency_hz
    box = np.full(window, 1 / window)
    in_phase = np.convolve(mono * np.cos(phase), box, mode="same")
    quadrature = np.convolve(mono * np.sin(phase), box, mode="same")
    envelope: NDArray[np.float64] = np.hypot(in_phase, quadrature)
    return envelope * 2.0


def _half_height(envelope: NDArray[np.float64], begin: int, end: int) -> float:
    """Where the rise into [begin, end) crosses half its plateau; linear between the two samples around it."""
    third = (end - begin) // 3
    half = float(np.median(envelope[begin + third : end - third])) / 2
    first = max(0, begin - 20 * PROGRAMME_RATE_HZ // 1000)
    above = first + int(np.argmax(envelope[first:end] >= half))
    if above == 0:
        return 0.0
    low, high = float(envelope[above - 1]), float(envelope[above])
    return above - 1 + (half - low) / (high - low) if high > low else float(above)


def _same_event(event: SyncEvent, others: list[SyncEvent], evidence: Evidence) -> SyncEvent | None:
    """The event in the input: equal index, and a flash where the offset between the files puts it."""
    sessions = evidence.comparison.sessions if evidence.comparison else ()
    return next(
        (
            other
            for other in others
            if other.index == event.index
            and any(
                abs(event.flash_ns - other.flash_ns - session.offset_ns) <= _SAME_EVENT_NS
                for session in sessions
            )
        ),
        None,
    )


def _input_events(evidence: Evidence, pattern: SyncPattern) -> list[SyncEvent]:
    try:
        return sync_events(evidence.source.path, evidence.input_takes, pattern)
    except CannotTell:
        return []


def _flashes(path: Path, pattern: SyncPattern) -> list[list[_Flash]]:
    """Flashes per take of the file's video."""
    takes: list[list[_Flash]] = [[]]
    before: tuple[int, bool] | None = None
    settled = False
    for at_ns, picture in _pictures(path, pattern):
        lit = picture.mean(pattern.flash_box) > _LIT
        if before is not None and at_ns < before[0] - TIMELINE_RESET_NS:
            takes.append([])
            before, settled = None, False
        if before is not None and at_ns > before[0] + _PICTURE_GAP_NS:
            before, settled = None, False
        if before is not None and lit and not before[1]:
            takes[-1].append(_Flash(picture.index(pattern), at_ns, settled))
            settled = True
        before = (at_ns, lit)
    return takes


@dataclass(frozen=True, slots=True)
class _Picture:
    """The luma plane of a frame, read through boxes of the reference picture."""

    luma: NDArray[np.uint8]
    scale_x: float
    scale_y: float

    def inside(self, box: Box) -> NDArray[np.uint8]:
        x, y, width, height = box
        left, right = x + width * _MARGIN_SHARE, x + width * (1 - _MARGIN_SHARE)
        top, bottom = y + height * _MARGIN_SHARE, y + height * (1 - _MARGIN_SHARE)
        return self.luma[
            int(top * self.scale_y) : max(1, int(bottom * self.scale_y)),
            int(left * self.scale_x) : max(1, int(right * self.scale_x)),
        ]

    def mean(self, box: Box) -> float:
        return float(self.inside(box).mean())

    def index(self, pattern: SyncPattern) -> int:
        return sum(1 << bit for bit in range(pattern.index_bits) if self.mean(pattern.index_box(bit)) > _LIT)

    def shows(self, pattern: SyncPattern) -> bool:
        boxes = [pattern.flash_box, *(pattern.index_box(bit) for bit in range(pattern.index_bits))]
        means = [self.mean(box) for box in boxes]
        black_or_white = all(mean < _BLACK or mean > _WHITE for mean in means)
        return black_or_white and self.mean(pattern.between_boxes()) < _BLACK


def _pictures(path: Path, pattern: SyncPattern) -> Iterator[tuple[int, _Picture]]:
    """Decoded frames in presentation order; raises `CannotTell` when the first ones do not show the pattern."""
    showing = 0
    with av.open(str(path)) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None:
            raise CannotTell("there is no video")
        stream.thread_type = "AUTO"
        frames = (frame for packet in container.demux(stream) for frame in _decoded(packet))
        for number, frame in enumerate(frames, start=1):
            picture = _picture(frame, pattern)
            showing += picture.shows(pattern)
            if number == _JUDGED_FRAMES and showing < _JUDGED_FRAMES // 2:
                raise CannotTell("the clip carries no flash-and-beep pattern")
            if frame.pts is not None and frame.time_base is not None:
                yield round(frame.pts * frame.time_base * NS_PER_S), picture


def _decoded(packet: Any) -> list[Any]:
    """Frames of a packet; one that cannot be decoded (its reference was lost) shows nothing."""
    try:
        return packet.decode()
    except FFmpegError:
        return []


def _picture(frame: Any, pattern: SyncPattern) -> _Picture:
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return _Picture(luma, plane.width / pattern.reference_width, plane.height / pattern.reference_height)
