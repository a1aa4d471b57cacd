"""Consumers of the media cache that store and read without a pause, and look at their settings as worker hosts do."""

from __future__ import annotations

import threading
import time
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
"""How often a consumer reads token and bundle; well within the time that a rotation gives it."""
_POLL_S = 0.05
_DEADLINE_MS = 20_000
_END_S = 60.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a consumer is told: TTS_MEDIA_CACHE_UPLOAD_TOKEN and TTS_MEDIA_CACHE_CA_BUNDLE."""

    token: str = field(repr=False)
    bundle: str


@dataclass(slots=True)
class Load:
    """What all consumers had, known once they have stopped."""

    requests: int = 0
    failures: list[str] = field(default_factory=list[str])
    consumers: list[_Consumer] = field(default_factory=list["_Consumer"])

    def all_write_with(self, token: str, within_s: float) -> bool:
        """Whether every consumer has stored something with `token`, waited for so long at most."""
        deadline_s = time.monotonic() + within_s
        while not (done := all(consumer.wrote_with == token for consumer in self.consumers)):
            if time.monotonic() > deadline_s:
                break
            time.sleep(_POLL_S)
        return done


@contextmanager
def under_load(url: str, told: Callable[[], Told], *, consumers: int = 2) -> Iterator[Load]:
    """So many consumers as long as the context lasts; `told` reads what they are told anew."""
    running = [_Consumer(f"consumer-{number}", url, told) for number in range(consumers)]
    load = Load(consumers=running)
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
    def __init__(self, name: str, url: str, told: Callable[[], Told]) -> None:
        super().__init__(name=name, daemon=True)
        self._url, self._read = url, told
        self._stop_asked = threading.Event()
        self._clients: list[MediaCacheClient] = []
        self._used = self._connected(told())
        self.wrote_with = ""
        self.requests = 0
        self.failures: list[str] = []

    def ask_to_stop(self) -> None:
        self._stop_asked.set()

    def run(self) -> None:
        watcher = threading.Thread(target=self._watch, name=f"{self.name}-settings", daemon=True)
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
        told, client = self._used
        self.requests += 2
        try:
            client.put(metadata, _BODY)
            self.wrote_with = told.token
            if client.get(metadata.key, Variant.ALAW) != _BODY:
                self.failures.append("what was read is not what was stored")
        except MediaCacheError as error:
            self.failures.append(repr(error))

    def _watch(self) -> None:
        while not self._stop_asked.wait(_LOOK_S):
            told = self._read()
            if told != self._used[0]:
                # The one before is left to whoever is in the middle of a request.
                self._used = self._connected(told)

    def _connected(self, told: Told) -> tuple[Told, MediaCacheClient]:
        tls = parse_ca_bundle(told.bundle)
        client = MediaCacheClient([self._url], token=told.token, tls=tls, deadline_ms=_DEADLINE_MS)
        self._clients.append(client)
        return told, client
