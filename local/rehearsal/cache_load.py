"""Consumers of the media cache that store and read without a pause, and read their bundle again as worker hosts do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from livedub.media_cache.blocking_client import MediaCacheClient
from livedub.media_cache.errors import MediaCacheError
from livedub.media_cache.key import Variant
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.wire import AudioVariant, CacheMetadata

_BODY = b"\x55" * 800
_LOOK_S = 0.5
"""How often a consumer reads its bundle; well within the time that a rotation gives it."""
_DEADLINE_MS = 20_000
_END_S = 60.0


@dataclass(slots=True)
class Load:
    """What all consumers had, known once they have stopped."""

    requests: int = 0
    failures: list[str] = field(default_factory=list[str])


@contextmanager
def under_load(url: str, token: str, bundle: Callable[[], str], *, consumers: int = 2) -> Iterator[Load]:
    """So many consumers as long as the context lasts; `bundle` reads TTS_MEDIA_CACHE_CA_BUNDLE anew."""
    load = Load()
    running = [_Consumer(f"consumer-{number}", url, token, bundle) for number in range(consumers)]
    for consumer in running:
        consumer.start()
    try:
        yield load
    finally:
        for consumer in running:
            consumer.ask_to_stop()
        for consumer in running:
            consumer.join(_END_S)
            load.requests += consumer.requests
            load.failures += consumer.failures


class _Consumer(threading.Thread):
    def __init__(self, name: str, url: str, token: str, bundle: Callable[[], str]) -> None:
        super().__init__(name=name, daemon=True)
        self._url, self._token, self._read_bundle = url, token, bundle
        self._stop_asked = threading.Event()
        self._clients: list[MediaCacheClient] = []
        self._bundle = bundle()
        self._client = self._connected(self._bundle)
        self.requests = 0
        self.failures: list[str] = []

    def ask_to_stop(self) -> None:
        self._stop_asked.set()

    def run(self) -> None:
        watcher = threading.Thread(target=self._watch, name=f"{self.name}-bundle", daemon=True)
        watcher.start()
        metadata = CacheMetadata(
            sentence=f"said by {self.name}",
            voice="en/af_heart",
            model="rehearsal:load",
            variant=AudioVariant.of(Variant.ALAW, len(_BODY)),
        )
        try:
            while not self._stop_asked.is_set():
                self._store_and_read(metadata)
        finally:
            watcher.join(_END_S)
            for client in self._clients:
                client.close()

    def _store_and_read(self, metadata: CacheMetadata) -> None:
        client = self._client
        self.requests += 2
        try:
            client.put(metadata, _BODY)
            if client.get(metadata.key, Variant.ALAW) != _BODY:
                self.failures.append("what was read is not what was stored")
        except MediaCacheError as error:
            self.failures.append(repr(error))

    def _watch(self) -> None:
        while not self._stop_asked.wait(_LOOK_S):
            bundle = self._read_bundle()
            if bundle != self._bundle:
                # The one before is left to whoever is in the middle of a request.
                self._bundle, self._client = bundle, self._connected(bundle)

    def _connected(self, bundle: str) -> MediaCacheClient:
        tls = parse_ca_bundle(bundle)
        client = MediaCacheClient([self._url], token=self._token, tls=tls, deadline_ms=_DEADLINE_MS)
        self._clients.append(client)
        return client
