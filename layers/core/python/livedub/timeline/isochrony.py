"""Isochrony: makes dubbed speech fit the time its source took.

Tempo is the speed of the dub over the voice's natural one. It comes first from synthesis, which sounds best, and only
the rest from time stretching. What may be used, in this order: the time of the source's speech, the pause after it
(`room`), and only then a faster tempo. A dub shorter than its source is not dragged out: down to `FILL_TEMPO` slower
speech still sounds natural, the rest stays silent.

A dub keeps near the tempo of the one before (`neighbours`), unless words would be lost: what ends within its room may
be hastened for the neighbour's sake, what would pass it is as fast as it needs to be.

Human dubbing weighs things the same way: natural tempo before exact timing (Brannon, Virkar, Thompson: Dubbing in
Practice, TACL 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.clock import ns_to_samples, samples_to_ns

FILL_TEMPO = 0.9
"""The slowest tempo chosen just to fill the source's time."""

_KEEP_WITHIN = (
    0.125  # speech that fits is not stretched for less: the artefacts cost more than the timing gains
)


@dataclass(frozen=True, slots=True)
class TempoRange:
    """Tempos that do not stand out beside a neighbour's."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ConfigurationError(
                f"low ({self.low}) and high ({self.high}) are no range of tempos.",
                remedy="Set 0 < low <= high.",
            )

    def clamp(self, tempo: float) -> float:
        """The tempo of the range that is nearest to `tempo`."""
        return _clamp(tempo, self.low, self.high)


ANY_TEMPO = TempoRange(1e-3, 1e3)
"""Where there is no neighbour."""


@dataclass(frozen=True, slots=True)
class TempoLimits:
    """Bounds of tempo as a whole, and of the part of it that synthesis may take.

    `neighbours` are the tempos near that of the dub before; words come before them.

    Raises:
        ConfigurationError: bounds out of order, or natural speed (1.0) not within them.
    """

    min_tempo: float = 0.8
    max_tempo: float = 1.6
    min_tts_speed: float = 0.85
    max_tts_speed: float = 1.3
    neighbours: TempoRange = ANY_TEMPO

    def __post_init__(self) -> None:
        if not 0 < self.min_tempo <= self.min_tts_speed <= 1.0 <= self.max_tts_speed <= self.max_tempo:
            raise ConfigurationError(
                f"min_tempo ({self.min_tempo}), min_tts_speed ({self.min_tts_speed}), max_tts_speed"
                f" ({self.max_tts_speed}) and max_tempo ({self.max_tempo}) do not enclose natural speed in this order.",
                remedy="Set 0 < min_tempo <= min_tts_speed <= 1 <= max_tts_speed <= max_tempo.",
            )


DEFAULT_LIMITS = TempoLimits()


@dataclass(frozen=True, slots=True)
class FitPlan:
    """What to ask of synthesis. `tempo` is what the fragment needs; stretching does what `tts_speed` leaves of it."""

    tts_speed: float
    tempo: float


@dataclass(frozen=True, slots=True)
class StretchPlan:
    """How to lay synthesised speech into its fragment, to the sample.

    The dub is `lead_samples` of silence, the speech stretched to `out_samples` and shortened at its end by
    `trim_samples`, then `pad_samples` of silence.

    Attributes:
        stretch_ratio: output over input duration; exactly 1 where nothing is to be stretched.
        out_samples: speech after stretching, before trimming.
        lead_samples: silence from the fragment's start to the source's speech.
        pad_samples: silence up to the fragment's end; 0 if speech reaches or passes it.
        trim_samples: what does not fit even at the highest tempo. Words are lost here: fade them out.
        tempo: speed over the voice's natural one, synthesis and stretching together.
        overflow_ns: how far the dub runs past the fragment's end.
    """

    stretch_ratio: float
    out_samples: int
    lead_samples: int
    pad_samples: int
    trim_samples: int
    tempo: float
    overflow_ns: int

    @property
    def total_samples(self) -> int:
        """Length of the finished dub, never shorter than its fragment."""
        return self.lead_samples + self.out_samples - self.trim_samples + self.pad_samples


def plan_speed(
    *,
    natural_ns: int,
    speech_ns: int,
    room_ns: int,
    limits: TempoLimits = DEFAULT_LIMITS,
) -> FitPlan:
    """Choose the speed of synthesis, from an estimate, before the fact.

    Args:
        natural_ns: how long the voice would take at speed 1.
        speech_ns: how long the source spoke.
        room_ns: from the start of speech to the last moment at which the dub may sound.
        limits: bounds of tempo.

    Raises:
        InvalidInputError: a duration is negative.
    """
    _reject_negative(natural_ns=natural_ns, speech_ns=speech_ns, room_ns=room_ns)
    tempo = _wanted_tempo(natural_ns, speech_ns, room_ns, limits)
    return FitPlan(tts_speed=_clamp(tempo, limits.min_tts_speed, limits.max_tts_speed), tempo=tempo)


def plan_stretch(
    *,
    spoken_samples: int,
    rate_hz: int,
    tts_speed: float,
    lead_ns: int,
    speech_ns: int,
    room_ns: int,
    fragment_ns: int,
    limits: TempoLimits = DEFAULT_LIMITS,
) -> StretchPlan:
    """Fit what synthesis made.

    Args:
        spoken_samples: length of the synthesised speech, without silence around it.
        rate_hz: its sample rate, and that of the plan.
        tts_speed: speed it was spoken at, as the engine reports it.
        lead_ns: from the fragment's start to the start of the source's speech.
        speech_ns: how long the source spoke.
        room_ns: from the start of speech to the last moment at which the dub may sound.
        fragment_ns: the fragment's length.
        limits: bounds of tempo.

    Raises:
        InvalidInputError: a length is negative, or the speed or the rate is not positive.
    """
    _reject_negative(
        spoken_samples=spoken_samples,
        lead_ns=lead_ns,
        speech_ns=speech_ns,
        room_ns=room_ns,
        fragment_ns=fragment_ns,
    )
    if tts_speed <= 0 or rate_hz <= 0:
        raise InvalidInputError(
            f"tts_speed ({tts_speed}) or rate_hz ({rate_hz}) is not positive.",
            remedy="Pass the speed and the rate that the engine reports.",
        )
    lead = ns_to_samples(lead_ns, rate_hz)
    fragment = ns_to_samples(fragment_ns, rate_hz)
    room = ns_to_samples(lead_ns + room_ns, rate_hz) - lead
    natural = spoken_samples * tts_speed
    tempo = _wanted_tempo(natural, ns_to_samples(speech_ns, rate_hz), room, limits)
    out = spoken_samples
    if spoken_samples > room or not _may_stay(tts_speed, tempo, limits):
        out = _stretched_samples(natural, tempo, room, limits)
    trim = max(0, out - room)
    end = lead + out - trim
    return StretchPlan(
        stretch_ratio=out / spoken_samples if spoken_samples else 1.0,
        out_samples=out,
        lead_samples=lead,
        pad_samples=max(0, fragment - end),
        trim_samples=trim,
        tempo=natural / out if out else tts_speed,
        overflow_ns=samples_to_ns(max(0, end - fragment), rate_hz),
    )


def _may_stay(tts_speed: float, tempo: float, limits: TempoLimits) -> bool:
    """Whether what was spoken at `tts_speed` is near enough to `tempo` to go unstretched."""
    return (
        limits.min_tempo <= tts_speed <= limits.max_tempo
        and abs(tempo / tts_speed - 1) <= _KEEP_WITHIN
        and limits.neighbours.clamp(tts_speed) == tts_speed
    )


def _stretched_samples(natural: float, tempo: float, room: int, limits: TempoLimits) -> int:
    """Samples of speech at `tempo`, to the sample within the bounds."""
    shortest = math.ceil(natural / limits.max_tempo)
    longest = math.floor(natural / limits.min_tempo)
    # Rounding down keeps speech that should just fit its room from passing it by a sample; the millionth makes up for
    # division in floating point.
    out = max(shortest, min(longest, math.floor(natural / tempo + 1e-6)))
    if out < min(room, longest) and natural > out * limits.neighbours.high:
        return out + 1
    return out


def _wanted_tempo(natural: float, speech: float, room: float, limits: TempoLimits) -> float:
    """Natural tempo where that ends between the source's last word and the end of the room, else the nearest to it.

    Moved towards the neighbours', as far as no word is lost.
    """
    if natural > room:
        needed = min(natural / room, limits.max_tempo) if room else limits.max_tempo
        return _clamp(limits.neighbours.clamp(needed), needed, limits.max_tempo)
    fill = max(natural / speech, FILL_TEMPO, limits.min_tempo) if natural < speech else 1.0
    needed = max(limits.min_tempo, natural / room) if room else limits.min_tempo
    return _clamp(limits.neighbours.clamp(fill), needed, limits.max_tempo)


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _reject_negative(**lengths: int) -> None:
    for name, value in lengths.items():
        if value < 0:
            raise InvalidInputError(
                f"{name} is {value}, but a length cannot be negative.", remedy="Use 0 or more."
            )
