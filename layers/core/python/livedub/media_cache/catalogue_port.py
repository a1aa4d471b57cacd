"""What the upload service needs of a catalogue; the catalogue itself is in `catalogue_store.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from livedub.media_cache.key import Variant
from livedub.media_cache.wire import AudioVariant, CacheMetadata


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One variant of one key, as it is entered; `ttl_s` counts from now."""

    hash: str
    sentence: str
    voice: str
    model: str
    speed_percent: int
    variant: AudioVariant
    ttl_s: int | None = None

    @classmethod
    def of(cls, metadata: CacheMetadata) -> CacheEntry:
        """The entry that an upload's metadata make."""
        return cls(
            metadata.key,
            metadata.sentence,
            metadata.voice,
            metadata.model,
            metadata.speed,
            metadata.variant,
            metadata.ttl_s,
        )


class Catalogue(Protocol):
    """Rows beside objects. Methods block, may be called from any thread, and raise LivedubError."""

    def record(self, entry: CacheEntry) -> None:
        """Enter a variant, beside others of its key; gives up within seconds where the row is locked."""
        ...

    def forget(self, key: str, encoding: Variant) -> None:
        """Take a variant out, and the row with its last one; leaves a row alone that somebody else holds locked."""
        ...

    def ready(self) -> bool:
        """Whether a row could be written now."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
