"""A text in pieces that a model takes: cut behind sentences, else behind clauses, else between words."""

from __future__ import annotations

import re

_BREAKS = (re.compile(r"(?<=[.!?…])\s+"), re.compile(r"(?<=[,;:])\s+"), re.compile(r"\s+"))


def split_text(text: str, limit: int) -> list[str]:
    """Pieces of at most `limit` characters, in order, with every word; a longer word is cut. None for blank text."""
    return _split(" ".join(text.split()), limit, _BREAKS)


def _split(text: str, limit: int, breaks: tuple[re.Pattern[str], ...]) -> list[str]:
    if len(text) <= limit:
        return [text] if text else []
    if not breaks:
        return [text[start : start + limit] for start in range(0, len(text), limit)]
    pieces: list[str] = []
    current = ""
    for part in breaks[0].split(text):
        joined = f"{current} {part}" if current else part
        if len(joined) <= limit:
            current = joined
            continue
        pieces += [current] if current else []
        *full, current = _split(part, limit, breaks[1:])
        pieces += full
    return [*pieces, current]
