"""Letters and words whatever their case, accents and script."""

from __future__ import annotations

import unicodedata

UNSPACED = r"\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Scripts that write no spaces between words, or attach particles to them: ranges for a pattern's brackets."""


def plain(text: str) -> str:
    """`text` in lower case, its letters without their marks ("Miércoles" is "miercoles")."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
