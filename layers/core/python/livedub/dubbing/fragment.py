"""One fragment's life inside the session, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livedub.audio.pcm import Samples
from livedub.dubbing.config import DubbingConfig
from livedub.sts.contract import StsResult
from livedub.timeline.clock import NS_PER_MS, Span
from livedub.timeline.fragmenter import FragmentCut


@dataclass(slots=True)
class Outcome:
    """What STS made of a fragment.

    `dub` is mono at the programme rate from the fragment's start, None when there is nothing to air; `reason` says
    why (`no_speech`, `late`, `sts_error:MODEL_ERROR`, `breaker_open`, ...) and is empty where there is a dub.
    `speechless` marks a fragment that STS heard no speech in: no dub is due, so its absence is no failure.
    """

    dub: Samples | None = None
    dub_start_ns: int = 0
    reason: str = ""
    speechless: bool = False
    result: StsResult | None = None
    sent_ns: int | None = None
    ready_ns: int | None = None

    @property
    def airable(self) -> bool:
        """Whether there is a dub to air."""
        return self.dub is not None


@dataclass(slots=True)
class DubbingFragment:
    """A fragment between its cut and its event-log line; positions are 48 kHz samples on the media timeline."""

    config: DubbingConfig
    """The session's, as it was when the fragment was cut: a change counts from the next fragment on."""
    sequence_number: int
    cut: FragmentCut
    start_position: int
    end_position: int
    deadline_ns: int
    """Media time of arrival after which its dub cannot air any more."""
    outcome: Outcome | None = None
    rung: str = ""
    decision_reason: str = ""
    late: bool = False
    gain: float = 1.0
    dump: str | None = None

    @property
    def span(self) -> Span:
        """Where it lies on the media timeline."""
        return Span(self.cut.start_ns, self.cut.end_ns)

    @property
    def margin_ms(self) -> float | None:
        """Time between readiness and the deadline; negative is late, None when it never became ready."""
        if self.outcome is None or self.outcome.ready_ns is None:
            return None
        return (self.deadline_ns - self.outcome.ready_ns) / NS_PER_MS


@dataclass(slots=True)
class DubClip:
    """A dub being played: mono samples from `position`, at `gain`."""

    position: int
    samples: Samples
    gain: float = 1.0

    @property
    def end(self) -> int:
        """One past its last sample."""
        return self.position + len(self.samples)

    def fade_out_at(self, position: int, ramp: int) -> None:
        """End the clip at `position` with a linear fade of `ramp` samples."""
        count = max(0, position - self.position)
        if count >= len(self.samples):
            return
        samples = self.samples[:count].copy()
        fade = min(ramp, count)
        if fade:
            samples[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        self.samples = samples


@dataclass(frozen=True, slots=True)
class RenderedBlock:
    """A block ready for the encoder: (n, 2) samples and the rung on the air at its end."""

    samples: Samples
    rung: str
