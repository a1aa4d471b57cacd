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
    """Writes `<sequence>.source.flac` and `<sequence>.dub.flac` (48 kHz mono, before gain) into one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def write(self, fragment: DubbingFragment, source: Samples) -> str | None:
        """Store a fragment's audio; returns the dub's file name, None where there is no dub or the disk fails."""
        stem = f"{fragment.sequence_number:06d}"
        dub = fragment.outcome.dub if fragment.outcome else None
        try:
            self._store(f"{stem}.source.flac", to_mono(source))
            if dub is None:
                return None
            self._store(f"{stem}.dub.flac", dub)
        except OSError as error:
            logger.error("fragment dump %s cannot be written: %s", self._folder, error)
            return None
        return f"{stem}.dub.flac"

    def _store(self, name: str, samples: Samples) -> None:
        flac = base64.b64decode(encode_audio(samples, PROGRAMME_RATE_HZ, AudioFormat.FLAC).data_base64)
        (self._folder / name).write_bytes(flac)
