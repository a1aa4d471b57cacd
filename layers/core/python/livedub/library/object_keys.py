"""What objects in storage are called, and what is known of one without reading it."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from livedub.library.library_errors import BadKeyError

MAX_KEY_BYTES = 1_024
"""S3's own limit, in UTF-8."""
LIVE = "live/"
"""What the keys of everything begin with that live streams leave behind."""
_LONGEST_SUFFIX = 12
_BREAKS_LINES = frozenset({"Cc", "Zl", "Zp"})
"""Unicode's categories of control characters, line and paragraph separators."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as a listing tells of it.

    Attributes:
        key: its name in the bucket.
        size_bytes: its length.
        etag: changes whenever the content does; without the quotes that HTTP puts around it.
        modified_at: when it was stored, with time zone.
    """

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


def check_key(key: str) -> str:
    """Return `key` when it can be a name everywhere: in S3, in a URL path, as a relative path below a folder.

    Letters of every script and emoji are fine; what a path or a log line would read as something else is not.

    Raises:
        BadKeyError: it breaks a rule; the message says which.
    """
    problem = _problem(key)
    if problem:
        raise BadKeyError(key, problem)
    return key


def _problem(key: str) -> str:
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    parts = key.split("/")
    rules = (
        (not key, "is empty"),
        (size_bytes > MAX_KEY_BYTES, f"has {size_bytes} bytes, {MAX_KEY_BYTES} are allowed"),
        (
            any(unicodedata.category(character) in _BREAKS_LINES for character in key),
            "holds a control character or line break",
        ),
        ("" in parts, "starts or ends with '/' or holds '//'"),
        (bool({".", ".."} & set(parts)), "holds '.' or '..' as a part of its path"),
    )
    return next((problem for broken, problem in rules if broken), "")


def check_prefix(prefix: str) -> str:
    """Return `prefix` when it begins the key of some object: a key's rules, but it may end with `/`, or be empty.

    Raises:
        BadKeyError: no key begins like this.
    """
    if prefix:
        check_key(prefix.removesuffix("/") or prefix)
    return prefix


def extension_of(key: str) -> str:
    """The extension in lower case with its dot, such as `.mp4`; empty where there is none to speak of."""
    suffix = PurePosixPath(key).suffix.lower()
    return suffix if len(suffix) <= _LONGEST_SUFFIX and suffix[1:].isalnum() else ""


def has_extension(key: str, extensions: Collection[str]) -> bool:
    """Whether the key ends with one of `extensions` (lower case, with dots), however it is written."""
    return extension_of(key) in extensions


def live_prefix(stream_id: str, generation: int) -> str:
    """Where what a stream's worker of one generation leaves behind is kept in the bucket of what comes in."""
    return f"{LIVE}{stream_id}/{generation}/"
