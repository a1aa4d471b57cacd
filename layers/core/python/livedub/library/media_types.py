"""Which files the library takes for media by their name, and what HTTP calls them. Content is probed besides."""

from __future__ import annotations

from enum import Enum

from livedub.library.object_keys import extension_of

_VIDEO = {
    ".mp4": "video/mp4",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".flv": "video/x-flv",
    ".wmv": "video/x-ms-wmv",
    ".m4v": "video/x-m4v",
}
_AUDIO = {
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".aac": "audio/aac",
    ".ogg": "audio/ogg",
    ".m4a": "audio/mp4",
}
_BESIDE = {
    ".vtt": "text/vtt",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".m4s": "video/iso.segment",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
}
"""What jobs and live streams leave beside media."""

VIDEO_EXTENSIONS = frozenset(_VIDEO)
AUDIO_EXTENSIONS = frozenset(_AUDIO)
MEDIA_EXTENSIONS = VIDEO_EXTENSIONS | AUDIO_EXTENSIONS
SUBTITLE_EXTENSIONS = frozenset({".vtt"})
REGISTERED_EXTENSIONS = MEDIA_EXTENSIONS | SUBTITLE_EXTENSIONS
"""What a scan enters into the catalogue: media, and the subtitles that live streams and jobs leave beside it."""

DEFAULT_CONTENT_TYPE = "application/octet-stream"


class MediaKind(str, Enum):
    """What a name promises."""

    VIDEO = "video"
    AUDIO = "audio"


def media_kind(key: str) -> MediaKind | None:
    """What the extension promises; None for what is no media to the library."""
    extension = extension_of(key)
    if extension in VIDEO_EXTENSIONS:
        return MediaKind.VIDEO
    return MediaKind.AUDIO if extension in AUDIO_EXTENSIONS else None


def content_type_of(key: str) -> str:
    """The media type by the extension, the same on every machine (the standard library's depends on its files)."""
    extension = extension_of(key)
    return _VIDEO.get(extension) or _AUDIO.get(extension) or _BESIDE.get(extension) or DEFAULT_CONTENT_TYPE
