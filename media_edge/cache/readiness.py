"""Whether an upload would succeed now, which is more than that the process lives."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from livedub.errors import LivedubError
from livedub.media_cache.catalogue_port import Catalogue
from media_edge.cache.blob_store import BlobStore, DiskFullError, StoreGoneError

_FRESH_S = 1.0
_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Ready:
    """Whether an upload would succeed.

    Attributes:
        reasons: why it would not; empty when it would.
        used_percent: how full the volume is; None where the volume does not say.
    """

    reasons: tuple[str, ...]
    used_percent: float | None


class Readiness:
    """Looks at store and catalogue, at most once a second however many ask."""

    def __init__(self, store: BlobStore, catalogue: Catalogue | None, *, min_free_bytes: int) -> None:
        self._store = store
        self._catalogue = catalogue
        self._min_free_bytes = min_free_bytes
        # Of its own: it must answer while every other thread hangs on a sick disk.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ready")
        self._look: asyncio.Future[Ready] | None = None
        self._looked_s = 0.0

    async def look(self) -> Ready:
        """How it is now."""
        loop = asyncio.get_running_loop()
        stale = self._look is None or (self._look.done() and loop.time() - self._looked_s > _FRESH_S)
        if stale or self._look is None:
            self._look = loop.run_in_executor(self._executor, self._examine)
            self._looked_s = loop.time()
        done, _ = await asyncio.wait({self._look}, timeout=_TIMEOUT_S)
        return self._look.result() if done else Ready(("the disk or the catalogue does not answer",), None)

    def _examine(self) -> Ready:
        found: list[str] = []
        used_percent: float | None = None
        try:
            self._store.check()
            disk = self._store.disk()
            used_percent = round(100 * (1 - disk.free_bytes / max(1, disk.total_bytes)), 1)
            if disk.free_bytes < self._min_free_bytes:
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
        return Ready(tuple(found), used_percent)

    def _catalogue_answers(self, catalogue: Catalogue) -> bool:
        try:
            return catalogue.ready()
        except LivedubError:
            return False

    def close(self) -> None:
        """Let go of the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)
