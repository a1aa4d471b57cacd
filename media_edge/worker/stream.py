"""One stream from arrivals to tags: everything between ingest and egress, driven by one tick.

Single-threaded and without a clock of its own: the caller passes local time, so tests drive it in virtual time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.dubbing.config import FIRST_TRACK
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, samples_to_ns
from media_edge.worker.audio_input import AudioInput
from media_edge.worker.egress import Egress, EgressState
from media_edge.worker.ingest import IngestKeeper
from media_edge.worker.input_timeline import InputTimeline
from media_edge.worker.mixer import BlockSource
from media_edge.worker.output import AudioEncoder, Output, StreamTiming
from media_edge.worker.side_outputs import OutputStatus, SideOutputs
from media_edge.worker.stream_state import StreamState
from media_edge.worker.units import Arrival, AudioFormat, AudioUnit, VideoFormat, VideoUnit
from media_edge.worker.video_delay import VideoDelayLine

logger = logging.getLogger(__name__)

_CONNECT_AHEAD_NS = 2 * NS_PER_S
"""The output connects this long before its first tag is due: long enough for a slow handshake, short enough for
servers that drop a publisher who sends nothing."""
_LONGEST_TICK_NS = 100 * NS_PER_MS
_SHORTEST_TICK_NS = 5 * NS_PER_MS
_INPUT_PAUSE_NS = 1_500 * NS_PER_MS
_TRACK_PATIENCE_NS = 5 * NS_PER_S
_PLAYOUT_MARGIN_NS = 200 * NS_PER_MS
_LAST_OUTPUT_PATIENCE_NS = NS_PER_S


class Dubbing(Protocol):
    """The dubbing session as the worker uses it."""

    @property
    def tracks(self) -> Mapping[str, BlockSource]:
        """What to publish: the first language's blocks, and those of each other language by its code."""
        ...

    def push(self, position: int, samples: Samples) -> None:
        """Take (n, 2) samples at an absolute position."""
        ...

    def end_of_input(self) -> None:
        """No more input for now."""
        ...


class Stream:
    """Moves media from one end to the other.

    The owner calls `tick` at `next_tick_ns`, or later. A block is encoded by the tick after its deadline, and its first
    frame is due `lead` - 160 ms after the deadline (the encoder holds back 60 ms of a block of 100 ms): what is left of
    that is the reserve against a late tick.
    """

    def __init__(
        self,
        *,
        timing: StreamTiming,
        timeline: InputTimeline,
        ingest: IngestKeeper,
        audio: AudioInput,
        video: VideoDelayLine,
        dubbing: Dubbing,
        make_encoder: Callable[[int], AudioEncoder],
        make_egress: Callable[[str], Egress],
    ) -> None:
        """`make_egress` makes the egress of a track of the dub: of the first at once, of others as they come."""
        self._timing = timing
        self._timeline = timeline
        self._ingest = ingest
        self._audio = audio
        self._video = video
        self._dubbing = dubbing
        self._make_encoder = make_encoder
        self._egress = make_egress(FIRST_TRACK)
        self._first: Output | None = None
        self._others = SideOutputs(self._begin_output, make_egress)
        self._session = 0
        self._session_began_ns = 0
        self._input_open = False
        self._tracks: set[type] = set()
        self._told_missing_track = False
        self._formats: dict[str, VideoFormat | AudioFormat] = {}
        self._draining_until_ns: int | None = None
        self._finishing = False
        self._first_finished_ns: int | None = None

    @property
    def egress(self) -> Egress:
        """The first language's."""
        return self._egress

    @property
    def rung(self) -> str:
        """The rung on the air in the first language; empty before the first block."""
        return self._first.rung if self._first else ""

    def outputs(self, now_ns: int) -> list[OutputStatus]:
        """How each language's output is doing, the first one's first."""
        rung, egress = self.rung, self._egress
        first = OutputStatus(
            FIRST_TRACK, egress.state, egress.sent_media_ns, egress.failing_for_ns(now_ns), rung
        )
        return [first, *self._others.statuses(now_ns)]

    def state(self, now_ns: int) -> StreamState:
        """What the stream is doing; judged by the first language's output."""
        if self._finishing:
            return StreamState.ENDED if self._has_ended(now_ns) else StreamState.DRAINING
        if self._draining_until_ns is not None:
            return StreamState.DRAINING
        if self._first is None:
            return StreamState.WAITING
        if now_ns < self._first.connect_at_ns + _CONNECT_AHEAD_NS:
            return StreamState.BUFFERING
        if self._egress.state is not EgressState.LIVE:
            return StreamState.OUTPUT_DOWN
        return StreamState.LIVE if self._input_open else StreamState.INPUT_ABSENT

    def next_tick_ns(self, now_ns: int) -> int:
        """When to tick next: at the deadline of the next block, which is also often enough for everything else."""
        latest_ns = now_ns + _LONGEST_TICK_NS
        if self._first is None or self._finishing:
            return latest_ns
        return min(latest_ns, max(now_ns + _SHORTEST_TICK_NS, self._first.next_deadline_ns()))

    def tick(self, now_ns: int) -> None:
        """Do everything that is due."""
        self._take_input(now_ns)
        first = self._first
        if first is None:
            if self._draining_until_ns is not None:
                self._finishing = True
            return
        if self._draining_until_ns is None:
            self._others.follow(self._dubbing.tracks, first, now_ns)
        self._send(first, now_ns)
        if self._finishing:
            self._egress.tick(now_ns)
            self._others.tick_egress(now_ns)
            if self._first_finished_ns is None and self._egress.finished:
                self._first_finished_ns = now_ns
            return
        first.advance(now_ns)
        self._others.advance(now_ns)
        if now_ns >= first.connect_at_ns:
            self._egress.tick(now_ns)
        self._others.tick_egress(now_ns)
        self._end_drain(now_ns)

    def drain(self, now_ns: int) -> None:
        """Take no more input; what is buffered plays out, then the outputs end."""
        if self._draining_until_ns is not None:
            return
        self._ingest.stop()
        self._close_input()
        newest_ns = self._timeline.newest_media_ns
        self._draining_until_ns = now_ns
        if newest_ns is not None:
            due_ns = self._timeline.clock.local_ns(newest_ns) + self._timing.delay_ns
            self._draining_until_ns = max(now_ns, due_ns + _PLAYOUT_MARGIN_NS)

    def close(self) -> None:
        """Free everything at once."""
        self._ingest.stop()
        self._audio.close()
        if self._first is not None:
            self._first.close()
        self._egress.close()
        self._others.close()

    def _has_ended(self, now_ns: int) -> bool:
        """Whether every output has played out; the first one's end waits for no other for long."""
        if not self._egress.finished:
            return False
        waited_ns = 0 if self._first_finished_ns is None else now_ns - self._first_finished_ns
        return self._others.finished or waited_ns > _LAST_OUTPUT_PATIENCE_NS

    def _take_input(self, now_ns: int) -> None:
        arrivals = self._ingest.tick(now_ns)
        if arrivals and self._ingest.sessions != self._session:
            self._begin_session(now_ns)
        for arrival in self._timeline.accept(arrivals):
            self._take(arrival)
        for position, samples in self._audio.poll():
            self._dubbing.push(position, samples)
        if self._input_open:
            self._watch_tracks(now_ns)
            if self._ingest.absent_for_ns(now_ns) > _INPUT_PAUSE_NS:
                self._close_input()

    def _begin_session(self, now_ns: int) -> None:
        self._session = self._ingest.sessions
        self._session_began_ns = now_ns
        self._tracks.clear()
        self._told_missing_track = False
        self._timeline.begin_session()
        self._audio.begin_session()
        self._video.await_keyframe()

    def _take(self, arrival: Arrival) -> None:
        unit = arrival.unit
        self._input_open = True
        self._tracks.add(type(unit))
        if isinstance(unit, VideoUnit):
            self._tell_format("Video", unit.format)
            self._video.push(unit)
        else:
            self._tell_format("Audio", unit.format)
            self._audio.push(unit)
        if self._first is None:
            self._first = self._start_output()

    def _start_output(self) -> Output:
        connect_at_ns = self._timeline.clock.local_ns(self._timeline.first_media_ns) + self._timing.delay_ns
        return self._begin_output(
            self._dubbing.tracks[FIRST_TRACK], self._egress, connect_at_ns - _CONNECT_AHEAD_NS, None
        )

    def _begin_output(
        self, source: BlockSource, egress: Egress, connect_at_ns: int, beside: Output | None
    ) -> Output:
        return Output(
            source,
            self._timeline.clock,
            egress,
            self._make_encoder,
            timing=self._timing,
            first_media_ns=self._timeline.first_media_ns,
            connect_at_ns=connect_at_ns,
            beside=beside,
        )

    def _send(self, first: Output, now_ns: int) -> None:
        audio = first.encoded()
        others = self._others.encoded()
        # One delay line serves all: a picture leaves it when the output that is furthest needs it.
        furthest = max([first.next_position, *self._others.next_positions()])
        pictures = self._video.take_before(samples_to_ns(furthest, PROGRAMME_RATE_HZ))
        first.show(pictures)
        first.send(audio, now_ns)
        self._others.send(pictures, others, now_ns)

    def _close_input(self) -> None:
        if self._input_open:
            self._input_open = False
            self._dubbing.end_of_input()

    def _end_drain(self, now_ns: int) -> None:
        if self._draining_until_ns is not None and now_ns >= self._draining_until_ns:
            self._finishing = True
            self._egress.finish()
            self._others.finish()

    def _tell_format(self, track: str, media_format: VideoFormat | AudioFormat) -> None:
        before = self._formats.get(track)
        if media_format is not before and media_format != before:
            logger.info("%s is %s%s.", track, media_format, "" if before is None else " from now on")
        self._formats[track] = media_format

    def _watch_tracks(self, now_ns: int) -> None:
        if self._told_missing_track or now_ns - self._session_began_ns < _TRACK_PATIENCE_NS:
            return
        self._told_missing_track = True
        if AudioUnit not in self._tracks:
            logger.warning("The publisher sends no usable audio: the output's audio is silent.")
        if VideoUnit not in self._tracks:
            logger.warning("The publisher sends no usable video: the output has audio alone.")
