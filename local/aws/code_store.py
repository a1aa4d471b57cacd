"""Unpacked code and layers, one folder per content, shared by all environments that need it."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from pathlib import Path


class CodeStore:
    """Unpacks each archive once; safe from any thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[str, Path] = {}

    def folder(self, archive: bytes, *, key: str = "") -> Path:
        """The folder that holds the archive's files; `key` spares hashing one that is known by name.

        Raises:
            zipfile.BadZipFile: `archive` is no zip file.
        """
        name = key or hashlib.sha256(archive).hexdigest()
        with self._lock:
            folder = self._known.get(name)
            if folder is None:
                folder = self._root / hashlib.sha256(name.encode()).hexdigest()[:24]
                with zipfile.ZipFile(io.BytesIO(archive)) as opened:
                    opened.extractall(folder)  # extractall keeps every member inside the folder
                self._known[name] = folder
            return folder
