"""Which wording of a dub fits the time its source took.

A shorter wording is preferred to faster speech, as human dubbers do: they keep to natural tempo even where timing
suffers (Brannon, Virkar, Thompson: Dubbing in Practice, TACL 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from livedub.errors import InvalidInputError
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.slot import Slot

MAX_TEMPO = 1.25
"""Above this a shorter wording is looked for."""

_LEAST_SHARE = 0.4
"""A candidate much shorter than the best translation has left out more than words: it is no wording of it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One wording: how long a voice takes for it at its natural pace, and what speaks against it (0 nothing)."""

    text: str
    natural_ms: int
    penalty: float = 0.0


def needed_tempo(natural_ms: int, slot: Slot) -> float:
    """The slowest tempo, 1.0 at least, at which `natural_ms` of speech ends within the slot's room.

    Infinite where the slot has no room.
    """
    room_ms = slot.room_ns / NS_PER_MS
    if natural_ms <= room_ms:
        return 1.0
    return natural_ms / room_ms if room_ms > 0 else float("inf")


def choose(candidates: Sequence[Candidate], slot: Slot, max_tempo: float = MAX_TEMPO) -> Candidate:
    """The best wording that fits at `max_tempo`; the shortest where none does.

    Candidates come best first. Of those that fit, the one with the least penalty is chosen, the earlier among equals.

    Raises:
        InvalidInputError: there is no candidate.
    """
    if not candidates:
        raise InvalidInputError("candidates is empty.", remedy="Pass the translation itself at least.")
    best = candidates[0]
    credible = [one for one in candidates if one.natural_ms >= _LEAST_SHARE * best.natural_ms]
    fitting = [one for one in credible if needed_tempo(one.natural_ms, slot) <= max_tempo]
    if fitting:
        return min(fitting, key=lambda one: one.penalty)
    return min(credible, key=lambda one: (one.natural_ms, one.penalty))
