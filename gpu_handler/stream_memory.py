"""What the service remembers of each stream between two fragments: its language, and what was said last.

Bounded in streams and in text. Fragments of one stream may be answered out of order, so what was said is kept by
sequence number, and a fragment never sees what came after it.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field

from gpu_handler.languages import AUTO

_STREAMS = 256
_SURE_OF_LANGUAGE = 0.7
_FRAGMENTS = 3
_GAP = 3
"""Fragments that may lie between: what was said longer ago is no context any more."""


@dataclass(slots=True)
class _Stream:
    language: str = AUTO
    said: list[tuple[int, str]] = field(default_factory=list)


class StreamMemory:
    """Remembers the streams used last; a stream is its id and generation.

    Args:
        context_characters: the longest context; 0 remembers no text.
    """

    def __init__(self, *, context_characters: int = 200) -> None:
        self._characters = context_characters
        self._streams: OrderedDict[tuple[str, int], _Stream] = OrderedDict()

    def __len__(self) -> int:
        return len(self._streams)

    def language(self, stream: tuple[str, int]) -> str:
        """The language detected before, "auto" where none was for sure."""
        return self._recall(stream).language

    def learn_language(self, stream: tuple[str, int], language: str, probability: float) -> None:
        """Keep a detected language from the first sure detection on."""
        if probability >= _SURE_OF_LANGUAGE:
            self._keep(stream).language = language

    def context(self, stream: tuple[str, int], sequence_number: int) -> str:
        """What was said just before this fragment: the end of it, from a word's start on."""
        said = [
            text
            for number, text in self._recall(stream).said
            if sequence_number - _GAP <= number < sequence_number
        ]
        text = " ".join(said)
        if len(text) <= self._characters:
            return text
        return text[-self._characters :].partition(" ")[2]

    def learn_text(self, stream: tuple[str, int], sequence_number: int, text: str) -> None:
        """Keep what was said in a fragment; one that came twice counts once."""
        if not text or self._characters == 0:
            return
        said = self._keep(stream).said
        if any(number == sequence_number for number, _ in said):
            return
        insort(said, (sequence_number, text[-self._characters :]))
        del said[:-_FRAGMENTS]

    def _recall(self, stream: tuple[str, int]) -> _Stream:
        found = self._streams.get(stream)
        if found is None:
            return _Stream()
        self._streams.move_to_end(stream)
        return found

    def _keep(self, stream: tuple[str, int]) -> _Stream:
        kept = self._streams.setdefault(stream, _Stream())
        self._streams.move_to_end(stream)
        while len(self._streams) > _STREAMS:
            self._streams.popitem(last=False)
        return kept
