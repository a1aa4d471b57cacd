"""What a file is, told by its content alone: container, length, streams; or why it is nothing for the library."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its streams open.

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from livedub.library.cut_short import begins_like_media, why_cut_short
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.object_keys import extension_of
from livedub.library.range_file import RangeFile
from livedub.library.types import MediaInfo, MediaStream, StreamKind

_US_PER_MS = 1_000
_EXTENSIONS: Mapping[str, tuple[str, ...]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": (".mp4", ".mov", ".m4v", ".m4a"),
    "matroska,webm": (".mkv", ".webm"),
    "avi": (".avi",),
    "flv": (".flv",),
    "asf": (".wmv",),
    "mp3": (".mp3",),
    "wav": (".wav",),
    "flac": (".flac",),
    "aac": (".aac",),
    "ogg": (".ogg",),
    "webvtt": (".vtt",),
}
"""What FFmpeg calls a format, and the names that files of it may have; those of the library, the usual one first."""
_OTHER_MEDIA = ("mpegts", "mpeg", "amr", "aiff", "au", "w64")
"""Media, but nothing that the library takes: an error of its own is of more use than "no media"."""
_OPTIONS = {
    # A playlist that calls itself clip.mp4 would have other files and addresses opened.
    "format_whitelist": ",".join((*_EXTENSIONS, *_OTHER_MEDIA)),
    "protocol_whitelist": "file",
    # A file without an order of its streams is read until they are known: 5 MB and 5 s of it, not all.
    "probesize": "5000000",
    "analyzeduration": "5000000",
}
_KINDS = (
    (VideoStream, StreamKind.VIDEO),
    (AudioStream, StreamKind.AUDIO),
    (SubtitleStream, StreamKind.SUBTITLE),
)


def probe_file(path: Path, name: str = "") -> MediaInfo:
    """As `probe`, of a file on disk; `name` is what it is called in the library, by default its own.

    Raises:
        LibraryError: as `probe`.
    """
    with path.open("rb") as file:

        def fetch(start: int, end: int) -> bytes:
            file.seek(start)
            return file.read(end - start)

        return probe(RangeFile(fetch, path.stat().st_size), path.stat().st_size, name or path.name)


def probe(file: RangeFile, size_bytes: int, name: str) -> MediaInfo:
    """Read what is needed of a file to know what it is: its beginning, and its index wherever that lies.

    Args:
        file: its bytes.
        size_bytes: how many they are.
        name: what it is called in the library. Plays no part in finding out what it is.

    Raises:
        LibraryError: EMPTY_FILE; NOT_MEDIA; TRUNCATED, it is shorter than its headers say; UNSUPPORTED_TYPE, media of
            a kind that the library does not take; WRONG_EXTENSION, its name promises another format than it has;
            or what reading it raised.
    """
    if size_bytes == 0:
        raise LibraryError(LibraryErrorCode.EMPTY_FILE, f"{name!r} is empty.", "Upload it again.")
    seen = cast("BinaryIO", file)
    try:
        with av.open(seen, "r", container_options=_OPTIONS, metadata_errors="replace") as container:
            info = _info(container)
    except (FFmpegError, ValueError, ArithmeticError, EOFError) as error:
        # Headers may hold any number; what does not fit a schema is no media either.
        raise _unreadable(seen, size_bytes, name, error) from error
    worth_it = {
        StreamKind.VIDEO,
        StreamKind.AUDIO,
        StreamKind.SUBTITLE if info.container == "webvtt" else None,
    }
    if not any(stream.kind in worth_it for stream in info.streams):
        raise _not_media(name, "it holds neither sound nor moving pictures")
    missing = why_cut_short(seen, size_bytes, info.container)
    if missing:
        raise _truncated(name, missing)
    _check_name(name, info.container)
    return info


def _info(container: InputContainer) -> MediaInfo:
    duration_us = container.duration
    return MediaInfo(
        container=container.format.name,
        duration_ms=None if duration_us is None or duration_us < 0 else -(-duration_us // _US_PER_MS),
        streams=tuple(_stream(stream) for stream in container.streams),
    )


def _stream(stream: Any) -> MediaStream:
    context = stream.codec_context
    # Not by `stream.type`: of a type that FFmpeg has no word for, PyAV 14 reads it from address 0.
    kind = next((kind for known, kind in _KINDS if isinstance(stream, known)), StreamKind.DATA)
    if kind is StreamKind.VIDEO and stream.disposition & Disposition.attached_pic:
        # The cover of a song does not make a film of it.
        kind = StreamKind.DATA
    return MediaStream(
        index=stream.index,
        kind=kind,
        codec=context.codec.canonical_name if context is not None else "",
        language="" if stream.language == "und" else stream.language or "",
        **_measures(kind, stream, context),
    )


def _measures(kind: StreamKind, stream: Any, context: Any) -> dict[str, Any]:
    if context is None:
        # A codec that nobody here knows.
        return {}
    if kind is StreamKind.VIDEO:
        rate = stream.average_rate
        return {
            "width": context.width or None,
            "height": context.height or None,
            "frame_rate": f"{rate.numerator}/{rate.denominator}" if rate else "",
        }
    if kind is StreamKind.AUDIO:
        return {"sample_rate_hz": context.sample_rate or None, "channels": context.channels or None}
    return {}


def _check_name(name: str, container: str) -> None:
    fitting = _EXTENSIONS.get(container)
    if fitting is None:
        raise LibraryError(
            LibraryErrorCode.UNSUPPORTED_TYPE,
            f"{name!r} is of the format {container}, which the library does not take.",
            "Put its streams into an MP4 or Matroska file and upload that.",
        )
    if extension_of(name) not in fitting:
        raise LibraryError(
            LibraryErrorCode.WRONG_EXTENSION,
            f"{name!r} is of the format {container.partition(',')[0]}, which its name does not say.",
            f"Store it under a name that ends with {' or '.join(fitting)}.",
        )


def _unreadable(file: BinaryIO, size_bytes: int, name: str, error: Exception) -> LibraryError:
    if begins_like_media(file, size_bytes):
        return _truncated(name, "its index is missing or broken")
    why = error.strerror if isinstance(error, FFmpegError) else ""
    return _not_media(name, (why or "its headers make no sense")[:200])


def _truncated(name: str, what: str) -> LibraryError:
    return LibraryError(
        LibraryErrorCode.TRUNCATED,
        f"{name!r} is cut short: {what}.",
        "It broke off on its way: upload it again, whole.",
    )


def _not_media(name: str, why: str) -> LibraryError:
    return LibraryError(
        LibraryErrorCode.NOT_MEDIA,
        f"{name!r} is no media file: {why}.",
        "Give a video or audio file; its content counts, not its name.",
    )
