"""AAC units in media time to PCM at absolute sample positions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.audio.resample import slew
from livedub.timeline.alignment import SampleAligner
from livedub.timeline.clock import samples_to_ns
from media_edge.worker.units import AudioFormat, AudioUnit

logger = logging.getLogger(__name__)

_OFFSET_SMOOTHING = 0.05


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """PCM of one AAC frame: (n, 2) samples at 48 kHz whose first one plays at `pts_ns`."""

    pts_ns: int
    samples: Samples


class AudioDecoder(Protocol):
    """Turns AAC frames of one format into PCM, a little later."""

    def push(self, unit: AudioUnit) -> None:
        """Decode one frame."""
        ...

    def pull(self) -> list[DecodedAudio]:
        """What is decoded by now."""
        ...

    def failure(self) -> str | None:
        """Why the decoder stopped, if it did."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class AudioInput:
    """Decodes and lays PCM on the 48 kHz grid of the media timeline; a new format gets a new decoder."""

    def __init__(self, make_decoder: Callable[[AudioFormat], AudioDecoder]) -> None:
        self._make_decoder = make_decoder
        self._decoder: AudioDecoder | None = None
        self._format: AudioFormat | None = None
        self._aligner = SampleAligner(PROGRAMME_RATE_HZ)
        self._restart = False
        self.offset_ns = 0.0
        """Average of where samples were placed minus where their timestamps are: what this end adds to A/V sync."""

    def begin_session(self) -> None:
        """The next unit starts a new session: nothing may be carried over from the old one."""
        self._restart = True

    def push(self, unit: AudioUnit) -> None:
        """Decode one unit."""
        if self._decoder is None or self._restart or unit.format != self._format:
            self.close()
            self._decoder = self._make_decoder(unit.format)
            self._format = unit.format
            self._restart = False
            self._aligner.reset()
        self._decoder.push(unit)

    def poll(self) -> Iterator[tuple[int, Samples]]:
        """Runs of adjoining samples decoded since the last call: (position, (n, 2) samples)."""
        if self._decoder is None:
            return
        run: list[Samples] = []
        start = end = 0
        for decoded in self._decoder.pull():
            position, samples = self._place(decoded)
            if run and position != end:
                yield start, np.concatenate(run)
                run = []
            if not run:
                start = position
            run.append(samples)
            end = position + len(samples)
        if run:
            yield start, run[0] if len(run) == 1 else np.concatenate(run)
        failure = self._decoder.failure()
        if failure is not None:
            logger.warning("The audio decoder failed (%s); it starts anew with the next frame.", failure)
            self.close()

    def close(self) -> None:
        """Free the decoder."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _place(self, decoded: DecodedAudio) -> tuple[int, Samples]:
        placement = self._aligner.place(decoded.pts_ns, len(decoded.samples))
        placed_ns = samples_to_ns(placement.position - placement.overlap, PROGRAMME_RATE_HZ)
        self.offset_ns += (placed_ns - decoded.pts_ns - self.offset_ns) * _OFFSET_SMOOTHING
        return placement.position, slew(decoded.samples[placement.overlap :], placement.samples)
