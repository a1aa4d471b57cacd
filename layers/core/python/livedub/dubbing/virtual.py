"""Runs a session on a virtual clock: as fast as STS answers, with nothing ever late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Protocol

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.dubbing.config import FIRST_TRACK, DubbingConfig
from livedub.dubbing.fragment import RenderedBlock
from livedub.timeline.clock import ns_to_samples, samples_to_ns

BLOCK_SAMPLES = PROGRAMME_RATE_HZ // 10


class RenderedTrack(Protocol):
    """One language's programme, to be had piece by piece."""

    def render(self, position: int, count: int) -> RenderedBlock:
        """What is heard for `count` samples from `position`."""
        ...


class OfflineSession(Protocol):
    """What of a dubbing session a run without real time needs."""

    @property
    def tracks(self) -> Mapping[str, RenderedTrack]:
        """What is dubbed into."""
        ...

    def start(self) -> None:
        """Before the first `push`."""
        ...

    def push(self, position: int, samples: Samples) -> None:
        """Take the programme, in order."""
        ...

    def end_of_input(self) -> None:
        """No more of it."""
        ...

    async def settle(self, position: int) -> None:
        """Wait until everything before `position` can be rendered for good."""
        ...

    async def aclose(self) -> None:
        """End it; safe after any other call."""
        ...


class VirtualClock:
    """Media time that stands where the input stands."""

    def __init__(self) -> None:
        self.position = 0

    def now_media_ns(self) -> int:
        """Media time of the newest input, in nanoseconds."""
        return samples_to_ns(self.position, PROGRAMME_RATE_HZ)


async def dub_programme(
    session: OfflineSession,
    clock: VirtualClock,
    config: DubbingConfig,
    programme: Iterable[tuple[int, Samples]],
) -> AsyncIterator[tuple[int, RenderedBlock]]:
    """The first track of `dub_tracks`."""
    async for position, blocks in dub_tracks(session, clock, config, programme):
        yield position, blocks[FIRST_TRACK]


async def dub_tracks(
    session: OfflineSession,
    clock: VirtualClock,
    config: DubbingConfig,
    programme: Iterable[tuple[int, Samples]],
) -> AsyncIterator[tuple[int, dict[str, RenderedBlock]]]:
    """Push (position, (n, 2) samples) in order through `session`; yields (position, block by track) over the same span.

    Blocks start at the first input position and end at the last. Before each block the clock waits for every
    fragment it needs, so only STS failures cost a dub.
    """
    behind = ns_to_samples(config.delay_ns - config.mixer_lead_ns, PROGRAMME_RATE_HZ)
    rendered: int | None = None
    for position, samples in programme:
        rendered = position if rendered is None else rendered
        session.push(position, samples)
        clock.position = position + len(samples)
        await asyncio.sleep(0)
        while rendered + BLOCK_SAMPLES + behind <= clock.position:
            yield await _render(session, rendered, BLOCK_SAMPLES)
            rendered += BLOCK_SAMPLES
    if rendered is None:
        return
    session.end_of_input()
    while rendered < clock.position:
        count = min(BLOCK_SAMPLES, clock.position - rendered)
        yield await _render(session, rendered, count)
        rendered += count


async def _render(session: OfflineSession, position: int, count: int) -> tuple[int, dict[str, RenderedBlock]]:
    await session.settle(position + count)
    return position, {key: track.render(position, count) for key, track in session.tracks.items()}
