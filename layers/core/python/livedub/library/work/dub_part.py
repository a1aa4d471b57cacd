"""What dubbing one range leaves for whoever joins them: sound and subtitles of each language, in one file."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its packets open.

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.codec.context import Flags
from pydantic import Field, ValidationError

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples, float_from_s16, s16_from_float
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import Wire

_SUMMARY = "summary.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date a ZIP can hold; the same for all, so that the same part has the same bytes."""


class PartCue(Wire):
    """A subtitle, in nanoseconds of the file's time."""

    start_ns: int
    end_ns: int
    text: str


class PartLanguage(Wire):
    """One language of a part: its subtitles, and how many of its fragments were dubbed, or why they were not."""

    language: str
    cues: tuple[PartCue, ...] = ()
    dubbed: int = Field(default=0, ge=0)
    failures: tuple[str, ...] = ()


class PartSummary(Wire):
    """What a part says of itself; languages in the order of the tracks."""

    index: int
    start: int
    end: int
    languages: tuple[PartLanguage, ...]


class PartWriter:
    """Encodes each track's sound losslessly while it is made."""

    def __init__(self, folder: Path, tracks: Sequence[str]) -> None:
        self._stack = ExitStack()
        self.sounds = {track: folder / f"{number:02}.flac" for number, track in enumerate(tracks)}
        self._encoders: dict[str, tuple[Any, Any]] = {}
        for track, path in self.sounds.items():
            container: Any = self._stack.enter_context(
                av.open(str(path), "w", format="flac", container_options={"fflags": "+bitexact"})
            )
            stream: Any = container.add_stream("flac", rate=PROGRAMME_RATE_HZ, layout="stereo")
            stream.codec_context.flags |= Flags.bitexact
            self._encoders[track] = container, stream
        self._counts = dict.fromkeys(tracks, 0)

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, track: str, samples: Samples) -> None:
        """Append (n, 2) samples."""
        container, stream = self._encoders[track]
        interleaved = np.frombuffer(s16_from_float(samples), dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout="stereo")
        frame.sample_rate, frame.time_base = PROGRAMME_RATE_HZ, Fraction(1, PROGRAMME_RATE_HZ)
        frame.pts = self._counts[track]
        self._counts[track] += len(samples)
        container.mux(stream.encode(frame))

    def finish(self) -> None:
        """No more sound."""
        for container, stream in self._encoders.values():
            container.mux(stream.encode(None))
        self._stack.close()


def pack(path: Path, sounds: Mapping[str, Path], summary: PartSummary) -> None:
    """Put everything of a part into one file; the same content makes the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as part:
        for sound in sounds.values():
            with part.open(zipfile.ZipInfo(sound.name, _EPOCH), "w") as entry, sound.open("rb") as file:
                while block := file.read(1 << 20):
                    entry.write(block)
        part.writestr(zipfile.ZipInfo(_SUMMARY, _EPOCH), summary.model_dump_json())


class DubPartFile:
    """A part as it was packed.

    Raises:
        LibraryError: WORK_FAILED, the file is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as part:
                self.summary = PartSummary.model_validate_json(part.read(_SUMMARY))
        except (zipfile.BadZipFile, KeyError, ValidationError) as error:
            raise LibraryError(
                LibraryErrorCode.WORK_FAILED, f"A part of the dub is broken: {error}.", "Retry the job."
            ) from error

    def sound(self, number: int) -> Iterator[Samples]:
        """The sound of a track by its number, as (n, 2) samples."""
        with zipfile.ZipFile(self._path) as part, part.open(f"{number:02}.flac") as file:
            container: Any
            with av.open(cast("Any", file), "r", format="flac") as container:
                for frame in container.decode(audio=0):
                    yield float_from_s16(np.ascontiguousarray(frame.to_ndarray()).tobytes(), channels=2)
