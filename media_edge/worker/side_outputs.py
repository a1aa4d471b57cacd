"""The outputs beside the first: one for each further language. Whatever happens to one, no other notices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from livedub.audio.pcm import PROGRAMME_RATE_HZ
from livedub.dubbing.config import FIRST_TRACK
from livedub.timeline.clock import NS_PER_S
from media_edge.worker.egress import Egress, EgressState
from media_edge.worker.mixer import BlockSource
from media_edge.worker.output import Output
from media_edge.worker.units import AudioUnit, VideoUnit

logger = logging.getLogger(__name__)

_RESTART_PAUSE_NS = 5 * NS_PER_S
_LEAVING_NS = 5 * NS_PER_S
_LAG_LIMIT_SAMPLES = 2 * PROGRAMME_RATE_HZ
"""An encoder that is so far behind the first output's stands still, and pictures pile up before it."""

BeginOutput = Callable[[BlockSource, Egress, int, Output | None], Output]
"""Source, egress, local time of connecting, output to begin beside."""


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """How one language's output is doing; `sent_media_ns` is None before anything was sent."""

    track: str
    state: EgressState
    sent_media_ns: int | None
    failing_ns: int
    rung: str


class SideOutputs:
    """Begins, turns and ends outputs as languages come and go.

    One that fails inside (its encoder, its mixer) is closed and begun anew 5 s later; its egress reconnects by itself.
    """

    def __init__(self, begin: BeginOutput, make_egress: Callable[[str], Egress]) -> None:
        self._begin = begin
        self._make_egress = make_egress
        self._outputs: dict[str, Output] = {}
        self._egresses: dict[str, Egress] = {}
        self._retry_at_ns: dict[str, int] = {}
        self._leaving: list[tuple[Egress, int]] = []
        self._broken: dict[str, Exception] = {}

    @property
    def finished(self) -> bool:
        """Whether everything left after `finish`."""
        return all(output.egress.finished for output in self._outputs.values())

    def statuses(self, now_ns: int) -> list[OutputStatus]:
        """How each is doing; one that waits to begin anew counts as backing off."""
        return [
            OutputStatus(
                track,
                egress.state if track in self._outputs else EgressState.BACKING_OFF,
                egress.sent_media_ns,
                egress.failing_for_ns(now_ns),
                self._outputs[track].rung if track in self._outputs else "",
            )
            for track, egress in self._egresses.items()
        ]

    def next_positions(self) -> list[int]:
        """First sample that each has not encoded yet."""
        return [output.next_position for output in self._outputs.values()]

    def follow(self, tracks: Mapping[str, BlockSource], first: Output, now_ns: int) -> None:
        """End what is no longer among `tracks`, begin what is new there, beside the first output."""
        for track in [track for track in self._egresses if track not in tracks]:
            self._end(track, now_ns)
        for track, output in list(self._outputs.items()):
            if first.next_position - output.next_position > _LAG_LIMIT_SAMPLES:
                self._broken[track] = TimeoutError("its encoder stands still")
        self._close_broken(now_ns)
        for track, source in tracks.items():
            due = now_ns >= self._retry_at_ns.get(track, 0)
            if due and track != FIRST_TRACK and track not in self._outputs:
                self._start(track, source, first, now_ns)

    def encoded(self) -> dict[str, list[AudioUnit]]:
        """The AAC frames that each has ready."""
        ready: dict[str, list[AudioUnit]] = {}
        for track, output in self._outputs.items():
            with self._alone(track):
                ready[track] = output.encoded()
        return ready

    def send(self, pictures: Sequence[VideoUnit], audio: Mapping[str, list[AudioUnit]], now_ns: int) -> None:
        """Hand each its own sound and the pictures of all."""
        for track, output in self._outputs.items():
            with self._alone(track):
                output.show(pictures)
                output.send(audio.get(track, []), now_ns)

    def advance(self, now_ns: int) -> None:
        """Mix every block whose deadline has come."""
        for track, output in self._outputs.items():
            with self._alone(track):
                output.advance(now_ns)

    def tick_egress(self, now_ns: int) -> None:
        """Connect, notice failures, follow what was sent; and let go of those that have played out."""
        for track, output in self._outputs.items():
            with self._alone(track):
                if now_ns >= output.connect_at_ns:
                    output.egress.tick(now_ns)
        staying: list[tuple[Egress, int]] = []
        for egress, until_ns in self._leaving:
            # Asked first: one without a connection would make a new one.
            if not egress.finished:
                egress.tick(now_ns)
            if egress.finished or now_ns >= until_ns:
                egress.close()
            else:
                staying.append((egress, until_ns))
        self._leaving = staying

    def finish(self) -> None:
        """Let what was handed over play out, then unpublish."""
        for track, output in self._outputs.items():
            with self._alone(track):
                output.egress.finish()

    def close(self) -> None:
        """Free everything at once."""
        for output in self._outputs.values():
            output.close()
        for egress in [*self._egresses.values(), *(egress for egress, _ in self._leaving)]:
            egress.close()
        self._outputs.clear()
        self._egresses.clear()
        self._leaving.clear()

    def _start(self, track: str, source: BlockSource, first: Output, now_ns: int) -> None:
        if track not in self._egresses:
            self._egresses[track] = self._make_egress(track)
        self._outputs[track] = self._begin(
            source, self._egresses[track], max(now_ns, first.connect_at_ns), first
        )
        logger.info("The dub in %s is published beside the first.", track)

    def _end(self, track: str, now_ns: int) -> None:
        egress = self._egresses.pop(track)
        self._retry_at_ns.pop(track, None)
        output = self._outputs.pop(track, None)
        if output is not None:
            output.close()
        logger.info("The dub in %s ends; the others go on.", track)
        egress.finish()
        self._leaving.append((egress, now_ns + _LEAVING_NS))

    def _close_broken(self, now_ns: int) -> None:
        while self._broken:
            track, error = self._broken.popitem()
            output = self._outputs.pop(track, None)
            if output is None:
                continue
            logger.error(
                "The output in %s failed (%s); it begins anew in %d s. The others go on.",
                track,
                error,
                _RESTART_PAUSE_NS // NS_PER_S,
                exc_info=error,
            )
            output.close()
            output.egress.close()
            self._retry_at_ns[track] = now_ns + _RESTART_PAUSE_NS

    @contextmanager
    def _alone(self, track: str) -> Iterator[None]:
        """Keep this output's failure to itself: the first output must not even be late."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told when the output is closed
            self._broken.setdefault(track, error)
