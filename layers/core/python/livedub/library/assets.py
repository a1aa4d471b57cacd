"""What the catalogue of assets can do, and what a scan and a reader of files need of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.object_keys import ObjectInfo
from livedub.library.types import (
    Asset,
    AssetPage,
    AssetStatus,
    BucketRole,
    MediaError,
    MediaInfo,
    PageRequest,
    StreamKind,
)


class KnownObject(NamedTuple):
    """As much of a row as a scan compares."""

    key: str
    etag: str
    gone: bool


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of objects that were entered: keys of those that were new or back, and of those with new content."""

    new: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()


class NoSuchAssetError(LibraryError):
    """NO_SUCH_ASSET: the catalogue knows no such file."""

    def __init__(self, what: str) -> None:
        super().__init__(
            LibraryErrorCode.NO_SUCH_ASSET,
            f"The catalogue knows no asset {what}.",
            "Scan the bucket: livedub library scan.",
        )


class AssetStore(Protocol):
    """Assets in the catalogue. Methods block, may be called from any thread, and raise LibraryError."""

    def get(self, asset_id: UUID) -> Asset:
        """One asset."""
        ...

    def find(self, bucket: BucketRole, key: str) -> Asset | None:
        """The asset of a key, if it is known."""
        ...

    def list(
        self,
        page: PageRequest | None = None,
        *,
        bucket: BucketRole | None = None,
        status: AssetStatus | None = None,
        kind: StreamKind | None = None,
        prefix: str | None = None,
        search: str | None = None,
    ) -> AssetPage:
        """Assets by bucket and key."""
        ...

    def counts(self) -> dict[AssetStatus, int]:
        """How many assets have which status."""
        ...

    def register(self, bucket: BucketRole, objects: Sequence[ObjectInfo]) -> Registered:
        """Enter objects just stored."""
        ...

    def read(self, asset: Asset, found: MediaInfo | MediaError) -> bool:
        """Enter what reading an asset's content told; False where the content is another by now."""
        ...


class ScannedAssets(Protocol):
    """What a scan needs. Methods block and raise LibraryError."""

    def moment(self) -> datetime:
        """The clock that rows are kept by."""
        ...

    def known(self, bucket: BucketRole, prefix: str, after: str, limit: int) -> Sequence[KnownObject]:
        """Rows whose key begins with `prefix` and lies behind `after`, in order of their keys' bytes."""
        ...

    def enter(
        self, bucket: BucketRole, objects: Sequence[ObjectInfo], *, listed_since: datetime
    ) -> Collection[str]:
        """Enter objects that are new, back or changed, but leave rows alone that changed after `listed_since`.

        Returns:
            The keys whose rows were made or changed.
        """
        ...

    def mark_gone(self, bucket: BucketRole, keys: Sequence[str], *, listed_since: datetime) -> int:
        """Say of keys that they are gone, but leave rows alone that changed after `listed_since`.

        Returns:
            How many rows were changed.
        """
        ...
