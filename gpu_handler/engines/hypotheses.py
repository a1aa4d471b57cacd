"""From a beam to a translation and its alternatives, with ever shorter wording where that is asked for.

A beam search scores hypotheses by log-probability over length^penalty. Natural wording takes the usual penalty of 1;
brevity lowers it, which favours short hypotheses already during the search, and then takes the shortest of those
that are not much worse than the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpu_handler.engines.base import Translation

_PENALTY_STEP = 0.6
_LEAST_PENALTY = -1.0
_MARGIN_PER_STEP = 0.25
"""Nats per token that a shorter hypothesis may be worse than the best, for each step of brevity."""

_WIDER_BEAM = 2


@dataclass(frozen=True, slots=True)
class Search:
    """How to search for one batch."""

    beam_size: int
    length_penalty: float

    @classmethod
    def of(cls, brevity: int, beam_size: int) -> Search:
        """Settings for a step of brevity (0 is natural); a greedy search widens when it must shorten."""
        if brevity <= 0:
            return cls(beam_size, 1.0)
        return cls(beam_size * _WIDER_BEAM, max(_LEAST_PENALTY, 1.0 - _PENALTY_STEP * brevity))


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One candidate: mean log-probability of its tokens, and whether the model ended it by itself."""

    text: str
    score_per_token: float
    finished: bool = True


def score_per_token(score: float, tokens: int, length_penalty: float) -> float:
    """The mean log-probability behind a beam's score, which is their sum over tokens^length_penalty."""
    return score * math.pow(max(1, tokens), length_penalty - 1.0)


def choose(hypotheses: Sequence[Hypothesis], brevity: int) -> Translation:
    """The translation and its alternatives, best first, without doubles.

    A hypothesis that was cut off at the length limit counts only where no other is left.
    """
    kept = [hypothesis for hypothesis in hypotheses if hypothesis.finished] or list(hypotheses)
    kept.sort(key=lambda hypothesis: -hypothesis.score_per_token)
    if brevity > 0 and kept:
        worst = kept[0].score_per_token - _MARGIN_PER_STEP * brevity
        near = [hypothesis for hypothesis in kept if hypothesis.score_per_token >= worst and hypothesis.text]
        near.sort(key=lambda hypothesis: len(hypothesis.text))
        kept = near + [hypothesis for hypothesis in kept if hypothesis not in near]
    texts = list(dict.fromkeys(hypothesis.text for hypothesis in kept))
    return Translation(texts[0], tuple(texts[1:])) if texts else Translation("")
