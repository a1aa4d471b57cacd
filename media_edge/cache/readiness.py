"""Whether an upload would succeed now, which is more than that the process lives."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from livedub.errors import LivedubError
from livedub.media_cache.catalogue_port import Catalogue
from media_edge.cache.blob_store import BlobStore, DiskFullError, StoreGoneError

_FRESH_S = 1.0
_TIMEOUT_S = 3.0


class Readiness:
    """Looks at store and catalogue, at most once a second however many ask."""

    def __init__(self, store: BlobStore, catalogue: Catalogue | None, *, min_free_bytes: int) -> None:
        self._store = store
        self._catalogue = catalogue
        self._min_free_bytes = min_free_bytes
        # Of its own: it must answer while every other thread hangs on a sick disk.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ready")
        self._look: asyncio.Future[tuple[str, ...]] | None = None
        self._looked_s = 0.0

    async def reasons(self) -> tuple[str, ...]:
        """Why uploads would fail; empty when they would not."""
        loop = asyncio.get_running_loop()
        stale = self._look is None or (self._look.done() and loop.time() - self._looked_s > _FRESH_S)
        if stale or self._look is None:
            self._look = loop.run_in_executor(self._executor, self._examine)
            self._looked_s = loop.time()
        done, _ = await asyncio.wait({self._look}, timeout=_TIMEOUT_S)
        return self._look.result() if done else ("the disk or the catalogue does not answer",)

    def _examine(self) -> tuple[str, ...]:
        found: list[str] = []
        try:
            self._store.check()
            if self._store.disk().free_bytes < self._min_free_bytes:
                found.append("the volume is nearly full")
            with self._store.stage():
                pass
        except DiskFullError:
            found.append("the volume is full")
        except StoreGoneError as error:
            found.append(error.message)
        except OSError as error:
            found.append(f"the volume fails: {error.strerror}")
        if self._catalogue is not None and not self._catalogue_answers(self._catalogue):
            found.append("the catalogue does not answer")
        return tuple(found)

    def _catalogue_answers(self, catalogue: Catalogue) -> bool:
        try:
            return catalogue.ready()
        except LivedubError:
            return False

    def close(self) -> None:
        """Let go of the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)
