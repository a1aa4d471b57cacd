"""Content identity of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

COPY_BLOCK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(COPY_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
