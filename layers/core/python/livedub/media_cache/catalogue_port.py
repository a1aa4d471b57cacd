"""What upload service and clean-up need of a catalogue; the catalogue itself is in `catalogue_store.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
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

    def record(self, entries: Sequence[CacheEntry]) -> None:
        """Enter variants of different keys, all or none, each beside others of its key.

        Gives up within seconds where one of the rows is locked.
        """
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


@dataclass(frozen=True, slots=True)
class CataloguedKey:
    """A row as the clean-up sees it: its key, the encodings it lists, and when its time is over."""

    hash: str
    encodings: tuple[str, ...]
    ttl: datetime


@dataclass(slots=True)
class ExpiredBatch:
    """Rows that are locked for a while; those whose key is in `done` at its end are deleted."""

    rows: Sequence[CataloguedKey]
    done: set[str] = field(default_factory=set[str])


class ExpiringCatalogue(Protocol):
    """What the clean-up needs. Methods block, and raise LivedubError."""

    def now(self) -> datetime:
        """The clock that rows are kept by."""
        ...

    def expired(self, cutoff: datetime, after: CataloguedKey | None, limit: int) -> tuple[CataloguedKey, ...]:
        """Rows whose time was over at `cutoff`, the oldest first, from the one behind `after` on."""
        ...

    def hold_expired(
        self, cutoff: datetime, after: CataloguedKey | None, limit: int
    ) -> AbstractContextManager[ExpiredBatch]:
        """As `expired`, but locked for the block, without those that somebody else has locked."""
        ...

    def listed(self, keys: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """The encodings that the rows of these keys list; a key without a row is left out."""
        ...

    def reserve(self, key: str) -> AbstractContextManager[frozenset[str] | None]:
        """Keep uploads of a key waiting for the block; gives the encodings listed for it, None where it is locked."""
        ...
