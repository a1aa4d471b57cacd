"""The place in the journal up to which everything is delivered."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from livedub.private_file import write_private

_CURSOR = re.compile(r"[\x21-\x7e]{1,512}")

log = logging.getLogger(__name__)


class PlaceFile:
    """Keeps a cursor over restarts. A file that cannot be written costs lines that come twice, never one that is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False
        self.cursor = self._read()

    def save(self, cursor: str) -> None:
        """All up to `cursor` is delivered."""
        self.cursor = cursor
        try:
            write_private(self._path, f"{cursor}\n")
        except OSError as error:
            # A full disk is when logs are wanted most. Said once: this line is one more to deliver.
            if not self._failed:
                log.warning("%s cannot be written: %s", self._path, error.strerror)
            self._failed = True
            return
        self._failed = False

    def forget(self) -> None:
        """Begin anew: the journal does not know the place."""
        self.cursor = ""

    def _read(self) -> str:
        try:
            text = self._path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return ""
        return text if _CURSOR.fullmatch(text) else ""
