"""One fragment's life inside the session, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from livedub.audio.pcm import Samples
from livedub.dubbing.config import FIRST_TRACK, DubbingConfig
from livedub.sts.contract import StageTimings, Target, Transcript
from livedub.timeline.clock import NS_PER_MS, Span
from livedub.timeline.fragmenter import FragmentCut


@dataclass(slots=True)
class Outcome:
    """What STS made of a fragment in one language.

    `dub` is mono at the programme rate from the fragment's start, None when there is nothing to air; `reason` says
    why (`no_speech`, `late`, `sts_error:MODEL_ERROR`, `breaker_open`, ...) and is empty where there is a dub.
    `speechless` marks a fragment that STS heard no speech in: no dub is due, so its absence is no failure.
    `text` and `tempo` are what STS said of its dub, None where it made none; `cache_hit` tells that its speech was
    made for an earlier fragment.
    """

    dub: Samples | None = None
    dub_start_ns: int = 0
    reason: str = ""
    speechless: bool = False
    text: str | None = None
    tempo: float | None = None
    cache_hit: bool = False
    ready_ns: int | None = None

    @property
    def airable(self) -> bool:
        """Whether there is a dub to air."""
        return self.dub is not None


@dataclass(slots=True)
class LanguageDub:
    """A fragment in one language, from its cut to what became of it."""

    target: Target
    """What was asked for: a change of settings counts from the next fragment on."""
    text: str | None = None
    """The translation, as soon as it is known: before the sound, where STS tells it ahead."""
    outcome: Outcome | None = None
    rung: str = ""
    decision_reason: str = ""
    late: bool = False
    gain: float = 1.0
    dump: str | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more happens to it: it is decided what airs, and STS has answered."""
        return bool(self.rung) and self.outcome is not None


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
    dubs: dict[str, LanguageDub]
    """By track."""
    transcript: Transcript | None = None
    stage_timings: StageTimings | None = None
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    sent_ns: int | None = None
    answered: bool = False
    """Whether STS is done with it, well or not."""

    @property
    def first(self) -> LanguageDub:
        """The first track's dub."""
        return self.dubs[FIRST_TRACK]

    @property
    def span(self) -> Span:
        """Where it lies on the media timeline."""
        return Span(self.cut.start_ns, self.cut.end_ns)

    @property
    def settled(self) -> bool:
        """Whether nothing more happens to it in any language."""
        return self.answered and all(dub.settled for dub in self.dubs.values())

    def margin_ms(self, dub: LanguageDub) -> float | None:
        """Time between readiness and the deadline; negative is late, None when it never became ready."""
        if dub.outcome is None or dub.outcome.ready_ns is None:
            return None
        return (self.deadline_ns - dub.outcome.ready_ns) / NS_PER_MS


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
