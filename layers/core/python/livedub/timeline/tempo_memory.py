"""Steady tempo: from one dub of a stream to the next it changes by at most 8 %.

What a dub needs so that no word is lost comes first: where a neighbour's tempo would cut words off, the bound gives
way. Slowing down again is never urgent, so after such a jump the tempo falls by 8 % a fragment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from livedub.timeline.isochrony import ANY_TEMPO, TempoRange

MAX_CHANGE = 0.08
FORGET_AFTER_S = 10.0
"""A dub this long after the one before has no neighbour: nobody compares across such a pause."""

_STREAMS_REMEMBERED = 1_024
_FRAGMENTS_REMEMBERED = 4
"""Fragments overlap in the pipeline: one may be planned before the one before it is finished."""


@dataclass(frozen=True, slots=True)
class _Spoken:
    tempo: float
    at_s: float


class TempoMemory:
    """The newest tempos of each stream and language. Not thread-safe: one event loop asks and tells."""

    def __init__(self, *, streams: int = _STREAMS_REMEMBERED, forget_after_s: float = FORGET_AFTER_S) -> None:
        self._streams = streams
        self._forget_after_s = forget_after_s
        self._spoken: OrderedDict[tuple[Hashable, str], dict[int, _Spoken]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spoken)

    def allowed(
        self, stream_key: Hashable, language: str, *, sequence_number: int, now_s: float
    ) -> TempoRange:
        """Tempos within 8 % of the dub before `sequence_number`; any tempo where there is none.

        Args:
            stream_key: stream and generation: another generation starts anew.
            language: of the dub.
            sequence_number: of the fragment.
            now_s: when the fragment arrived, on a clock that only advances.
        """
        before = self._before(stream_key, language, sequence_number)
        if before is None or now_s - before.at_s > self._forget_after_s:
            return ANY_TEMPO
        return TempoRange(before.tempo / (1 + MAX_CHANGE), before.tempo * (1 + MAX_CHANGE))

    def learn(
        self, stream_key: Hashable, language: str, tempo: float, *, sequence_number: int, now_s: float
    ) -> None:
        """Remember the tempo of a dub: the planned one, then, under the same number, the one it got."""
        key = (stream_key, language)
        fragments = self._spoken.setdefault(key, {})
        self._spoken.move_to_end(key)
        fragments[sequence_number] = _Spoken(tempo, now_s)
        while len(fragments) > _FRAGMENTS_REMEMBERED:
            del fragments[min(fragments)]
        while len(self._spoken) > self._streams:
            self._spoken.popitem(last=False)

    def _before(self, stream_key: Hashable, language: str, sequence_number: int) -> _Spoken | None:
        fragments = self._spoken.get((stream_key, language), {})
        earlier = [number for number in fragments if number < sequence_number]
        return fragments[max(earlier)] if earlier else None
