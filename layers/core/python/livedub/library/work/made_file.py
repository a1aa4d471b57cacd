"""What a step of work hands on for upload."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file, the key it is to have, and for subtitles their language."""

    path: Path
    key: str
    language: str = ""
