"""Which rung of the degradation ladder goes on air, fragment by fragment.

A viewer minds a change of sound more than a worse sound, so the ladder is quick to step down a little and slow to come
back from far down. One miss costs one fragment of dub. Misses that repeat mean that something is broken: then the
original stays until the dub has proved itself, instead of two languages taking turns.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from livedub.errors import ConfigurationError
from livedub.timeline.clock import NS_PER_S


class Rung(str, Enum):
    """What is heard, best first."""

    DUB = "dub"
    """The dub over the background."""
    DUCKED = "ducked"
    """The original, turned down: the dub is late and expected back."""
    ORIGINAL = "original"
    """The original as it is: no dub to be expected for now."""


@dataclass(frozen=True, slots=True)
class LadderConfig:
    """Hysteresis.

    Attributes:
        misses_to_original: so many misses within `window_ns` mean that the dub is broken, whatever came between them.
        window_ns: how long a miss counts.
        ready_to_recover: so many dubs ready in a row lead back from `original`.

    Raises:
        ConfigurationError: a value is too small to mean anything.
    """

    misses_to_original: int = 3
    window_ns: int = 30 * NS_PER_S
    ready_to_recover: int = 2

    def __post_init__(self) -> None:
        if self.misses_to_original < 2 or self.window_ns <= 0 or self.ready_to_recover < 1:
            raise ConfigurationError(
                f"misses_to_original ({self.misses_to_original}), window_ns ({self.window_ns}) or ready_to_recover"
                f" ({self.ready_to_recover}) is too small.",
                remedy="Use at least 2 misses, a positive window and at least 1 ready dub.",
            )


@dataclass(frozen=True, slots=True)
class RungDecision:
    """The rung for one fragment, and why, in words for the event log."""

    rung: Rung
    reason: str


class Ladder:
    """Decides per fragment, in their order; the rung holds until the next decision.

    | now | dub ready | dub not ready |
    |---|---|---|
    | dub | dub | ducked |
    | ducked | dub | ducked; original at the Nth miss within the window |
    | original | original, until enough in a row are ready | original, and counting starts over |
    """

    __slots__ = ("_config", "_misses", "_ready_in_a_row", "_rung")

    def __init__(self, config: LadderConfig | None = None) -> None:
        self._config = config or LadderConfig()
        self._rung = Rung.DUB
        self._misses: deque[int] = deque(maxlen=self._config.misses_to_original)
        self._ready_in_a_row = 0

    @property
    def rung(self) -> Rung:
        """The rung of the latest decision; `dub` before the first."""
        return self._rung

    def decide(self, ready: bool, now_ns: int, *, cause: str = "not ready") -> RungDecision:  # noqa: FBT001
        """Choose the rung of the fragment whose air time has come.

        Args:
            ready: whether its dub is there.
            now_ns: time of the decision, on any clock that does not run back; the media time of the fragment will do.
            cause: why the dub is not there, for the reason.
        """
        return self._on_ready() if ready else self._on_miss(now_ns, cause)

    def _on_ready(self) -> RungDecision:
        if self._rung is Rung.DUB:
            return RungDecision(Rung.DUB, "ready")
        if self._rung is Rung.DUCKED:
            return self._step(Rung.DUB, "ready again after a miss")
        self._ready_in_a_row += 1
        needed = self._config.ready_to_recover
        if self._ready_in_a_row < needed:
            return RungDecision(
                Rung.ORIGINAL, f"ready, {self._ready_in_a_row} of {needed} in a row before dubbing again"
            )
        self._misses.clear()
        return self._step(Rung.DUB, f"recovered: {needed} ready in a row")

    def _on_miss(self, now_ns: int, cause: str) -> RungDecision:
        self._ready_in_a_row = 0
        if self._rung is Rung.ORIGINAL:
            return RungDecision(Rung.ORIGINAL, f"{cause}; still down")
        while self._misses and now_ns - self._misses[0] > self._config.window_ns:
            self._misses.popleft()
        self._misses.append(now_ns)
        limit = self._config.misses_to_original
        if len(self._misses) < limit:
            return self._step(Rung.DUCKED, f"{cause}; miss {len(self._misses)} of {limit}")
        return self._step(
            Rung.ORIGINAL, f"{cause}; {limit} misses within {self._config.window_ns // NS_PER_S} s"
        )

    def _step(self, rung: Rung, reason: str) -> RungDecision:
        self._rung = rung
        self._ready_in_a_row = 0
        return RungDecision(rung, reason)
