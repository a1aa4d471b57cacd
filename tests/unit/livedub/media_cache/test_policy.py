import asyncio
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.audio.pcm import Samples
from livedub.errors import LivedubError
from livedub.media_cache.errors import MediaCacheUnavailableError
from livedub.media_cache.key import Variant
from livedub.media_cache.media_cache_client import AsyncMediaCacheClient
from livedub.media_cache.policy import (
    LOOKUP_BREAKER,
    READ_RATE_HZ,
    CachePolicy,
    PolicyConfig,
    PolicyCounts,
    SpokenLine,
)
from tests.unit.livedub.media_cache.fake_cache import FakeCache, running
from tests.unit.livedub.media_cache.memory_store import MemoryStore

LINE = SpokenLine("Hola", "es/a", "m")
PATIENT = PolicyConfig(lookup_ms=10_000)
"""Where no time is to pass, so that a slow machine changes nothing."""


def speech(seconds: float = 0.2, rate_hz: int = READ_RATE_HZ) -> Samples:
    return (0.5 * np.sin(np.arange(int(seconds * rate_hz)) * 0.05)).astype(np.float32)


async def test_what_is_said_twice_is_stored_and_found_the_third_time():
    policy = CachePolicy(MemoryStore(), PATIENT)
    for sight in (1, 2):
        assert await policy.lookup(LINE) is None
        assert policy.wants(LINE) is (sight == 2)
        policy.offer(LINE, speech(), READ_RATE_HZ)
        await policy.settle()
    found = await policy.lookup(LINE)
    assert found is not None
    assert np.allclose(found, speech(), atol=1e-4)
    assert (policy.counts.misses, policy.counts.hits, policy.counts.stored) == (2, 1, 1)


async def test_what_is_stored_says_what_it_is():
    store = MemoryStore()
    policy = CachePolicy(
        store, PolicyConfig(10_000, admit_on_sight=1, ttl_s=60, variants=(Variant.PCM, Variant.ALAW))
    )
    await policy.lookup(LINE)
    policy.offer(LINE, speech(rate_hz=22_050), 22_050)
    await policy.settle()
    assert {(upload.key, upload.variant.encoding) for upload in store.uploads} == set(store.objects)
    assert {upload.ttl_s for upload in store.uploads} == {60}
    assert {upload.variant.duration_ms for upload in store.uploads} == {200}
    assert len(store.objects[LINE.key, Variant.PCM]) == 2 * 4_800
    assert len(store.objects[LINE.key, Variant.ALAW]) == 1_600


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_a_sentence_is_wanted_from_the_given_sight_on(said: list[int], admit_on_sight: int):
    async def scene() -> None:
        policy = CachePolicy(MemoryStore(), PolicyConfig(10_000, admit_on_sight))
        for position, number in enumerate(said, start=1):
            line = SpokenLine(f"{number}", "v", "m")
            await policy.lookup(line)
            assert policy.wants(line) == (said[:position].count(number) >= admit_on_sight)

    asyncio.run(scene())


async def test_only_so_many_sentences_are_remembered():
    policy = CachePolicy(MemoryStore(), PATIENT, remembered=2)
    for sentence in ("a", "b", "c", "a"):
        await policy.lookup(SpokenLine(sentence, "v", "m"))
    assert not policy.wants(SpokenLine("a", "v", "m"))
    await policy.lookup(SpokenLine("c", "v", "m"))
    assert policy.wants(SpokenLine("c", "v", "m"))


async def test_a_late_answer_is_not_waited_for():
    hang = asyncio.Event()
    policy = CachePolicy(MemoryStore(hang=hang), PolicyConfig(lookup_ms=1))
    assert await policy.lookup(LINE) is None
    assert policy.counts.late == 1
    hang.set()
    await policy.aclose()


@pytest.mark.parametrize(
    "failure", [MediaCacheUnavailableError("down"), LivedubError("x"), ValueError("bug")]
)
async def test_a_cache_that_fails_is_soon_left_alone_and_asked_again_later(failure: Exception):
    now_ns = 0
    store = MemoryStore(failure=failure)
    policy = CachePolicy(store, PATIENT, clock_ns=lambda: now_ns)
    for _ in range(10):
        assert await policy.lookup(LINE) is None
    assert store.reads == policy.counts.failed == LOOKUP_BREAKER.failures_to_open
    assert policy.counts.skipped == 10 - LOOKUP_BREAKER.failures_to_open
    now_ns += LOOKUP_BREAKER.cool_down_ms * 1_000_000
    store.failure = None
    for _ in range(3):
        assert await policy.lookup(LINE) is None
    assert policy.counts.misses == 3


async def test_a_cache_that_is_always_late_is_left_alone_too():
    store = MemoryStore(hang=asyncio.Event())
    policy = CachePolicy(store, PolicyConfig(lookup_ms=1), clock_ns=lambda: 0)
    for _ in range(10):
        await policy.lookup(LINE)
    assert store.reads == LOOKUP_BREAKER.failures_to_open
    await policy.aclose()


async def test_a_long_trouble_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    now_ns = 0
    store = MemoryStore(failure=MediaCacheUnavailableError("down"))
    policy = CachePolicy(store, PATIENT, clock_ns=lambda: now_ns)
    for _ in range(20):
        await policy.lookup(LINE)
        now_ns += LOOKUP_BREAKER.cool_down_ms * 1_000_000
    store.failure = None
    await policy.lookup(LINE)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "3 failures in a row): down" in caplog.text


async def test_a_read_only_cache_is_offered_nothing():
    store = MemoryStore(writes=False)
    policy = CachePolicy(store, PolicyConfig(10_000, admit_on_sight=1))
    await policy.lookup(LINE)
    assert not policy.wants(LINE)
    policy.offer(LINE, speech(), READ_RATE_HZ)
    await policy.settle()
    assert not store.uploads


async def test_one_sentence_is_stored_once_at_a_time():
    hang = asyncio.Event()
    store = MemoryStore()
    policy = CachePolicy(store, PolicyConfig(10_000, admit_on_sight=1))
    await policy.lookup(LINE)
    store.hang = hang
    for _ in range(5):
        policy.offer(LINE, speech(), READ_RATE_HZ)
    hang.set()
    await policy.settle()
    assert len(store.uploads) == 1


async def test_writes_that_pile_up_are_left_out():
    hang = asyncio.Event()
    store = MemoryStore()
    policy = CachePolicy(store, PolicyConfig(10_000, admit_on_sight=1))
    lines = [SpokenLine(f"{number}", "v", "m") for number in range(40)]
    for line in lines:
        await policy.lookup(line)
    store.hang = hang
    for line in lines:
        policy.offer(line, speech(0.01), READ_RATE_HZ)
    hang.set()
    await policy.settle()
    assert policy.counts.stored + policy.counts.store_skipped == len(lines)
    assert policy.counts.store_skipped > 0


@pytest.mark.parametrize("failure", [MediaCacheUnavailableError("full"), ValueError("bug")])
async def test_a_write_that_fails_harms_nobody(failure: Exception):
    store = MemoryStore()
    policy = CachePolicy(store, PolicyConfig(10_000, admit_on_sight=1))
    await policy.lookup(LINE)
    store.failure = failure
    policy.offer(LINE, speech(), READ_RATE_HZ)
    await policy.settle()
    assert policy.counts.store_failed == 1
    assert policy.wants(LINE)


async def test_what_cannot_be_a_key_or_metadata_is_left_out():
    policy = CachePolicy(MemoryStore(), PolicyConfig(10_000, admit_on_sight=1))
    broken = SpokenLine("\ud83d", "v", "m")
    assert await policy.lookup(broken) is None
    assert not policy.wants(broken)
    endless = SpokenLine("a" * 10_000, "v", "m")
    await policy.lookup(endless)
    policy.offer(endless, speech(), READ_RATE_HZ)
    policy.offer(LINE, np.zeros(0, dtype=np.float32), READ_RATE_HZ)
    await policy.settle()
    assert policy.counts.store_failed == 1


async def test_closing_ends_what_is_under_way():
    store = MemoryStore(hang=asyncio.Event())
    policy = CachePolicy(store, PolicyConfig(lookup_ms=1))
    await policy.lookup(LINE)
    await policy.aclose()
    await policy.aclose()
    assert store.closed == 2
    assert not [task for task in asyncio.all_tasks() if "media cache" in task.get_name()]


async def test_a_caller_that_is_cancelled_says_nothing_about_the_cache():
    store = MemoryStore(hang=asyncio.Event())
    policy = CachePolicy(store, PATIENT, clock_ns=lambda: 0)
    for _ in range(2 * LOOKUP_BREAKER.failures_to_open):
        asking = asyncio.create_task(policy.lookup(LINE))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert policy.counts.skipped == 0
    await policy.aclose()


@pytest.mark.parametrize(
    ("failure", "levels"),
    [(None, ["INFO"]), (MediaCacheUnavailableError("down"), ["WARNING"]), (ValueError("bug"), ["ERROR"])],
)
async def test_the_log_says_whether_the_cache_answers_at_the_start(
    failure: Exception | None, levels: list[str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    policy = CachePolicy(MemoryStore(failure=failure), PATIENT)
    await policy.warm_up()
    assert [record.levelname for record in caplog.records] == levels
    assert policy.counts == PolicyCounts()


async def test_it_works_over_the_wire():
    async with running(FakeCache()) as cache:
        policy = CachePolicy(
            AsyncMediaCacheClient([cache.url], token="-".join("abc")), PolicyConfig(10_000, 1)
        )
        assert await policy.lookup(LINE) is None
        policy.offer(LINE, speech(), READ_RATE_HZ)
        await policy.settle()
        found = await policy.lookup(LINE)
        await policy.aclose()
    assert found is not None
    assert len(found) == len(speech())


async def test_another_store_is_asked_and_the_one_before_closed_when_nothing_uses_it():
    release = asyncio.Event()
    before, after = MemoryStore(hang=release), MemoryStore()
    policy = CachePolicy(before, PATIENT)
    asked = asyncio.create_task(policy.lookup(LINE))
    while not before.reads:  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0)
    policy.replace_store(after)
    assert await policy.lookup(SpokenLine("Adios", "es/a", "m")) is None
    assert (after.reads, before.closed) == (1, 0)
    release.set()
    assert await asked is None
    await asyncio.wait_for(asyncio.gather(*policy._retiring), 10)
    assert (before.closed, after.closed) == (1, 0)
    await policy.aclose()
    assert after.closed == 1


async def test_a_store_that_replaces_a_failing_one_is_asked_at_once():
    failing = MemoryStore(failure=MediaCacheUnavailableError("untrusted"))
    policy = CachePolicy(failing, PATIENT)
    for _ in range(LOOKUP_BREAKER.failures_to_open + 1):
        assert await policy.lookup(LINE) is None
    assert policy.counts.skipped == 1
    healthy = MemoryStore()
    policy.replace_store(healthy)
    await policy.lookup(LINE)
    assert healthy.reads == 1
    await policy.aclose()


async def test_closing_closes_the_stores_before_too():
    before, after = MemoryStore(hang=asyncio.Event()), MemoryStore()
    policy = CachePolicy(before, PolicyConfig(lookup_ms=1))
    await policy.lookup(LINE)
    policy.replace_store(after)
    await asyncio.sleep(0)
    await asyncio.wait_for(policy.aclose(), 10)
    assert (before.closed, after.closed) == (1, 1)
