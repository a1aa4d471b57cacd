"""Keeps timeline origins in files, for a worker that runs without a supervisor."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from livedub.errors import InvalidInputError
from livedub.timeline.origin import TimelineOrigin


class TimelineFileStore:
    """One JSON file per stream, replaced atomically: a crash leaves the old one or the new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, stream_id: str) -> TimelineOrigin | None:
        """The stream's origin, or None if it never ran.

        Raises:
            InvalidInputError: the file exists and is no origin.
        """
        path = self._path(stream_id)
        # A worker that was killed while it saved left a file that nobody will finish.
        for unfinished in self._folder.glob(f".{stream_id}.*.tmp"):
            unfinished.unlink(missing_ok=True)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"The timeline in {path} cannot be read: {error}.",
                remedy="Delete the file to let the stream start a new timeline.",
            ) from error
        if not isinstance(data, dict):
            raise InvalidInputError(
                f"The timeline in {path} is no JSON object.",
                remedy="Delete the file to let the stream start a new timeline.",
            )
        return TimelineOrigin.from_json(data)

    def save(self, stream_id: str, origin: TimelineOrigin) -> None:
        """Replace the stream's origin, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=f".{stream_id}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(origin.to_json(), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path(stream_id))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _path(self, stream_id: str) -> Path:
        return self._folder / f"{stream_id}.timeline.json"
