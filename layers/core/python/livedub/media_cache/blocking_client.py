"""The media cache for threads.

One loop in a thread of its own does the work of `AsyncMediaCacheClient`: a deadline over a whole exchange is something
that blocking sockets do not have.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

from livedub.media_cache.errors import MediaCacheError, MediaCacheUnavailableError
from livedub.media_cache.key import Variant
from livedub.media_cache.media_cache_client import DEFAULT_DEADLINE_MS, AsyncMediaCacheClient
from livedub.media_cache.tls_bundle import CaBundle
from livedub.media_cache.wire import CacheMetadata
from livedub.sts.breaker import BreakerConfig

_GRACE_S = 5.0
"""What the loop may take beyond the deadline before something is wrong with it."""

T = TypeVar("T")


class MediaCacheClient:
    """Every call runs on one loop in a thread of its own, which starts at the first call.

    Deadlines, second choices and shared reads are those of `AsyncMediaCacheClient`; arguments and errors too.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        *,
        token: str = "",
        tls: CaBundle | None = None,
        deadline_ms: int = DEFAULT_DEADLINE_MS,
        breaker: BreakerConfig | None = None,
        transport: Any = None,
    ) -> None:
        self._client = AsyncMediaCacheClient(
            base_urls, token=token, tls=tls, deadline_ms=deadline_ms, breaker=breaker, transport=transport
        )
        self._wait_s = deadline_ms / 1_000 + _GRACE_S
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses that keys are shared among."""
        return self._client.hosts

    def get(self, key: str, variant: Variant) -> bytes | None:
        """As `AsyncMediaCacheClient.get`."""
        return self._run(self._client.get(key, variant))

    def get_range(self, key: str, variant: Variant, start: int, end: int) -> bytes | None:
        """As `AsyncMediaCacheClient.get_range`."""
        return self._run(self._client.get_range(key, variant, start, end))

    def exists(self, key: str, variant: Variant) -> bool:
        """As `AsyncMediaCacheClient.exists`."""
        return self._run(self._client.exists(key, variant))

    def put(self, metadata: CacheMetadata, body: bytes) -> bool:
        """As `AsyncMediaCacheClient.put`."""
        return self._run(self._client.put(metadata, body))

    def delete(self, key: str, variant: Variant) -> bool:
        """As `AsyncMediaCacheClient.delete`."""
        return self._run(self._client.delete(key, variant))

    def close(self) -> None:
        """Close every connection and end the thread; safe to call twice, but not beside another call."""
        with self._starting:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._client.aclose(), loop).result(self._wait_s)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(self._wait_s)
            loop.close()

    def __enter__(self) -> MediaCacheClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            loop = self._running_loop()
        except MediaCacheError:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result(self._wait_s)
        except BaseException:
            future.cancel()
            raise

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._closed:
                raise MediaCacheUnavailableError("the client is closed.", remedy="Make another.")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="media-cache", daemon=True
                )
                self._thread.start()
            return self._loop
