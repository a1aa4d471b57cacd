"""Keeps a copy of what is sent, in an FLV file."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from media_edge.worker.egress import DueTag, Publisher
from media_edge.worker.flv import FILE_HEADER

MIB = 1024 * 1024

logger = logging.getLogger(__name__)

_LOOK_BYTES = 4 * MIB
"""Written between two looks at how much is free: other recordings write to the same disk."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class FlvFile:
    """Tags appended to a file; a full disk costs the recording, never the stream.

    It ends where `free_bytes` of the disk are left, so that others find room there.
    """

    def __init__(self, path: Path, *, free_bytes: int = 0) -> None:
        """Open it.

        Raises:
            OSError: it cannot be written, for another reason than a full disk.
        """
        self._path = path
        self._free_bytes = free_bytes
        self._unlooked_bytes = 0
        self._file: IO[bytes] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._give_up(str(error))
            return
        if self._file.tell() == 0:
            self.write(FILE_HEADER)
        self._look()

    def write(self, data: bytes) -> None:
        """Append whole tags."""
        if self._file is None:
            return
        try:
            self._file.write(data)
        except OSError as error:
            self._give_up(str(error))
            return
        self._unlooked_bytes += len(data)
        if self._unlooked_bytes >= _LOOK_BYTES:
            self._look()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                logger.error("The recording %s was not closed cleanly: %s.", self._path, error)

    def _look(self) -> None:
        self._unlooked_bytes = 0
        if self._free_bytes and shutil.disk_usage(self._path.parent).free < self._free_bytes:
            self._give_up(f"less than {self._free_bytes // MIB} MB of the disk are free")

    def _give_up(self, why: str) -> None:
        logger.error("The recording %s ends here, the stream goes on: %s.", self._path, why)
        file, self._file = self._file, None
        if file is not None:
            # What could not be written is tried once more by closing, to no better end.
            with suppress(OSError):
                file.close()


class RecordedPublisher:
    """A publisher whose tags also go to a file."""

    def __init__(self, publisher: Publisher, file: FlvFile) -> None:
        self._publisher = publisher
        self._file = file

    def push(self, tags: Sequence[DueTag]) -> None:
        """As `Publisher.push`."""
        for tag, _ in tags:
            self._file.write(tag)
        self._publisher.push(tags)

    def poll(self) -> None:
        """As `Publisher.poll`."""
        self._publisher.poll()

    def finish(self) -> None:
        """As `Publisher.finish`."""
        self._publisher.finish()

    @property
    def failure(self) -> str | None:
        """As `Publisher.failure`."""
        return self._publisher.failure

    @property
    def finished(self) -> bool:
        """As `Publisher.finished`."""
        return self._publisher.finished

    @property
    def queued_tags(self) -> int:
        """As `Publisher.queued_tags`."""
        return self._publisher.queued_tags

    def close(self) -> None:
        """As `Publisher.close`."""
        self._publisher.close()


class Recordings:
    """One file per track beside each other: `out.flv`, `out-fr.flv`; none without a path."""

    def __init__(self, path: Path | None, *, free_bytes: int = 0) -> None:
        self._path = path
        self._free_bytes = free_bytes
        self._files: dict[str, FlvFile] = {}
        # Opened at once: a folder that cannot be written is told at the start.
        if path is not None:
            self._files[""] = FlvFile(path, free_bytes=free_bytes)

    def recorded(self, track: str, publisher: Publisher) -> Publisher:
        """`publisher`, with what it sends also written to the track's file."""
        if self._path is None:
            return publisher
        if track not in self._files:
            path = self._path.with_stem(f"{self._path.stem}-{track}")
            self._files[track] = FlvFile(path, free_bytes=self._free_bytes)
        return RecordedPublisher(publisher, self._files[track])

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            file.close()
