"""Which generation published each stream when, noted by the relay for whoever files recordings afterwards."""

from __future__ import annotations

import logging
import re
from pathlib import Path

_LINE = re.compile(r"(\d+\.\d+) (\d+)")
_LONGEST_BYTES = 64 * 1024
_KEPT_LINES = 200

log = logging.getLogger(__name__)


class GenerationLog:
    """`<folder>/<stream_id>.log`: a line per takeover, seconds since 1970 and the generation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._latest: dict[str, int] = {}

    def note(self, stream_id: str, generation: int, at_s: float) -> None:
        """From now on this generation publishes. A disk that refuses costs recordings their place, nobody's stream."""
        if self._latest.get(stream_id) == generation:
            return
        path = self._path(stream_id)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _shorten(path)
            with path.open("a", encoding="ascii") as file:
                file.write(f"{at_s:.6f} {generation}\n")
        except OSError as error:
            log.error("cannot note that generation %d publishes %s: %s", generation, stream_id, error)
            return
        self._latest[stream_id] = generation

    def at(self, stream_id: str, at_s: float) -> int | None:
        """The generation that published at that time; None where nobody is known to have."""
        try:
            text = self._path(stream_id).read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return None
        noted = [
            (float(found[1]), int(found[2])) for line in text.splitlines() if (found := _LINE.fullmatch(line))
        ]
        return next((generation for since_s, generation in reversed(noted) if since_s <= at_s), None)

    def _path(self, stream_id: str) -> Path:
        return self._folder / f"{stream_id}.log"


def _shorten(path: Path) -> None:
    """Forget what is long over."""
    if not path.exists() or path.stat().st_size < _LONGEST_BYTES:
        return
    kept = path.read_text(encoding="ascii", errors="replace").splitlines()[-_KEPT_LINES:]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{line}\n" for line in kept), encoding="ascii")
    partial.replace(path)
