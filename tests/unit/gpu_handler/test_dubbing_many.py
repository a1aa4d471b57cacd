"""Many languages, many streams: one recognition each, parts in order, memory of what was said, failures contained."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from gpu_handler.engines.base import Sentence, Translation
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.audio.codec import decode_audio
from livedub.sts.contract import ErrorCode, PartialKind, Stage, Status, StsPartial, Target
from tests.unit.gpu_handler.fake_engines import INFO, WAIT_S, FakeEngines
from tests.unit.gpu_handler.requests import clip, eventually, request

FOUR = ("de", "fr", "it", "pt")


@pytest.fixture
def fakes() -> FakeEngines:
    made = FakeEngines()
    made.translator.known |= {("es", language) for language in FOUR}
    made.synthesizer.extra_voices = {language: (f"{language}/one",) for language in FOUR}
    return made


@asynccontextmanager
async def running(fakes: FakeEngines, **settings: object) -> AsyncIterator[Pipeline]:
    pipeline = Pipeline(fakes.engines(), settings=StsSettings.model_construct(**settings))  # pyright: ignore[reportArgumentType]
    pipeline.load()
    try:
        yield pipeline
    finally:
        await asyncio.to_thread(pipeline.close)


async def test_four_languages_are_recognised_once(fakes: FakeEngines):
    async with running(fakes) as pipeline:
        for number in range(3):
            result = await pipeline.process(request(number, *FOUR))
            assert [dub.language for dub in result.dubs] == list(FOUR)
        assert len(fakes.transcriber.calls) == pipeline.counts["asr"].items == 3
        assert pipeline.counts["translation"].items == pipeline.counts["tts"].items == 12


async def test_the_languages_of_one_fragment_share_calls(fakes: FakeEngines):
    for engine in (fakes.translator, fakes.synthesizer):
        engine.described = replace(INFO, max_batch=8)
    async with running(fakes, gather_ms=30.0) as pipeline:
        await pipeline.process(request(1, *FOUR))
        assert pipeline.counts["translation"].calls == 1
        assert pipeline.counts["translation"].largest_batch == 4


async def test_streams_share_calls_and_keep_their_own_answers():
    settings = StsSettings(
        profile="mock", mock_asr_ms=60, mock_mt_ms=5, mock_tts_ms=60, mock_max_batch=8, gather_ms=10
    )
    pipeline = Pipeline.from_settings(settings)
    pipeline.load()
    try:
        clips = [clip(500 + 50 * number) for number in range(16)]
        results = await asyncio.gather(
            *(
                pipeline.process(request(1, "en", "fr", stream=f"stream{number}", audio=audio))
                for number, audio in enumerate(clips)
            )
        )
        counts = pipeline.counts
    finally:
        pipeline.close()
    for audio, result in zip(clips, results, strict=True):
        assert result.status is Status.SUCCESS
        for dub in result.dubs:
            assert dub.audio is not None
            assert np.allclose(decode_audio(dub.audio), decode_audio(audio), atol=2e-4)
    assert counts["asr"].items == 16
    assert counts["asr"].calls <= 8, "recognition shared no calls"
    assert counts["tts"].items == 32
    assert counts["tts"].calls <= 16, "voices shared no calls"


async def test_each_language_is_sent_when_it_is_ready_and_the_texts_come_first(fakes: FakeEngines):
    slow = threading.Event()
    parts: list[StsPartial] = []
    enough = asyncio.Event()

    async def keep(part: StsPartial) -> None:
        parts.append(part)
        if len(parts) == 4:
            enough.set()

    def say(line: object) -> np.ndarray:
        if getattr(line, "voice", "") == "pt/one":
            assert slow.wait(WAIT_S)
        return fakes.synthesizer.samples

    fakes.synthesizer.say = say
    async with running(fakes) as pipeline:
        work = asyncio.create_task(pipeline.process(request(1, *FOUR), keep))
        await asyncio.wait_for(enough.wait(), WAIT_S)
        assert [part.kind for part in parts] == [PartialKind.TEXT, *[PartialKind.AUDIO] * 3]
        assert [dub.language for dub in parts[0].dubs] == list(FOUR)
        assert {part.dubs[0].language for part in parts[1:]} == {"de", "fr", "it"}
        slow.set()
        result = await work
        assert {part.dubs[0].language: part.dubs[0] for part in parts[1:]} == {
            dub.language: dub for dub in result.dubs
        }


async def test_a_language_that_cannot_be_translated_is_missing_from_the_texts_only_by_itself(
    fakes: FakeEngines,
):
    parts: list[StsPartial] = []

    async def keep(part: StsPartial) -> None:
        parts.append(part)

    def answer(sentence: Sentence) -> Translation:
        if sentence.target == "it":
            raise ValueError("no Italian today")
        return Translation(f"{sentence.text} in {sentence.target}")

    fakes.translator.answer = answer
    async with running(fakes) as pipeline:
        result = await pipeline.process(request(1, *FOUR), keep)
    assert result.status is Status.PARTIAL
    assert [dub.language for dub in result.dubs] == ["de", "fr", "pt"]
    assert [dub.language for dub in parts[0].dubs] == ["de", "fr", "pt"]
    assert len(parts) == 4


async def test_an_impossible_language_or_voice_costs_the_others_nothing(fakes: FakeEngines):
    targets = [
        Target(language="zh"),
        Target(language="fr"),
        Target(language="it", voice="it/nobody"),
        Target(language="de"),
    ]
    async with running(fakes) as pipeline:
        result = await pipeline.process(request(targets=targets))
        assert result.status is Status.PARTIAL
        assert [dub.language for dub in result.dubs] == ["fr", "de"]
        assert result.error is not None
        assert result.error.code is ErrorCode.UNSUPPORTED_LANGUAGE
        result = await pipeline.process(request(2, targets=[targets[0], targets[2]]))
        assert result.status is Status.ERROR
        assert len(fakes.transcriber.calls) == 1, "nothing is computed where nothing is possible"


async def test_a_caller_who_breaks_while_parts_are_sent_ends_all_of_its_work(fakes: FakeEngines):
    async def break_down(part: StsPartial) -> None:
        if part.kind is PartialKind.AUDIO:
            raise ConnectionError("gone")

    async with running(fakes) as pipeline:
        with pytest.raises(ConnectionError):
            await pipeline.process(request(1, *FOUR), break_down)
        assert (await pipeline.process(request(2, *FOUR))).status is Status.SUCCESS


async def test_cancelling_one_fragment_of_many_languages_frees_every_place(fakes: FakeEngines):
    release = threading.Event()
    fakes.synthesizer.on_call = lambda: release.wait(WAIT_S)
    async with running(fakes) as pipeline:
        work = asyncio.create_task(pipeline.process(request(1, *FOUR)))
        await eventually(lambda: pipeline.counts["tts"].waiting == 3)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        assert pipeline.counts["tts"].waiting == 0
        release.set()
        assert (await pipeline.process(request(2, "fr"))).status is Status.SUCCESS
        assert [call["voice"] for call in fakes.synthesizer.calls] == ["de/one", "fr/one"]


async def test_what_was_said_before_helps_recogniser_and_translator(fakes: FakeEngines):
    async with running(fakes, context_characters=60) as pipeline:
        fakes.transcriber.text = "el portero era Courtois"
        await pipeline.process(request(1, "fr"))
        fakes.transcriber.text = "ahora la para otra vez"
        await pipeline.process(request(2, "fr"))
        await pipeline.process(request(3, "fr", context="from the caller"))
        await pipeline.process(request(2, "fr", stream="another"))
    assert [call["context"] for call in fakes.transcriber.calls] == [
        "",
        "el portero era Courtois",
        "from the caller",
        "",
    ]
    assert [call["context"] for call in fakes.translator.calls] == [
        call["context"] for call in fakes.transcriber.calls
    ]


async def test_nothing_is_remembered_where_that_is_wanted(fakes: FakeEngines):
    async with running(fakes, context_characters=0) as pipeline:
        for number in range(2):
            await pipeline.process(request(number, "fr"))
    assert [call["context"] for call in fakes.transcriber.calls] == ["", ""]


async def test_glossary_terms_tell_the_recogniser_how_names_are_spelt(fakes: FakeEngines):
    targets = [
        Target(language="fr", glossary={"Vallecas": "Vallecas", "Rayo": "Rayo"}),
        Target(language="de"),
    ]
    async with running(fakes) as pipeline:
        await pipeline.process(request(targets=targets, glossary={"Rayo": "Rayo Vallecano"}))
    assert fakes.transcriber.calls[0]["terms"] == ("Rayo", "Vallecas")


@pytest.mark.parametrize("deadline_ms", [1, 5])
async def test_a_deadline_nobody_can_meet_is_answered_without_work(fakes: FakeEngines, deadline_ms: int):
    pause = threading.Event()
    fakes.synthesizer.on_call = lambda: pause.wait(0.05)
    async with running(fakes) as pipeline:
        await pipeline.process(request(1, "fr"))
        heard = len(fakes.transcriber.calls)
        result = await pipeline.process(request(2, "fr", deadline_ms=deadline_ms))
        assert result.error is not None
        assert (result.error.code, result.error.stage) == (ErrorCode.TIMEOUT, Stage.INPUT)
        assert len(fakes.transcriber.calls) == heard


async def test_crashes_memory_and_cancels_lose_and_double_nothing():
    settings = StsSettings(
        profile="mock",
        mock_asr_ms=2,
        mock_mt_ms=1,
        mock_tts_ms=2,
        mock_max_batch=8,
        mock_script="*:crash%4,*:oom%4",
    )
    pipeline = Pipeline.from_settings(settings)
    pipeline.load()
    audio = clip(1_000)
    answers: Counter[str] = Counter()

    async def stream(name: str) -> None:
        for number in range(25):
            work = asyncio.create_task(
                pipeline.process(request(number, "en", "fr", stream=name, audio=audio))
            )
            if number % 10 == 7:
                await asyncio.sleep(0)
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                assert work.cancelled()
                continue
            result = await work
            assert result.fragment_id == f"{name}/1/{number}"
            assert result.error is None or result.error.code in (ErrorCode.MODEL_ERROR, ErrorCode.GPU_OOM)
            answers[result.status.value] += 1

    try:
        await asyncio.gather(*(stream(f"s{number}") for number in range(8)))
        counts = pipeline.counts
    finally:
        pipeline.close()
    assert sum(answers.values()) == 8 * 23
    assert answers["success"] > 8 * 23 / 2
    assert counts["asr"].out_of_memory > 0
    assert counts["tts"].calls > counts["tts"].largest_batch
    for stage in counts.values():
        assert (stage.waiting, stage.running) == (0, 0)
