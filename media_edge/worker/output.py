"""One language on its way out: mixer, encoder and egress, on the timeline that all outputs of a stream share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.timeline.clock import samples_to_ns
from livedub.timeline.publisher_clock import PublisherClock
from media_edge.worker.egress import Egress, in_sending_order
from media_edge.worker.mixer import BlockSource, DeadlineMixer
from media_edge.worker.units import AAC_FRAME_SAMPLES, AudioFormat, AudioUnit, VideoUnit


class AudioEncoder(Protocol):
    """A continuous AAC track."""

    @property
    def codec_data(self) -> bytes:
        """The AudioSpecificConfig."""
        ...

    @property
    def next_position(self) -> int:
        """Position of the first sample of the frame `pull` returns next."""
        ...

    def push(self, samples: Samples) -> None:
        """Append samples."""
        ...

    def pull(self) -> list[tuple[int, bytes]]:
        """Frames ready now, each with its position."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """D and how long before the air a block is mixed."""

    delay_ns: int
    mixer_lead_ns: int


class Output:
    """Mixes and encodes one language, and sends it with the pictures that all languages share.

    An output that begins while another runs (`beside`) starts at the other's next block, with AAC frames at the same
    positions, so that both carry the same timestamps.
    """

    def __init__(
        self,
        source: BlockSource,
        clock: PublisherClock,
        egress: Egress,
        make_encoder: Callable[[int], AudioEncoder],
        *,
        timing: StreamTiming,
        first_media_ns: int,
        connect_at_ns: int,
        beside: Output | None = None,
    ) -> None:
        if beside is not None:
            first_media_ns = samples_to_ns(beside.position, PROGRAMME_RATE_HZ)
        self._mixer = DeadlineMixer(
            source,
            clock,
            self._encode,
            first_media_ns=first_media_ns,
            delay_ns=timing.delay_ns,
            lead_ns=timing.mixer_lead_ns,
        )
        self._skip = 0
        if beside is not None:
            self._skip = (beside.next_position - self._mixer.position) % AAC_FRAME_SAMPLES
        self._encoder = make_encoder(self._mixer.position + self._skip)
        self._format: AudioFormat | None = None
        self._video: deque[VideoUnit] = deque()
        self.egress = egress
        self.connect_at_ns = connect_at_ns

    @property
    def position(self) -> int:
        """First sample not mixed yet."""
        return self._mixer.position

    @property
    def next_position(self) -> int:
        """First sample not encoded yet."""
        return self._encoder.next_position

    @property
    def rung(self) -> str:
        """The rung on the air; empty before the first block."""
        return self._mixer.rung

    def next_deadline_ns(self) -> int:
        """Local time at which the next block must be mixed."""
        return self._mixer.next_deadline_ns()

    def advance(self, now_ns: int) -> None:
        """Mix every block whose deadline has come."""
        self._mixer.advance(now_ns)

    def encoded(self) -> list[AudioUnit]:
        """The AAC frames ready since the last call.

        Raises:
            LivedubError: the encoder failed; this output cannot go on.
        """
        frames = self._encoder.pull()
        if not frames:
            return []
        if self._format is None:
            self._format = AudioFormat(self._encoder.codec_data)
        audio_format = self._format
        return [
            AudioUnit(samples_to_ns(position, PROGRAMME_RATE_HZ), data, audio_format)
            for position, data in frames
        ]

    def show(self, pictures: Iterable[VideoUnit]) -> None:
        """Take pictures, to leave with the sound of their time. They are references: no picture is copied."""
        self._video.extend(pictures)

    def send(self, audio: list[AudioUnit], now_ns: int) -> None:
        """Hand `audio` and the pictures up to its end to the egress."""
        if audio:
            end_ns = samples_to_ns(self._encoder.next_position, PROGRAMME_RATE_HZ)
            video: list[VideoUnit] = []
            while self._video and self._video[0].dts_ns < end_ns:
                video.append(self._video.popleft())
            self.egress.send(in_sending_order(video, audio), now_ns)

    def close(self) -> None:
        """Free mixer and encoder; the egress is left to its owner."""
        self._video.clear()
        self._encoder.close()

    def _encode(self, samples: Samples) -> None:
        skipped, self._skip = self._skip, 0
        self._encoder.push(samples[skipped:])
