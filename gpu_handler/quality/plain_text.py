"""Words without case and accents, to compare and look them up."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """`text` in lower case, its letters without their marks ("Miércoles" is "miercoles")."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
