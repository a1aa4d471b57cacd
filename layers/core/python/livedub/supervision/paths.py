"""Paths of the media server: `live/<stream_id>/in`, `live/<stream_id>/out` and `live/<stream_id>/out-<language>`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from livedub.errors import InvalidInputError

INPUT = "in"
OUTPUT = "out"

# \A and \Z, not ^ and $: a path that ends in a line feed is none of ours.
_PATH = re.compile(r"\Alive/(?P<stream_id>[A-Za-z0-9_-]{1,64})/(?P<name>in|out|out-[a-z]{2,3})\Z")


def output_name(language: str = "") -> str:
    """Name of the output in `language`; without one, of the first language's."""
    return f"{OUTPUT}-{language}" if language else OUTPUT


@dataclass(frozen=True, slots=True)
class StreamPath:
    """One path: the stream it belongs to and `in`, `out` or `out-<language>`."""

    stream_id: str
    name: str

    @property
    def is_input(self) -> bool:
        """Whether publishers of the original use it."""
        return self.name == INPUT

    def __str__(self) -> str:
        return f"live/{self.stream_id}/{self.name}"


def parse_path(path: str) -> StreamPath:
    """Take a path apart. A single leading slash is what some servers put there.

    Raises:
        InvalidInputError: it is no path of a stream.
    """
    found = _PATH.match(path.removeprefix("/"))
    if found is None:
        raise InvalidInputError(
            f"path {path[:100]!r} is no stream.",
            remedy="Use live/<stream_id>/in, /out or /out-<language>; a stream_id has 1 to 64 letters, digits, _ or -.",
        )
    return StreamPath(found["stream_id"], found["name"])
