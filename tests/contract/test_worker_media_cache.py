"""A stream's session, a real STS service over HTTP, and a media cache between them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gpu_handler.pipeline import Pipeline
from livedub.audio.pcm import Samples
from livedub.dubbing.session import DubbingSession
from livedub.dubbing.virtual import VirtualClock, dub_tracks
from livedub.media_cache.key import Variant
from livedub.media_cache.policy import READ_RATE_HZ, CachePolicy, PolicyConfig
from livedub.media_cache.stored_audio import encode_variant
from livedub.sts.client import GuardedSpeechToSpeech, connect_guarded_sts
from livedub.sts.client_settings import StsClientSettings
from livedub.sts.contract import Target
from tests.contract.runpod_rig import runpod_rig
from tests.contract.sts_rig import RunningService, service
from tests.unit.gpu_handler.fake_engines import FakeEngines
from tests.unit.livedub.dubbing.programme import bursts, chunks, config
from tests.unit.livedub.media_cache.memory_store import MemoryStore

BOUND_S = 60.0
SPEECH = ((1.0, 2.5), (4.0, 5.5), (7.0, 8.5))
ENGLISH = "good evening everyone"
STOPPED = "was stopped before its answer"
"""What a worker on RunPod says of a job that was cancelled."""
FRENCH = "buenas noches a todos [es-fr]"


def tone(milliseconds: int) -> Samples:
    n = np.arange(READ_RATE_HZ * milliseconds // 1_000)
    return (0.3 * np.sin(n * 0.05)).astype(np.float32)


@dataclass
class Scene:
    """Everything between a programme and what airs."""

    store: MemoryStore = field(default_factory=MemoryStore)
    fakes: FakeEngines = field(default_factory=FakeEngines)
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fakes.synthesizer.say = lambda _: tone(1_000)
        self.policy = CachePolicy(self.store, PolicyConfig(lookup_ms=30_000))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[RunningService, GuardedSpeechToSpeech]]:
        async with service(Pipeline(self.fakes.engines())) as running:
            sts = connect_guarded_sts(running.url, api_key="", settings=StsClientSettings())
            try:
                yield running, sts
            finally:
                await sts.aclose()

    async def dub(self, sts: GuardedSpeechToSpeech, **changes: Any) -> list[dict[str, Any]]:
        """Dub three pieces of speech that say the same; whatever is kept of one is stored before the next is cut."""
        settings, clock = (
            config(**{"delay_ns": 3_000_000_000, "in_flight_limit": 1, **changes}),
            VirtualClock(),
        )
        session = DubbingSession(settings, sts, clock, self.events.append, cache_policy=self.policy)
        try:
            programme = chunks(bursts(*SPEECH, seconds=12))
            async for _ in dub_tracks(session, clock, settings, programme):
                assert session._cached is not None
                await session._cached.settle()
        finally:
            await session.aclose()
            await self.policy.aclose()
        lines = [event for event in self.events if event["event"] == "fragment"]
        return sorted(lines, key=lambda line: line["sequence_number"])


async def metric(url: str, line: str) -> bool:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return line in (await http.get("/metrics")).text


async def test_a_line_is_kept_the_second_time_and_found_the_third():
    scene = Scene()
    async with scene.serving() as (_, sts):
        lines = await scene.dub(sts)
    assert [line["rung"] for line in lines] == ["dub"] * 3
    assert [line["translated_text"] for line in lines] == [ENGLISH] * 3
    # Whose dub airs the third time is a race that these voices, which take no time at all, may win.
    assert (scene.policy.counts.misses, scene.policy.counts.hits) == (2, 1)
    (upload,) = scene.store.uploads
    assert (upload.sentence, upload.voice, upload.model) == (ENGLISH, "en/one", "fake:fake-1")
    assert abs(upload.variant.duration_ms - 1_000) <= 20


async def test_a_hit_airs_while_the_voice_is_busy_and_the_service_is_told_to_stop():
    scene, voice_may_go_on = Scene(), threading.Event()
    try:
        async with scene.serving() as (running, sts):
            scene.fakes.synthesizer.on_call = lambda: (
                len(scene.fakes.synthesizer.calls) <= 2 or voice_may_go_on.wait(BOUND_S)
            )
            lines = await asyncio.wait_for(scene.dub(sts), BOUND_S)
            assert lines[2]["cache_hit"]
            assert lines[2]["rung"] == "dub"
            await asyncio.wait_for(running.metrics.reach(waiting=0, running=0), BOUND_S)
            assert await metric(running.url, 'livedub_sts_requests_total{outcome="cancelled"} 1.0')
            voice_may_go_on.set()
    finally:
        voice_may_go_on.set()


async def test_a_line_that_must_be_hastened_brings_its_speech_the_second_time():
    scene = Scene()
    voice = scene.fakes.synthesizer
    voice.natural_ms = lambda _: 2_600  # where 1.5 s were spoken
    voice.say = lambda line: tone(round(2_600 / line.speed))
    async with scene.serving() as (_, sts):
        lines = await scene.dub(sts, max_overflow_ms=0)
    assert [line["rung"] for line in lines] == ["dub"] * 3
    first, second, *_ = [call["speed"] for call in voice.calls]
    assert isinstance(first, float)
    assert first > 1.1
    assert second == 1.0
    assert lines[1]["tempo"] > 1.1
    (upload,) = scene.store.uploads
    assert abs(upload.variant.duration_ms - 2_600) <= 20
    assert (scene.policy.counts.misses, scene.policy.counts.hits) == (2, 1)


async def test_each_language_has_its_own_lines():
    scene = Scene()
    async with scene.serving() as (_, sts):
        lines = await scene.dub(sts, more_targets=(Target(language="fr"),))
    assert [line["languages"]["fr"]["translated_text"] for line in lines] == [FRENCH] * 3
    assert (scene.policy.counts.misses, scene.policy.counts.hits) == (4, 2)
    assert {(upload.voice, upload.sentence) for upload in scene.store.uploads} == {
        ("en/one", ENGLISH),
        ("fr/one", FRENCH),
    }


async def test_a_cache_that_hangs_costs_no_dub():
    scene = Scene(MemoryStore(hang=asyncio.Event(), writes=False))
    scene.policy = CachePolicy(scene.store, PolicyConfig(lookup_ms=1))
    async with scene.serving() as (_, sts):
        lines = await scene.dub(sts)
    assert [line["rung"] for line in lines] == ["dub"] * 3
    assert scene.policy.counts.late == 3


class EveryLine(MemoryStore):
    """Has whatever is asked for."""

    async def get(self, key: str, variant: Variant) -> bytes | None:
        return encode_variant(tone(1_000), READ_RATE_HZ, variant)


@pytest.mark.slow
async def test_a_job_on_runpod_is_cancelled_when_the_cache_has_all_of_it(tmp_path: Path):
    scene = Scene(EveryLine())
    with runpod_rig(tmp_path) as rig:
        # The voice is in no hurry: what the cache has comes first.
        worker = rig.start_worker(STS_MOCK_TTS_MS="20000")
        settings = StsClientSettings(sts_runpod_base_url=rig.url)
        sts = connect_guarded_sts(rig.address, api_key=rig.key, settings=settings)
        try:
            lines = await asyncio.wait_for(
                scene.dub(sts, more_targets=(Target(language="fr"),), delay_ns=60_000_000_000), BOUND_S
            )
        finally:
            await sts.aclose()
        assert [line["cache_hit"] for line in lines] == [True] * 3
        assert [line["languages"]["fr"]["cache_hit"] for line in lines] == [True] * 3
        await asyncio.to_thread(worker.line, STOPPED)
        async with httpx.AsyncClient(trust_env=False, headers={"authorization": f"Bearer {rig.key}"}) as http:
            jobs = (await http.get(f"{rig.url}/{rig.endpoint_id}/health")).json()["jobs"]
        assert (jobs["completed"], jobs["failed"]) == (0, 0)
