"""A world in virtual time around one `Stream`: publishers, a media server, a wire and two clocks.

Every 2 s of its own time a publisher sends a flash (a picture whose payload says so) and a click (one loud sample)
at the same instant. What leaves is recorded with the moment it left, so tests can measure delay and A/V offset.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from livedub.audio.pcm import Samples
from livedub.audio.ring import SampleRing
from livedub.dubbing.fragment import RenderedBlock
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.timeline.origin import TimelineOrigin
from media_edge.worker.audio_input import AudioInput, DecodedAudio
from media_edge.worker.egress import DueTag, Egress
from media_edge.worker.flv import FlvTag, TagType, read_tags
from media_edge.worker.ingest import IngestKeeper
from media_edge.worker.input_timeline import InputTimeline
from media_edge.worker.mixer import BlockSource
from media_edge.worker.output import StreamTiming
from media_edge.worker.stream import Stream
from media_edge.worker.units import (
    Arrival,
    AudioFormat,
    AudioUnit,
    VideoFormat,
    VideoUnit,
)
from media_edge.worker.video_delay import VideoDelayLine

EVENT_NS = 2 * NS_PER_S
FRAME_RATE = 30
AAC_SAMPLES = 1_024
UTC_AT_START_NS = 1_800_000_000 * NS_PER_S
TICK_NS = 100 * NS_PER_MS


@dataclass
class Source:
    """A publisher: on the wire from `begin_ns` to `end_ns` (local time), `rate` seconds of media per second."""

    begin_ns: int
    end_ns: int
    rate: float = 1.0
    first_pts_ns: int = 0
    gop: int = 30
    reorder: int = 0
    audio: bool = True
    video: bool = True
    audio_clock_ppm: float = 0.0
    delay_of: Callable[[int], int] = field(default=lambda _: 0)
    format: VideoFormat = field(default_factory=lambda: VideoFormat(b"avcc"))

    def units(self) -> Iterator[Arrival]:
        """Everything it sends, in the order of arrival."""
        tracks = [*(self._video() if self.video else ()), *(self._audio() if self.audio else ())]
        last_ns = 0
        for sent_ns, unit in sorted(tracks, key=lambda item: item[0]):
            # TCP keeps the order: whatever is late holds up what follows.
            last_ns = max(last_ns, sent_ns + self.delay_of(sent_ns))
            yield Arrival(unit, last_ns)

    def _local_ns(self, media_ns: int) -> int:
        return self.begin_ns + round(media_ns / self.rate)

    def _video(self) -> Iterator[tuple[int, VideoUnit]]:
        index = 0
        while (sent_ns := self._local_ns(time_ns := index * NS_PER_S // FRAME_RATE)) < self.end_ns:
            flash = index % (FRAME_RATE * EVENT_NS // NS_PER_S) == FRAME_RATE
            # With reordering every picture is shown `reorder` frames after it is decoded.
            shown_ns = time_ns + self.reorder * NS_PER_S // FRAME_RATE
            yield (
                sent_ns,
                VideoUnit(
                    pts_ns=_ms(self.first_pts_ns + shown_ns),
                    dts_ns=_ms(self.first_pts_ns + time_ns),
                    keyframe=index % self.gop == 0,
                    data=b"flash" if flash else b"dark" + struct.pack(">QI", self.begin_ns, index),
                    format=self.format,
                ),
            )
            index += 1

    def _audio(self) -> Iterator[tuple[int, AudioUnit]]:
        index = 0
        rate_hz = 48_000 * (1 + self.audio_clock_ppm / 1e6)
        while (
            sent_ns := self._local_ns(time_ns := round(index * AAC_SAMPLES * NS_PER_S / rate_hz))
        ) < self.end_ns:
            shift_ns = self.reorder * NS_PER_S // FRAME_RATE
            click = -1
            first_event = (time_ns - shift_ns - NS_PER_S + EVENT_NS - 1) // EVENT_NS
            event_ns = first_event * EVENT_NS + NS_PER_S + shift_ns
            if time_ns <= event_ns < time_ns + AAC_SAMPLES * NS_PER_S / rate_hz:
                click = round((event_ns - time_ns) * rate_hz / NS_PER_S)
            data = struct.pack(">i", min(click, AAC_SAMPLES - 1))
            yield sent_ns, AudioUnit(_ms(self.first_pts_ns + time_ns), data, AudioFormat(b"asc"))
            index += 1


def _ms(time_ns: int) -> int:
    return time_ns // NS_PER_MS * NS_PER_MS


class ClickDecoder:
    """AAC of this world: a frame is the index of its click, or -1."""

    def __init__(self, _format: AudioFormat) -> None:
        self._decoded: list[DecodedAudio] = []

    def push(self, unit: AudioUnit) -> None:
        samples = np.zeros((AAC_SAMPLES, 2), np.float32)
        (click,) = struct.unpack(">i", unit.data)
        if click >= 0:
            samples[click] = 1.0
        self._decoded.append(DecodedAudio(unit.pts_ns, samples))

    def pull(self) -> list[DecodedAudio]:
        decoded, self._decoded = self._decoded, []
        return decoded

    def failure(self) -> str | None:
        return None

    def close(self) -> None:
        self._decoded.clear()


class ClickEncoder:
    """Its encoder: two frames of delay, the first of which is priming, as AAC has."""

    codec_data = b"asc"

    def __init__(self, start_position: int) -> None:
        self.next_position = start_position - AAC_SAMPLES
        self._pending = np.zeros(AAC_SAMPLES, np.float32)
        self.closed = False

    def push(self, samples: Samples) -> None:
        self._pending = np.concatenate([self._pending, samples[:, 0]])

    def pull(self) -> list[tuple[int, bytes]]:
        frames: list[tuple[int, bytes]] = []
        while len(self._pending) >= 2 * AAC_SAMPLES:
            loud = np.flatnonzero(self._pending[:AAC_SAMPLES] > 0.4)
            frames.append((self.next_position, struct.pack(">i", int(loud[0]) if len(loud) else -1)))
            self._pending = self._pending[AAC_SAMPLES:]
            self.next_position += AAC_SAMPLES
        return frames

    def close(self) -> None:
        self.closed = True


class Delay:
    """The dubbing session's stand-in: the programme itself, in every language."""

    def __init__(self) -> None:
        self._ring = SampleRing(60 * 48_000, 2)
        self.tracks: dict[str, BlockSource] = {"": self}
        self.ends_of_input = 0
        self.pushed_samples = 0

    def push(self, position: int, samples: Samples) -> None:
        self.pushed_samples += len(samples)
        self._ring.write(position, samples)

    def render(self, position: int, count: int) -> RenderedBlock:
        return RenderedBlock(self._ring.read(position, count), "original")

    def end_of_input(self) -> None:
        self.ends_of_input += 1


@dataclass(frozen=True)
class Sent:
    """A tag and the local time at which it left."""

    tag: FlvTag
    local_ns: int


class Wire:
    """A publishing session of this world; it ends when the world breaks or refuses it."""

    def __init__(self, world: World, track: str) -> None:
        self._world = world
        self.track = track
        self._queue: list[tuple[int, bytes]] = []
        self._eos = False
        self.closed = False
        self.failure: str | None = "refused" if world.output_refused(track) else None

    def push(self, tags: Sequence[DueTag]) -> None:
        assert not self.closed
        self._queue.extend((due_ns, tag) for tag, due_ns in tags)

    def poll(self) -> None:
        now_ns = self._world.now_ns
        if self._world.output_refused(self.track) and not self.failure:
            self.failure = "connection closed remotely"
        if self.failure or self._world.output_blocked(self.track):
            return
        while self._queue and self._queue[0][0] <= now_ns:
            due_ns, data = self._queue.pop(0)
            (tag,) = read_tags(data)
            self._world.sent_by(self.track).append(Sent(tag, max(due_ns, now_ns - TICK_NS)))

    def finish(self) -> None:
        self._eos = True

    @property
    def finished(self) -> bool:
        return self._eos and not self._queue

    @property
    def queued_tags(self) -> int:
        return len(self._queue)

    def close(self) -> None:
        self.closed = True


class Play:
    """An ingest session of this world: starts at a keyframe, ends when the publisher leaves."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ended: str | None = None
        self._units: list[Arrival] = []
        source = next((s for s in world.sources if s.begin_ns <= world.now_ns < s.end_ns), None)
        if source is None:
            self.ended = "stream not found"
            return
        self._end_ns = source.end_ns
        self._units = [a for a in source.units() if a.local_ns > world.now_ns - TICK_NS]
        first = next(
            (i for i, a in enumerate(self._units) if isinstance(a.unit, VideoUnit) and a.unit.keyframe), 0
        )
        self._units = self._units[first:]
        if world.media_zero_ns is None:
            world.media_zero_ns = self._units[0].local_ns

    def poll(self) -> list[Arrival]:
        now_ns = self._world.now_ns
        arrived = []
        while self._units and self._units[0].local_ns <= now_ns:
            arrived.append(self._units.pop(0))
        if self.ended is None and not self._units and now_ns >= self._end_ns:
            self.ended = "end of stream"
        # The worker reads the clock when it polls.
        return [Arrival(a.unit, now_ns) for a in arrived]

    def close(self) -> None:
        self._units.clear()


class World:
    """Everything, and the time."""

    def __init__(
        self,
        *,
        delay_ms: int = 4_000,
        stored: TimelineOrigin | None = None,
        start_ns: int = 0,
        make_encoder: Callable[[int], ClickEncoder] = ClickEncoder,
    ) -> None:
        self.now_ns = start_ns
        self.delay_ns = delay_ms * NS_PER_MS
        self.sources: list[Source] = []
        self.refusals: list[tuple[int, int]] = []
        self.blocks: list[tuple[int, int]] = []
        self.other_refusals: dict[str, list[tuple[int, int]]] = {}
        self.other_blocks: dict[str, list[tuple[int, int]]] = {}
        self.sent: list[Sent] = []
        """What left through the first language's output."""
        self.others: dict[str, list[Sent]] = {}
        self.media_zero_ns: int | None = None
        """When the first unit that the worker got had been sent."""
        self.wires: list[Wire] = []
        self.dubbing = Delay()
        self.timeline = InputTimeline(
            delay_ms=delay_ms,
            generation=0,
            stored=stored,
            utc_now_ns=lambda: UTC_AT_START_NS + self.now_ns,
            local_now_ns=lambda: self.now_ns,
        )
        self.ingest = IngestKeeper(
            lambda _: Play(self), name="in", started_ns=start_ns, on_failure=lambda: None
        )
        self.video = VideoDelayLine(64 * 1024 * 1024)
        self.audio = AudioInput(ClickDecoder)
        self.stream = Stream(
            timing=StreamTiming(self.delay_ns, 400 * NS_PER_MS),
            timeline=self.timeline,
            ingest=self.ingest,
            audio=self.audio,
            video=self.video,
            dubbing=self.dubbing,
            make_encoder=make_encoder,
            make_egress=self._make_egress,
        )
        self.egress = self.stream.egress

    def run_until(self, local_ns: int) -> None:
        """Tick as the worker does."""
        while self.now_ns < local_ns:
            self.stream.tick(self.now_ns)
            self.now_ns = self.stream.next_tick_ns(self.now_ns)

    def output_refused(self, track: str = "") -> bool:
        refusals = self.other_refusals.get(track, []) if track else self.refusals
        return any(begin <= self.now_ns < end for begin, end in refusals)

    def output_blocked(self, track: str = "") -> bool:
        blocks = self.other_blocks.get(track, []) if track else self.blocks
        return any(begin <= self.now_ns < end for begin, end in blocks)

    def sent_by(self, track: str) -> list[Sent]:
        return self.others.setdefault(track, []) if track else self.sent

    def _make_egress(self, track: str) -> Egress:
        return Egress(
            lambda: self._connect(track),
            due_ns=lambda media_ns: self.timeline.clock.local_ns(media_ns) + self.delay_ns,
            delay_ns=self.delay_ns,
            name=f"out-{track}" if track else "out",
            on_failure=lambda: None,
        )

    def _connect(self, track: str) -> Wire:
        wire = Wire(self, track)
        self.wires.append(wire)
        return wire

    # ---- what was measured

    def media(self, kind: TagType) -> list[Sent]:
        """Media tags of one kind, without headers."""
        return [s for s in self.sent if s.tag.tag_type == kind and s.tag.body[1] == 1]

    def audio_steps_ms(self) -> list[int]:
        """Differences between neighbouring audio time stamps."""
        stamps = [s.tag.timestamp_ms for s in self.media(TagType.AUDIO)]
        return [b - a for a, b in itertools.pairwise(stamps)]

    def flashes_ms(self) -> list[float]:
        """Presentation times of flashes on the wire."""
        return [
            s.tag.timestamp_ms + int.from_bytes(s.tag.body[2:5], "big", signed=True)
            for s in self.media(TagType.VIDEO)
            if s.tag.body[5:] == b"flash"
        ]

    def clicks_ms(self) -> list[float]:
        """Times of clicks on the wire."""
        times = []
        for s in self.media(TagType.AUDIO):
            (click,) = struct.unpack(">i", s.tag.body[2:])
            if click >= 0:
                times.append(s.tag.timestamp_ms + click / 48)
        return times

    def offsets_ms(self) -> list[float]:
        """Click minus flash, for every flash that has a click within half a second."""
        clicks = np.array(self.clicks_ms())
        offsets = []
        for flash in self.flashes_ms():
            nearest = clicks[np.argmin(np.abs(clicks - flash))]
            if abs(nearest - flash) < 500:
                offsets.append(float(nearest - flash))
        return offsets

    def video_delays_ms(self, source: Source) -> list[float]:
        """For each picture: when it left minus when it was sent."""
        arrivals = {a.unit.data: a.local_ns for a in source.units() if isinstance(a.unit, VideoUnit)}
        return [
            (s.local_ns - arrivals[s.tag.body[5:]]) / 1e6
            for s in self.media(TagType.VIDEO)
            if s.tag.body[5:] in arrivals and s.tag.body[5:] != b"flash"
        ]
