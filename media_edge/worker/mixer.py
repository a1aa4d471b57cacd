"""The deadline mixer: every block leaves on time, with whatever is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.dubbing.fragment import RenderedBlock
from livedub.timeline.clock import ns_to_samples, samples_to_ns
from livedub.timeline.publisher_clock import PublisherClock

BLOCK_SAMPLES = PROGRAMME_RATE_HZ // 10
_MAX_BLOCKS_AT_ONCE = 20
"""After a stall (a suspended machine) the mixer catches up in steps, so that the loop stays responsive."""


class BlockSource(Protocol):
    """Renders what is due, from whatever has arrived and been dubbed by now."""

    def render(self, position: int, count: int) -> RenderedBlock:
        """What goes to air for `count` samples from `position`."""
        ...


class DeadlineMixer:
    """Renders 100 ms blocks, each `lead_ns` before its end is due on air.

    It starts with the block that holds `first_media_ns` and never leaves one out.
    """

    def __init__(
        self,
        source: BlockSource,
        clock: PublisherClock,
        emit: Callable[[Samples], None],
        *,
        first_media_ns: int,
        delay_ns: int,
        lead_ns: int,
    ) -> None:
        self._source = source
        self._clock = clock
        self._emit = emit
        self._head_start_ns = delay_ns - lead_ns
        self._position = ns_to_samples(first_media_ns, PROGRAMME_RATE_HZ) // BLOCK_SAMPLES * BLOCK_SAMPLES
        self.rung = ""

    @property
    def position(self) -> int:
        """First sample not rendered yet."""
        return self._position

    def next_deadline_ns(self) -> int:
        """Local time at which the next block must be rendered."""
        end_ns = samples_to_ns(self._position + BLOCK_SAMPLES, PROGRAMME_RATE_HZ)
        return self._clock.local_ns(end_ns) + self._head_start_ns

    def advance(self, local_now_ns: int) -> int:
        """Render every block whose deadline has come; returns how many."""
        rendered = 0
        while rendered < _MAX_BLOCKS_AT_ONCE and self.next_deadline_ns() <= local_now_ns:
            block = self._source.render(self._position, BLOCK_SAMPLES)
            self._emit(block.samples)
            self.rung = block.rung
            self._position += BLOCK_SAMPLES
            rendered += 1
        return rendered
