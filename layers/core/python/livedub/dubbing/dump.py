"""Per-fragment audio files, for debugging and for the verifier; off unless a folder is configured."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

from livedub.audio.codec import encode_audio
from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples, to_mono
from livedub.dubbing.fragment import DubbingFragment
from livedub.sts.contract import AudioFormat

logger = logging.getLogger(__name__)


class FragmentDump:
    """Writes `<sequence>.source.flac` and each track's dub (48 kHz mono, before gain) into one folder.

    The first track's is `<sequence>.dub.flac`, another's `<sequence>.dub-<language>.flac`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def write_source(self, fragment: DubbingFragment, source: Samples) -> None:
        """Store what was said."""
        self._store(f"{fragment.sequence_number:06d}.source.flac", to_mono(source))

    def write_dub(self, fragment: DubbingFragment, track: str, dub: Samples) -> str | None:
        """Store a track's dub; returns its file name, None where the disk fails."""
        name = f"{fragment.sequence_number:06d}.dub{'-' if track else ''}{track}.flac"
        return name if self._store(name, dub) else None

    def _store(self, name: str, samples: Samples) -> bool:
        flac = base64.b64decode(encode_audio(samples, PROGRAMME_RATE_HZ, AudioFormat.FLAC).data_base64)
        try:
            (self._folder / name).write_bytes(flac)
        except OSError as error:
            logger.error("fragment dump %s cannot be written: %s", self._folder, error)
            return False
        return True
