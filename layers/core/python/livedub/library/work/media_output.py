"""Writes a job's media file: container by the name's suffix, and the same bytes for the same streams every time."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its streams and packets open.

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.transfers import disk_errors
from livedub.library.work.h264_nal import length_bytes_of

_FORMATS = {
    ".aac": "adts",
    ".avi": "avi",
    ".flac": "flac",
    ".flv": "flv",
    ".m4a": "ipod",
    ".m4v": "mp4",  # by its name alone it would be a bare MPEG-4 video stream
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp3": "mp3",
    ".mp4": "mp4",
    ".ogg": "ogg",
    ".wav": "wav",
    ".webm": "webm",
    ".wmv": "asf",
}
_BITEXACT = {"fflags": "+bitexact"}
"""No version, date or random number gets into the file."""
_INDEX_FIRST = {"movflags": "+faststart", "movie_timescale": "48000"}
"""A player can begin before it has the whole file, and streams begin when they should to the sample, not to the millisecond."""


class MediaOutput:
    """An open output file."""

    def __init__(self, container: OutputContainer, target: Path) -> None:
        self._container = container
        self._target = target

    def add_copy(self, stream: Any) -> Any:
        """A stream that takes packets of `stream` as they are.

        Raises:
            LibraryError: UNSUPPORTED_TYPE, the container cannot hold them.
        """
        with self._problems_named():
            # opaque: PyAV 14 would open an encoder otherwise, whose parameter sets would take the place of the source's.
            copy = self._container.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(
                {key: value for key, value in stream.metadata.items() if key in {"language", "title"}}
            )
            return copy

    @property
    def suffix(self) -> str:
        """Of the file's name, in lower case."""
        return self._target.suffix.lower()

    def add_start_code_copy(self, stream: Any) -> tuple[Any, BitStreamFilterContext | None]:
        """`add_copy` for H.264 that takes packets with start codes, and what turns packets into those; None: they are."""
        copy = self.add_copy(stream)
        if not length_bytes_of(stream.codec_context.extradata):
            return copy, None
        turned = BitStreamFilterContext("h264_mp4toannexb", stream, copy)
        copy.codec_context.codec_tag = "\0\0\0\0"  # the source's; the container has its own
        return copy, turned

    def add_encoder(self, codec: str, *, rate: Any, options: dict[str, str], **parameters: Any) -> Any:
        """A stream that encodes frames.

        Raises:
            LibraryError: UNSUPPORTED_TYPE, the container cannot hold them.
        """
        with self._problems_named():
            stream: Any = self._container.add_stream(codec, rate=rate, options=options, **parameters)
            stream.codec_context.flags |= Flags.bitexact
            return stream

    def mux(self, packets: Any) -> None:
        """Write a packet or several.

        Raises:
            LibraryError: UNSUPPORTED_TYPE where it turns out at the first packet that the container cannot hold them.
            DiskFullError: the disk is full.
        """
        with self._problems_named():
            self._container.mux(packets)

    def close(self) -> None:
        """Write the end of the file."""
        with self._problems_named():
            self._container.close()

    @contextmanager
    def _problems_named(self) -> Generator[None]:
        with disk_errors(self._target.parent):
            try:
                yield
            except (FFmpegError, ValueError) as error:
                if isinstance(error, OSError) and error.errno in {28, 122}:
                    raise
                raise LibraryError(
                    LibraryErrorCode.UNSUPPORTED_TYPE,
                    f"A {self._target.suffix} file cannot hold the source's streams: {error}.",
                    "Choose another suffix for output_key; .mkv holds nearly everything.",
                ) from error


@contextmanager
def open_output(target: Path) -> Generator[MediaOutput]:
    """The file at `target`; its suffix picks the container.

    Raises:
        LibraryError: UNSUPPORTED_TYPE, no container goes by that suffix.
    """
    suffix = target.suffix.lower()
    if suffix not in _FORMATS:
        raise LibraryError(
            LibraryErrorCode.UNSUPPORTED_TYPE,
            f"output_key ends with {suffix or 'no suffix'}, which names no container.",
            f"Use one of {', '.join(sorted(_FORMATS))}.",
        )
    options = _BITEXACT | (_INDEX_FIRST if _FORMATS[suffix] in {"mp4", "mov", "ipod"} else {})
    container = av.open(str(target), "w", format=_FORMATS[suffix], container_options=options)
    output = MediaOutput(container, target)
    try:
        yield output
    except BaseException:
        with suppress(FFmpegError):  # the reason why the block failed says more
            container.close()
        raise
    output.close()
