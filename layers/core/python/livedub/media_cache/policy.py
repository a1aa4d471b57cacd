"""When speech is taken from the media cache and when it is stored there: one policy for everything that dubs.

A cache helps with what is said again and again, and must cost nothing where it does not help. So a lookup has a short
time after which nobody waits for it, a cache that keeps being late or failing is left alone for a while, and only what
is spoken for the second time is stored, in the background. Nothing here ever fails a dub.

The owner asks `lookup`; where that finds nothing and `wants` says so, it makes the speech at natural speed and offers it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from livedub.audio.pcm import Samples
from livedub.errors import InvalidInputError, LivedubError
from livedub.media_cache.key import NATURAL_SPEED_PERCENT, Variant, cache_key
from livedub.media_cache.stored_audio import decode_variant, encode_variant
from livedub.media_cache.wire import SAMPLE_RATES_HZ, AudioVariant, CacheMetadata
from livedub.sts.breaker import BreakerConfig, BreakerState, CircuitBreaker, Outcome

logger = logging.getLogger(__name__)

READ_VARIANT = Variant.PCM
READ_RATE_HZ = SAMPLE_RATES_HZ[READ_VARIANT]

LOOKUP_BREAKER = BreakerConfig(failures_to_open=3, cool_down_ms=2_000)
"""A lookup is worth a few milliseconds now and then, not for every dub."""

_NOBODYS_KEY = "0" * 64
_REMEMBERED_SENTENCES = 50_000
_MOST_LOOKUPS = 64
_MOST_WRITES = 16
_CLOSING_S = 2.0


class SpeechStore(Protocol):
    """The cache itself; `AsyncMediaCacheClient` is one."""

    @property
    def writes(self) -> bool:
        """Whether it may be written to."""
        ...

    async def get(self, key: str, variant: Variant) -> bytes | None:
        """The object, None where there is none; raises `LivedubError` where that cannot be known."""
        ...

    async def put(self, metadata: CacheMetadata, body: bytes) -> bool:
        """Store an object; raises `LivedubError` where that fails."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """What is said, by which voice of which model, at natural speed: what the cache knows speech by."""

    sentence: str
    voice: str
    model: str

    @property
    def key(self) -> str:
        """The cache key; empty where no key can be made of it."""
        try:
            return cache_key(self.sentence, self.voice, self.model, NATURAL_SPEED_PERCENT)
        except InvalidInputError:
            return ""


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """How a policy behaves.

    Attributes:
        lookup_ms: longest that a caller waits.
        admit_on_sight: which time a sentence is looked up makes it worth storing.
        ttl_s: how long stored speech is kept at least; None for ever.
        variants: what is stored of each sentence.
    """

    lookup_ms: int = 20
    admit_on_sight: int = 2
    ttl_s: int | None = None
    variants: Sequence[Variant] = (Variant.PCM,)


@dataclass(slots=True)
class PolicyCounts:
    """What became of lookups and writes, for metrics and tests."""

    hits: int = 0
    misses: int = 0
    late: int = 0
    failed: int = 0
    skipped: int = 0
    """Not asked: the cache is being left alone, or too many lookups are under way."""
    stored: int = 0
    store_failed: int = 0
    store_skipped: int = 0


@dataclass(slots=True)
class _Sights:
    """How often each of the last sentences was looked up."""

    most: int
    seen: OrderedDict[bytes, int] = field(default_factory=OrderedDict[bytes, int])

    def see(self, key: str) -> None:
        short = bytes.fromhex(key)[:16]
        self.seen[short] = self.seen.pop(short, 0) + 1
        while len(self.seen) > self.most:
            self.seen.popitem(last=False)

    def count(self, key: str) -> int:
        return self.seen.get(bytes.fromhex(key)[:16], 0)


class CachePolicy:
    """Belongs to one asyncio loop.

    Args:
        store: the cache; closed with the policy.
        config: how to behave.
        clock_ns: monotonic.
    """

    def __init__(
        self,
        store: SpeechStore,
        config: PolicyConfig | None = None,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        remembered: int = _REMEMBERED_SENTENCES,
    ) -> None:
        self._store = store
        self._config = config or PolicyConfig()
        self._clock_ns = clock_ns
        self._breaker = CircuitBreaker(LOOKUP_BREAKER)
        self._told_down = False
        self._problem = ""
        self._sights = _Sights(remembered)
        self._reading: set[asyncio.Task[Samples | None]] = set()
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.counts = PolicyCounts()

    @property
    def writes(self) -> bool:
        """Whether anything can be stored."""
        return self._store.writes

    async def warm_up(self) -> None:
        """Connect before the first dub needs it, and tell the log where that is not possible. Never raises.

        The first exchange of a process costs tens of milliseconds of its own: libraries load, a connection opens.
        """
        try:
            await self._store.get(_NOBODYS_KEY, READ_VARIANT)
        except LivedubError as error:
            logger.warning("the media cache does not answer: %s", error)
        except Exception:
            logger.exception("the media cache does not answer")
        else:
            logger.info("the media cache answers")

    def replace_store(self, store: SpeechStore) -> None:
        """From now on ask `store`, of which nothing bad is known yet; the one before is closed when it is not used any more."""
        before, self._store = self._store, store
        self._breaker = CircuitBreaker(LOOKUP_BREAKER)
        using = {*self._reading, *self._writing.values()}
        task = asyncio.create_task(_retire(before, using), name="close the media cache before")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def lookup(self, line: SpokenLine) -> Samples | None:
        """The line's speech at natural speed, mono at `READ_RATE_HZ`; None where it is not to be had in time.

        Never raises but for cancelling, never takes longer than `lookup_ms`.
        """
        key = line.key
        if not key:
            return None
        self._sights.see(key)
        breaker = self._breaker
        ticket = breaker.admit(self._clock_ns()) if len(self._reading) < _MOST_LOOKUPS else None
        if ticket is None:
            self.counts.skipped += 1
            return None
        # A connection that is just being made serves the next lookup: so the exchange goes on when nobody waits.
        task = asyncio.create_task(self._read(key), name="media cache lookup")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        outcome = Outcome.ABANDONED
        try:
            await asyncio.wait({task}, timeout=self._config.lookup_ms / 1_000)
            samples, outcome = self._judged(task)
        finally:
            breaker.settle(ticket, outcome, self._clock_ns())
            self._tell_of_breaker()
        return samples

    def wants(self, line: SpokenLine) -> bool:
        """Whether speech for `line` is to be offered: it was asked for often enough, and can be stored."""
        key = line.key
        return (
            bool(key)
            and self._store.writes
            and key not in self._writing
            and self._sights.count(key) >= self._config.admit_on_sight
        )

    def offer(self, line: SpokenLine, samples: Samples, sample_rate_hz: int) -> None:
        """Store natural speech in the background, if `wants` says so; mono samples of any rate."""
        if not self.wants(line):
            return
        if len(self._writing) >= _MOST_WRITES:
            self.counts.store_skipped += 1
            return
        key = line.key
        task = asyncio.create_task(self._write(line, samples, sample_rate_hz), name="media cache write")
        self._writing[key] = task
        task.add_done_callback(lambda _: self._writing.pop(key, None))

    async def settle(self) -> None:
        """Wait until everything offered so far is stored, or has failed to be."""
        if self._writing:
            await asyncio.wait(set(self._writing.values()))

    async def aclose(self) -> None:
        """Give what is being stored a moment, then end it, and the store. Safe to call twice."""
        tasks = {*self._reading, *self._writing.values()}
        for task in self._reading:
            task.cancel()
        if self._writing:
            await asyncio.wait(set(self._writing.values()), timeout=_CLOSING_S)
        tasks |= self._retiring
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._store.aclose()

    def _judged(self, task: asyncio.Task[Samples | None]) -> tuple[Samples | None, Outcome]:
        """What a lookup found, and what that says about the cache's health."""
        if not task.done():
            self.counts.late += 1
            self._problem = f"no answer within {self._config.lookup_ms} ms"
            task.add_done_callback(_forget_failure)
            return None, Outcome.FAILURE
        try:
            samples = task.result()
        except asyncio.CancelledError:
            return None, Outcome.ABANDONED
        except LivedubError as error:
            self.counts.failed += 1
            self._problem = str(error)
            return None, Outcome.FAILURE
        except Exception:
            self.counts.failed += 1
            self._problem = "an unexpected error"
            logger.exception("a lookup in the media cache failed")
            return None, Outcome.FAILURE
        if samples is None:
            self.counts.misses += 1
        else:
            self.counts.hits += 1
        return samples, Outcome.SUCCESS

    def _tell_of_breaker(self) -> None:
        state = self._breaker.state
        if state is BreakerState.OPEN and not self._told_down:
            self._told_down = True
            reason = self._breaker.reason
            logger.warning("the media cache is hardly asked any more (%s): %s", reason, self._problem)
        elif state is BreakerState.CLOSED and self._told_down:
            self._told_down = False
            logger.info("the media cache answers again")

    async def _read(self, key: str) -> Samples | None:
        body = await self._store.get(key, READ_VARIANT)
        return decode_variant(body, READ_VARIANT) if body else None

    async def _write(self, line: SpokenLine, samples: Samples, sample_rate_hz: int) -> None:
        store = self._store
        try:
            for variant in self._config.variants:
                body = await asyncio.to_thread(encode_variant, samples, sample_rate_hz, variant)
                if not body:
                    return
                metadata = CacheMetadata(
                    sentence=line.sentence,
                    voice=line.voice,
                    model=line.model,
                    variant=AudioVariant.of(variant, len(body)),
                    ttl_s=self._config.ttl_s,
                )
                await store.put(metadata, body)
        except (LivedubError, ValueError) as error:  # pydantic's errors are ValueErrors
            self.counts.store_failed += 1
            logger.warning("speech was not stored in the media cache: %s", error)
        except Exception:
            self.counts.store_failed += 1
            logger.exception("storing speech in the media cache failed")
        else:
            self.counts.stored += 1


async def _retire(store: SpeechStore, using: set[asyncio.Task[Any]]) -> None:
    try:
        if using:
            await asyncio.wait(using)
    finally:
        await store.aclose()


def _forget_failure(task: asyncio.Task[Samples | None]) -> None:
    """Nobody waits any more for what a late lookup has to say."""
    if not task.cancelled():
        task.exception()
