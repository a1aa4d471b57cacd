"""Live subtitles: one WebVTT file per language that grows while the stream runs, on the clock of the dub's output."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from livedub.dubbing.event_log import language_event
from livedub.dubbing.fragment import DubbingFragment, LanguageDub
from livedub.timeline.subtitles import HEADER, Cue, cue_from_event, read_timing, render_block, split_cue

logger = logging.getLogger(__name__)

_TAIL_BYTES = 16 * 1024
_SHORTEST_NS = 800_000_000


class LiveSubtitles:
    """`<folder>/<language>.vtt` for every language; implements LanguageSink.

    A fragment's text is written when it is decided what airs: as soon as the dub is there, at the latest when its time
    has come. A translation that comes after that is written then, unless a later fragment's stands there already. Files are valid at any moment,
    only grow, and are continued by the worker that replaces a dead one. A full disk costs subtitles, never the stream.
    """

    def __init__(self, folder: Path, *, delay_ns: int) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            # Each language's file says it once more when it cannot be opened.
            logger.error("The folder of subtitles %s cannot be made: %s.", folder, error)
        self._folder = folder
        self._delay_ns = delay_ns
        self._files: dict[str, _VttFile] = {}
        self._last_number: dict[str, int] = {}

    def tell(self, fragment: DubbingFragment, dub: LanguageDub) -> None:
        """What of `fragment` airs in one language is decided, or its answer came after that."""
        language, number = dub.target.language, fragment.sequence_number
        if dub.decision_reason == "language_removed" or number <= self._last_number.get(language, -1):
            return
        cue = cue_from_event(language_event(fragment, dub), self._delay_ns)
        if cue is None:
            return
        self._last_number[language] = number
        if language not in self._files:
            self._files[language] = _VttFile(self._folder / f"{language}.vtt")
        self._files[language].append(cue)

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            file.close()


class _VttFile:
    """Appends cues in the order of time, none on screen together with the one before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._end_ns = 0
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._continue(self._descriptor)
        except OSError as error:
            self._give_up(error)

    def append(self, cue: Cue) -> None:
        """Write a cue; it begins no earlier than the one before has ended."""
        start_ns = max(cue.start_ns, self._end_ns)
        cue = replace(cue, start_ns=start_ns, end_ns=max(cue.end_ns, start_ns + _SHORTEST_NS))
        self._end_ns = cue.end_ns
        blocks = "".join(f"{render_block(part)}\n" for part in split_cue(cue))
        if self._descriptor is not None:
            try:
                _write(self._descriptor, blocks)
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _continue(self, descriptor: int) -> None:
        """Go on after the last whole block; what a dead worker left half written, or what is no WebVTT, goes."""
        size = os.fstat(descriptor).st_size
        first = max(0, size - _TAIL_BYTES)
        tail = os.pread(descriptor, _TAIL_BYTES, first)
        whole = tail.rfind(b"\n\n") + 2
        if os.pread(descriptor, len(HEADER), 0) != HEADER.encode() or whole < 2:
            os.ftruncate(descriptor, 0)
            _write(descriptor, f"{HEADER}\n")
            return
        os.ftruncate(descriptor, first + whole)
        timings = [read_timing(line) for line in tail[:whole].decode("utf-8", "replace").splitlines()]
        self._end_ns = max((timing[1] for timing in timings if timing is not None), default=0)

    def _give_up(self, error: OSError) -> None:
        logger.error("Subtitles %s cannot be written (%s): they end here.", self._path, error)
        self.close()


def _write(descriptor: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(descriptor, data) :]
