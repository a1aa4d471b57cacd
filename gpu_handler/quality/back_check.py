"""How near what a recogniser hears in a dub is to what the dub was to say."""

from __future__ import annotations

from gpu_handler.guards import words_of
from gpu_handler.quality.plain_text import plain

_LONGEST = 1_000
"""Characters compared: the distance takes time in their square."""


def similarity(expected_text: str, heard_text: str) -> float:
    """1 where both say the same, 0 where they share nothing.

    One less the edit distance of the letters over the longer text's length: added words count as much as missing ones.
    Case, punctuation, accents and word boundaries do not count.
    """
    expected, heard = _letters(expected_text), _letters(heard_text)
    if not expected or not heard:
        return 1.0 if expected == heard else 0.0
    return 1.0 - _distance(expected, heard) / max(len(expected), len(heard))


def _letters(text: str) -> str:
    return plain("".join(words_of(text)))[:_LONGEST]


def _distance(first: str, second: str) -> int:
    """Levenshtein's, row by row."""
    row = list(range(len(second) + 1))
    for number, letter in enumerate(first, start=1):
        diagonal, row[0] = row[0], number
        for column, other in enumerate(second, start=1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (letter != other)),
            )
    return row[-1]
