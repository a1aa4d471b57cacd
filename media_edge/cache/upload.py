"""One upload on its way from bytes to an object."""

from __future__ import annotations

from collections.abc import Sequence

from livedub.errors import LivedubError
from livedub.media_cache.catalogue_port import CacheEntry
from livedub.media_cache.key import Variant
from media_edge.cache.blob_store import BlobStore, StagedBlob
from media_edge.cache.content_digest import BodyDigests
from media_edge.cache.row_writer import RowWriter
from media_edge.cache.upload_request import UploadHead, unusable

_PCM_SAMPLE_BYTES = 2


class CatalogueError(LivedubError):
    """The catalogue took no row, so nothing was published."""


class Upload:
    """Stages a body and publishes it. `write` and `commit` run in threads, one after the other."""

    def __init__(self, store: BlobStore, head: UploadHead, rows: RowWriter | None) -> None:
        self._store = store
        self._head = head
        self._rows = rows
        self._digests = BodyDigests(head.digests)
        self._blob: StagedBlob | None = None
        self.size_bytes = 0

    def write(self, pieces: Sequence[bytes]) -> None:
        """Take the next pieces.

        Raises:
            DiskFullError: there is no room.
        """
        self._taken(pieces).write(pieces)

    def commit(self, pieces: Sequence[bytes]) -> bool:
        """Take the last pieces, check the whole, enter it in the catalogue and publish it; whether it is new.

        Raises:
            RefusedError: 422, the body is empty, half a sample long or not what a header says about it.
            DiskFullError: there is no room.
            CatalogueError: the catalogue took no row.
        """
        blob = self._taken(pieces)
        with blob:
            self.size_bytes = blob.size_bytes + sum(map(len, pieces))
            self._check()
            blob.write(pieces, durably=True)
            self._record()
            return self._store.publish(blob, self._head.path)

    def _taken(self, pieces: Sequence[bytes]) -> StagedBlob:
        if self._blob is None:
            self._blob = self._store.stage()
        for piece in pieces:
            self._digests.update(piece)
        return self._blob

    @property
    def open(self) -> bool:
        """Whether a stage is held that `discard` must let go of."""
        return self._blob is not None and self._blob.open

    def discard(self) -> None:
        """Let go of the stage. Waits for a thread that writes to it."""
        if self._blob is not None:
            self._blob.close()

    def _check(self) -> None:
        if self.size_bytes == 0:
            raise unusable("The body is empty.")
        if self._head.path.variant is Variant.PCM and self.size_bytes % _PCM_SAMPLE_BYTES:
            raise unusable("The body ends in the middle of a 16-bit sample.")
        metadata = self._head.metadata
        if metadata is not None and not metadata.variant.describes(self.size_bytes):
            raise unusable(f"The body does not last {metadata.variant.duration_ms} ms.")
        if (algorithm := self._digests.mismatch()) is not None:
            raise unusable(f"The body is not what Content-Digest says ({algorithm}).")

    def _record(self) -> None:
        if self._rows is None or self._head.metadata is None:
            return
        try:
            self._rows.record(CacheEntry.of(self._head.metadata))
        except LivedubError as error:
            raise CatalogueError(error.message) from error
