"""Pages of a list: one row more than asked for tells whether there is a next one, its cursor where that begins."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

from livedub.library.library_errors import LibraryError, LibraryErrorCode


def cursor_of(*position: str) -> str:
    """The sort key of the last item shown, packed for a URL. Nobody but `position_of` reads it."""
    packed = json.dumps(position, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def position_of(cursor: str, length: int) -> Sequence[str]:
    """The `length` values that `cursor_of` packed.

    Raises:
        LibraryError: INVALID_REQUEST, it is no cursor of this list.
    """
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position: object = json.loads(packed)
    except (ValueError, binascii.Error, RecursionError):
        position = None
    if (
        not isinstance(position, list)
        or len(position) != length  # pyright: ignore[reportUnknownArgumentType]
        or not all(isinstance(part, str) for part in position)  # pyright: ignore[reportUnknownVariableType]
    ):
        raise bad_cursor()
    return position  # pyright: ignore[reportUnknownVariableType]


def bad_cursor() -> LibraryError:
    """What to tell whoever sends a cursor that was never given out."""
    return LibraryError(
        LibraryErrorCode.INVALID_REQUEST,
        "cursor is none of this list.",
        "Send next_cursor of the page before, as it came, or none to begin at the start.",
    )


def end_of_prefix(prefix: str) -> str | None:
    """The least string above all that begin with `prefix`, in the order of code points; None where there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    # Surrogates are no characters, and UTF-8 has no place for them.
    return stem[:-1] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)


def like(text: str) -> str:
    """A LIKE pattern for what holds `text`, taken literally."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
