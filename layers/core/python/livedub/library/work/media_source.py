"""Opens a job's source: what it is, is told by its content."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its streams open.

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from livedub.library.library_errors import LibraryError, LibraryErrorCode

_US_PER_MS = 1_000
_US_PER_S = 1_000_000
_AHEAD_US = 10 * _US_PER_S
SOURCE_FORMATS = "aac,asf,avi,flac,flv,matroska,mov,mp3,mpegts,ogg,wav"
"""What FFmpeg may take a source for, by its names for them. A playlist or script that calls itself clip.mp4 would have
it open other files and addresses; a text or a picture would pass for a film."""
SAFE_SOURCE = {"protocol_whitelist": "file", "format_whitelist": SOURCE_FORMATS}
"""Options of every source that is opened, by PyAV and by the program."""


@contextmanager
def open_source(path: Path, name: str) -> Generator[InputContainer]:
    """The container at `path`, which messages call `name`.

    Raises:
        LibraryError: NOT_MEDIA.
    """
    try:
        container = av.open(str(path), "r", container_options=SAFE_SOURCE, metadata_errors="replace")
    except FFmpegError as error:
        raise LibraryError(
            LibraryErrorCode.NOT_MEDIA,
            f"{name!r} cannot be read as media: {error.strerror}.",
            "Give a video or audio file; its content counts, not its name.",
        ) from error
    with container:
        if not has_media(container):
            raise LibraryError(
                LibraryErrorCode.NOT_MEDIA,
                f"{name!r} holds neither sound nor moving pictures.",
                "Give a video or audio file; its content counts, not its name.",
            )
        yield container


def has_media(container: InputContainer) -> bool:
    """Whether there is a stream worth a job."""
    return bool(pictures(container)) or bool(known(container.streams.audio))


def pictures(container: InputContainer) -> list[Any]:
    """The video streams that move; the covers of songs do not."""
    return [
        stream
        for stream in known(container.streams.video)
        if not stream.disposition & Disposition.attached_pic
    ]


def known(streams: Iterable[Any]) -> list[Any]:
    """Those whose codec FFmpeg has a name for; the others can be neither copied nor decoded."""
    return [stream for stream in streams if stream.codec_context is not None]


def duration_ms(container: InputContainer) -> int:
    """Length of the file, rounded up; 0 where it cannot be told."""
    return -(-(container.duration or 0) // _US_PER_MS)


def start_us(container: InputContainer) -> int:
    """The timestamp (microseconds) that jobs count as 0.

    What lies before 0 only warms a decoder up: FFmpeg 7 counts it, FFmpeg 8 does not.
    """
    return max(0, container.start_time or 0)


def rewind(container: InputContainer) -> None:
    """Go to the file's start; decoding times there may lie before its first timestamp."""
    try:
        container.seek(start_us(container) - _AHEAD_US, backward=True)
    except FFmpegError:  # some containers take no time before their first
        container.seek(start_us(container), backward=True)


def zero_of(container: InputContainer) -> Fraction:
    """`start_us` in seconds, as the stream says it that begins there: exact."""
    rounded = Fraction(start_us(container), _US_PER_S)
    exact = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.start_time is not None and stream.time_base is not None
    ]
    return next((start for start in exact if abs(start - rounded) * _US_PER_S <= 1), rounded)
