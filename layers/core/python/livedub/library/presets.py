"""The presets that come with livedub. Presets of one's own are rows in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import AudioEncoding, Container, Preset, VideoEncoding

_PRESETS = (
    Preset(
        name="web-1080p",
        description="Up to 1080 lines for browsers: H.264 and AAC in an MP4 that starts before it is loaded.",
        container=Container.MP4,
        video=VideoEncoding(max_height=1_080, quality=22, max_bitrate_kbps=6_000),
        audio=AudioEncoding(bitrate_kbps=160),
    ),
    Preset(
        name="web-720p",
        description="Up to 720 lines for browsers: H.264 and AAC in an MP4 that starts before it is loaded.",
        container=Container.MP4,
        video=VideoEncoding(max_height=720, quality=23, max_bitrate_kbps=3_000),
        audio=AudioEncoding(bitrate_kbps=128),
    ),
    Preset(
        name="audio-only",
        description="The sound alone: AAC in an M4A.",
        container=Container.M4A,
        audio=AudioEncoding(bitrate_kbps=160),
    ),
    Preset(
        name="hls",
        description="Parts of 6 s and a playlist for HLS players: H.264 up to 720 lines, and AAC.",
        container=Container.HLS,
        video=VideoEncoding(max_height=720, quality=23, max_bitrate_kbps=3_000),
        audio=AudioEncoding(bitrate_kbps=128),
        hls_part_s=6,
    ),
)

BUILT_IN: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _PRESETS})


class UnknownPresetError(LibraryError):
    """UNKNOWN_PRESET: there is no preset of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            LibraryErrorCode.UNKNOWN_PRESET,
            f"There is no preset {name!r}.",
            f"Take one of {', '.join(sorted(BUILT_IN))}, or see livedub library presets for your own.",
        )


class PresetStore(Protocol):
    """Presets that come with livedub, and one's own. Methods block and raise LibraryError."""

    def list(self) -> tuple[Preset, ...]:
        """All of them, by name."""
        ...

    def get(self, name: str) -> Preset:
        """One of them."""
        ...

    def put(self, preset: Preset) -> bool:
        """Enter or replace one of one's own; True where it is new."""
        ...

    def delete(self, name: str) -> None:
        """Take one of one's own out; jobs keep the preset that they were made with."""
        ...
