"""A listing in the order of its keys' bytes, whatever order it comes in, in bounded memory.

AWS, MinIO and moto list in this order. SeaweedFS goes through folders, and has `a/x` before `a-b/x`. A comparison that
relied on the order would take keys for gone that only come later, and a listing shows that it is out of order when it
is too late; so the whole of it is read first, into temporary files.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO

from livedub.library.object_keys import ObjectInfo

_RUN = 20_000
"""Objects sorted at a time, some 8 MB, and as many that follow; out of order, each such run takes a file of its own."""
_BLOCK = 500
"""Objects per line of a file."""


def in_key_order(
    objects: Iterable[ObjectInfo], *, run: int = _RUN, folder: Path | None = None
) -> Generator[ObjectInfo]:
    """The same objects in ascending order of their keys' UTF-8 bytes, each key once.

    Nothing comes before all of `objects` were read.

    Args:
        objects: in any order. Of a key that comes twice, one is kept.
        run: how many may be held in memory at a time while they are read.
        folder: for temporary files; None takes the system's.
    """
    waiting = iter(objects)
    current = _sorted_run(waiting, run)
    with ExitStack() as files:
        spools: list[IO[str]] = []
        last = ""
        following = _sorted_run(waiting, run)
        while following:
            if not spools or current[0].key < last:
                # One file for all runs that continue each other: of an ordered listing, one for the whole of it.
                spools.append(files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)))
            _spool(current, spools[-1])
            last = current[-1].key
            current, following = following, _sorted_run(waiting, run)
        yield from _once(heapq.merge(*map(_unspool, spools), current, key=_key))


def _sorted_run(objects: Iterator[ObjectInfo], run: int) -> list[ObjectInfo]:
    return sorted(islice(objects, run), key=_key)


def _key(one: ObjectInfo) -> str:
    """Python compares strings by code points, which is the order of their UTF-8 bytes."""
    return one.key


def _spool(objects: list[ObjectInfo], file: IO[str]) -> None:
    for start in range(0, len(objects), _BLOCK):
        block = objects[start : start + _BLOCK]
        packed = [(one.key, one.size_bytes, one.etag, one.modified_at.isoformat()) for one in block]
        file.write(json.dumps(packed, separators=(",", ":")) + "\n")


def _unspool(file: IO[str]) -> Generator[ObjectInfo]:
    file.seek(0)
    for line in file:
        for key, size_bytes, etag, modified_at in json.loads(line):
            yield ObjectInfo(key, size_bytes, etag, datetime.fromisoformat(modified_at))


def _once(objects: Iterable[ObjectInfo]) -> Generator[ObjectInfo]:
    previous: str | None = None
    for one in objects:
        if one.key != previous:
            yield one
        previous = one.key
