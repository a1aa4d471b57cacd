"""What a media cache changes for the voices: a hit costs no synthesis, a cache that is down costs nothing else."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from gpu_handler.engines.base import Samples
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.audio.codec import decode_audio
from livedub.media_cache.errors import MediaCacheUnavailableError
from livedub.media_cache.key import Variant, cache_key
from livedub.media_cache.policy import CachePolicy, PolicyConfig
from livedub.media_cache.wire import AudioVariant, CacheMetadata
from livedub.sts.contract import PartialKind, Status, StsPartial
from tests.unit.gpu_handler.fake_engines import FakeEngines
from tests.unit.gpu_handler.requests import clip, request
from tests.unit.livedub.media_cache.memory_store import MemoryStore

MODEL = "fake:fake-1"
ENGLISH = "good evening everyone"


def tone(milliseconds: int, rate_hz: int = 24_000) -> Samples:
    return (0.3 * np.sin(np.arange(rate_hz * milliseconds // 1_000) * 0.05)).astype(np.float32)


@dataclass
class Scene:
    """A pipeline of fake engines over a cache in memory."""

    fakes: FakeEngines = field(default_factory=FakeEngines)
    store: MemoryStore = field(default_factory=MemoryStore)
    config: PolicyConfig = field(default_factory=lambda: PolicyConfig(lookup_ms=10_000))
    settings: StsSettings = field(default_factory=StsSettings.model_construct)

    def __post_init__(self) -> None:
        self.policy = CachePolicy(self.store, self.config)
        self.fakes.synthesizer.say = lambda line: tone(round(1_000 / line.speed))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        pipeline = Pipeline(self.fakes.engines(), settings=self.settings, cache_policy=self.policy)
        pipeline.load()
        try:
            yield pipeline
        finally:
            await asyncio.to_thread(pipeline.close)
            await self.policy.aclose()

    async def hold(self, sentence: str, samples: Samples, voice: str = "en/one", model: str = MODEL) -> str:
        body = (samples * 32_767).astype("<i2").tobytes()
        metadata = CacheMetadata(
            sentence=sentence, voice=voice, model=model, variant=AudioVariant.of(Variant.PCM, len(body))
        )
        await self.store.put(metadata, body)
        return metadata.key


async def test_what_lies_in_the_cache_is_not_spoken_again():
    scene = Scene()
    key = await scene.hold(ENGLISH, tone(1_000))
    async with scene.running() as pipeline:
        result = await pipeline.process(request())
    (dub,) = result.dubs
    assert (result.status, dub.cache_hit, dub.cache_key) == (Status.SUCCESS, True, key)
    assert dub.translated_text == ENGLISH
    assert not scene.fakes.synthesizer.calls
    assert dub.audio is not None
    assert np.max(np.abs(decode_audio(dub.audio))) > 0.2


async def test_a_hit_sounds_as_its_synthesis_would():
    plain, cached = Scene(), Scene()
    await cached.hold(ENGLISH, tone(1_000))
    dubs = []
    for scene in (plain, cached):
        async with scene.running() as pipeline:
            result = await pipeline.process(request())
            dubs.append(result.dubs[0])
    spoken, found = (decode_audio(dub.audio) for dub in dubs)
    assert len(spoken) == len(found)
    assert np.max(np.abs(spoken - found)) < 1e-3
    assert dubs[0].tempo == dubs[1].tempo


async def test_cached_speech_is_fitted_into_its_fragment():
    scene = Scene()
    # 1.6 s of source, 2.4 s of speech: it is stretched, as nobody can ask the cache to speak faster.
    await scene.hold(ENGLISH, tone(2_400))
    scene.fakes.synthesizer.natural_ms = lambda _: 2_400
    async with scene.running() as pipeline:
        result = await pipeline.process(request())
    (dub,) = result.dubs
    assert dub.cache_hit
    assert dub.tempo > 1.25
    assert dub.audio is not None
    assert dub.audio.duration_ms == 2_000


async def test_the_second_time_a_line_is_kept_and_the_third_time_it_is_found():
    scene = Scene()
    hits = []
    async with scene.running() as pipeline:
        for number in range(1, 4):
            result = await pipeline.process(request(number))
            await scene.policy.settle()
            hits.append(result.dubs[0].cache_hit)
            assert len(scene.store.uploads) == (0 if number == 1 else 1)
    assert hits == [False, False, True]
    (upload,) = scene.store.uploads
    assert (upload.sentence, upload.voice, upload.model, upload.speed) == (ENGLISH, "en/one", MODEL, 100)


async def test_what_is_kept_is_spoken_at_natural_pace():
    scene = Scene()
    scene.fakes.synthesizer.natural_ms = lambda _: 2_200
    scene.fakes.synthesizer.say = lambda line: tone(round(2_200 / line.speed))
    async with scene.running() as pipeline:
        for number in (1, 2):
            result = await pipeline.process(request(number))
            assert result.dubs[0].tempo > 1.1
        await scene.policy.settle()
    first, second = (call["speed"] for call in scene.fakes.synthesizer.calls)
    assert isinstance(first, float)
    assert first > 1.1
    assert second == 1.0
    (upload,) = scene.store.uploads
    assert abs(upload.variant.duration_ms - 2_200) <= 1


async def test_texts_carry_the_keys_that_dubs_have():
    scene = Scene()
    parts: list[StsPartial] = []

    async def hear(part: StsPartial) -> None:
        parts.append(part)

    async with scene.running() as pipeline:
        result = await pipeline.process(request(1, "en", "fr"), hear)
    (text,) = (part for part in parts if part.kind is PartialKind.TEXT)
    keys = {dub.language: dub.cache_key for dub in text.dubs}
    assert keys == {
        dub.language: cache_key(dub.translated_text, f"{dub.language}/one", MODEL) for dub in result.dubs
    }
    assert keys == {dub.language: dub.cache_key for dub in result.dubs}


async def test_keys_are_told_without_a_cache_too():
    fakes = FakeEngines()
    pipeline = Pipeline(fakes.engines())
    pipeline.load()
    try:
        result = await pipeline.process(request())
    finally:
        await asyncio.to_thread(pipeline.close)
    assert result.dubs[0].cache_key == cache_key(ENGLISH, "en/one", MODEL)
    assert not result.dubs[0].cache_hit


async def test_one_language_may_hit_while_another_is_spoken():
    scene = Scene()
    await scene.hold(ENGLISH, tone(1_000))
    async with scene.running() as pipeline:
        result = await pipeline.process(request(1, "en", "fr"))
    assert [(dub.language, dub.cache_hit) for dub in result.dubs] == [("en", True), ("fr", False)]
    assert [call["voice"] for call in scene.fakes.synthesizer.calls] == ["fr/one"]


@pytest.mark.parametrize("speech", [np.zeros(24_000, dtype=np.float32), tone(20)], ids=["silence", "a click"])
async def test_cached_speech_that_is_no_good_is_spoken_anew(
    speech: Samples, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    scene = Scene()
    await scene.hold(ENGLISH, speech)
    async with scene.running() as pipeline:
        result = await pipeline.process(request())
    assert result.status is Status.SUCCESS
    assert not result.dubs[0].cache_hit
    assert len(scene.fakes.synthesizer.calls) == 1
    assert "is no good" in caplog.text


async def test_a_cache_that_is_down_changes_nothing():
    scene = Scene(store=MemoryStore(failure=MediaCacheUnavailableError("down")))
    async with scene.running() as pipeline:
        for number in range(1, 6):
            result = await pipeline.process(request(number))
            assert result.status is Status.SUCCESS
    assert len(scene.fakes.synthesizer.calls) == 5


async def test_a_cache_that_hangs_is_not_waited_for():
    scene = Scene(store=MemoryStore(hang=asyncio.Event()), config=PolicyConfig(lookup_ms=1))
    async with scene.running() as pipeline:
        result = await pipeline.process(request())
    assert result.status is Status.SUCCESS
    assert scene.policy.counts.late == 1


async def test_a_bad_rendering_is_never_kept():
    scene = Scene(config=PolicyConfig(10_000, admit_on_sight=1))
    good = tone(1_000)
    scene.fakes.synthesizer.say = lambda line: good if line.seed else np.zeros(24_000, dtype=np.float32)
    async with scene.running() as pipeline:
        await pipeline.process(request())
        await scene.policy.settle()
    (upload,) = scene.store.uploads
    assert upload.variant.duration_ms == 1_000
    assert np.any(np.frombuffer(next(iter(scene.store.objects.values())), dtype="<i2"))


async def test_stand_ins_for_a_voice_are_never_kept():
    store = MemoryStore()
    policy = CachePolicy(store, PolicyConfig(10_000, admit_on_sight=1))
    pipeline = Pipeline.from_settings(StsSettings(profile="mock"), cache_policy=policy)
    pipeline.load()
    try:
        result = await pipeline.process(request())
        await policy.settle()
    finally:
        await asyncio.to_thread(pipeline.close)
        await policy.aclose()
    assert result.status is Status.SUCCESS
    assert store.reads == 1
    assert not store.uploads


async def test_imitated_voices_stay_out_of_the_cache(tmp_path: Path):
    (tmp_path / "anna.wav").write_bytes(b"RIFF")
    registry = tmp_path / "voices.json"
    registry.write_text(json.dumps(imitated_voice()))
    scene = Scene(
        config=PolicyConfig(10_000, admit_on_sight=1),
        settings=StsSettings.model_construct(voice_registry=registry),
    )
    scene.fakes.synthesizer.extra_voices = {"en": ("en/one", "en/anna")}
    targets = [{"language": "en", "voice": "en/anna"}]
    async with scene.running() as pipeline:
        result = await pipeline.process(request(1, targets=targets, audio=clip()))
        await scene.policy.settle()
    assert result.status is Status.SUCCESS, result.error
    assert result.dubs[0].cache_key == ""
    assert scene.store.reads == 0
    assert not scene.store.uploads


def imitated_voice() -> dict[str, object]:
    consent = {
        "person": "Anna",
        "document": "contract 7",
        "granted_on": "2020-01-01",
        "expires_on": "2099-01-01",
        "scope": "dubbing",
    }
    return {
        "schema_version": 1,
        "voices": [
            {
                "id": "en/anna",
                "language": "en",
                "engine": "fake",
                "speaker_reference": "anna.wav",
                "allowed_streams": ["*"],
                "consent": consent,
            }
        ],
    }


async def test_a_line_that_its_caller_wants_brings_its_speech_where_it_is_stretched():
    fakes = FakeEngines()
    fakes.synthesizer.natural_ms = lambda _: 2_400
    fakes.synthesizer.say = lambda line: tone(round(2_400 / line.speed))
    pipeline = Pipeline(fakes.engines())
    pipeline.load()
    key = cache_key(ENGLISH, "en/one", MODEL)
    try:
        results = [
            await pipeline.process(one)
            for one in (
                request(1),
                request(2, wanted_speech=["0" * 16]),
                request(3, wanted_speech=[key[:16]]),
            )
        ]
    finally:
        await asyncio.to_thread(pipeline.close)
    plain, other, wanted = (result.dubs[0] for result in results)
    assert plain.natural_audio is other.natural_audio is None
    assert wanted.natural_audio is not None
    assert abs(len(decode_audio(wanted.natural_audio)) - len(tone(2_400))) <= 24_000 // 50
    assert [call["speed"] == 1.0 for call in fakes.synthesizer.calls] == [False, False, True]
    assert wanted.natural is None
    assert wanted.tempo > 1.25
    assert wanted.audio is not None
    assert wanted.audio.duration_ms == 2_000


async def test_a_line_that_fits_lies_in_its_dub_as_it_was_spoken():
    fakes = FakeEngines()
    fakes.synthesizer.say = lambda line: tone(round(1_000 / line.speed))
    pipeline = Pipeline(fakes.engines())
    pipeline.load()
    try:
        result = await pipeline.process(request(1, wanted_speech=[cache_key(ENGLISH, "en/one", MODEL)[:16]]))
    finally:
        await asyncio.to_thread(pipeline.close)
    (dub,) = result.dubs
    assert dub.natural_audio is None
    assert dub.natural is not None
    assert dub.audio is not None
    spoken = decode_audio(dub.audio)[dub.natural.start_ms * 24 : dub.natural.end_ms * 24]
    assert np.allclose(spoken[240:-240], tone(1_000)[240 : len(spoken) - 240], atol=1e-3)
    assert (dub.voice, dub.tempo) == ("en/one", 1.0)
