"""A consumer of the media cache that asks all the time: `python -m tests.bench.media_rotation_consumer`.

Set up by the TTS_MEDIA_CACHE_* variables as every consumer, with nothing but our client library. It says how many
requests are done every now and then, goes on until its stdin ends and at least so many are done, and ends with JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections import Counter

from livedub.errors import LivedubError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.key import Variant
from livedub.media_cache.media_cache_client import AsyncMediaCacheClient, connect_media_cache
from tests.bench.media_bench_rig import metadata_of

OBJECTS = 200
OBJECT_BYTES = 40_000
TOLD_EVERY = 100
ONE_PUT_IN = 10


class Consumer:
    """`workers` tasks that read what is there and add to it."""

    def __init__(self, cache: AsyncMediaCacheClient, least: int, stop: threading.Event) -> None:
        self._cache, self._least, self._stop = cache, least, stop
        self.done = 0
        self.failures: Counter[str] = Counter()
        self.took_ms: list[float] = []

    async def run(self, workers: int) -> None:
        for number in range(OBJECTS):
            await self._cache.put(metadata_of(f"known {number}", OBJECT_BYTES), content(number))
        say("ready")
        await asyncio.gather(*(self._work() for _ in range(workers)))

    async def _work(self) -> None:
        while self.done < self._least or not self._stop.is_set():
            number = self.done
            self.done += 1
            if number % TOLD_EVERY == 0:
                say(str(number))
            began_s = time.perf_counter()
            try:
                wrong = await self._ask(number)
            except LivedubError as error:
                wrong = f"{type(error).__name__}: {error}"
            self.took_ms.append((time.perf_counter() - began_s) * 1_000)
            if wrong:
                self.failures[wrong] += 1

    async def _ask(self, number: int) -> str:
        if number % ONE_PUT_IN == 0:
            await self._cache.put(metadata_of(f"new {number}", OBJECT_BYTES), content(number))
            return ""
        known = number % OBJECTS
        body = await self._cache.get(metadata_of(f"known {known}", OBJECT_BYTES).key, Variant.ALAW)
        return "" if body == content(known) else f"{len(body or b'')} bytes came"


def content(number: int) -> bytes:
    """An object's bytes; every object has others."""
    return number.to_bytes(4, "big") * (OBJECT_BYTES // 4)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def consume(least: int, workers: int) -> None:
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    cache = connect_media_cache(MediaCacheSettings())
    if cache is None:
        raise SystemExit("TTS_MEDIA_CACHE_BASE_URL is not set")
    async with cache:
        consumer = Consumer(cache, least, stop)
        await consumer.run(workers)
    took_ms = sorted(consumer.took_ms)
    say(
        json.dumps(
            {
                "requests": len(took_ms),
                "failed": sum(consumer.failures.values()),
                "failures": dict(consumer.failures),
                "p50_ms": round(took_ms[len(took_ms) // 2], 2),
                "p99_ms": round(took_ms[int(len(took_ms) * 0.99)], 2),
                "max_ms": round(took_ms[-1], 2),
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--least", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=16)
    given = parser.parse_args()
    asyncio.run(consume(given.least, given.workers))
