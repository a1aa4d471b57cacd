"""The pipeline around engines that do what they are told."""

import asyncio
import base64
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from gpu_handler.pipeline import Pipeline
from livedub.audio.codec import decode_audio
from livedub.errors import ConfigurationError
from livedub.sts.contract import (
    AudioFormat,
    ErrorCode,
    PartialKind,
    SpeechSpan,
    Stage,
    Status,
    StsPartial,
    StsResult,
    Target,
)
from tests.unit.gpu_handler.fake_engines import WAIT_S, FakeEngines
from tests.unit.gpu_handler.requests import clip, eventually, request


@pytest.fixture
def fakes() -> FakeEngines:
    return FakeEngines()


@pytest.fixture
def pipeline(fakes: FakeEngines) -> Iterator[Pipeline]:
    ready = Pipeline(fakes.engines())
    ready.load()
    yield ready
    ready.close()


def failed_with(result: StsResult, code: ErrorCode, stage: Stage) -> str:
    assert result.status is Status.ERROR
    assert result.error is not None
    assert (result.error.code, result.error.stage) == (code, stage)
    return result.error.message


async def test_a_fragment_comes_back_dubbed(pipeline: Pipeline, fakes: FakeEngines):
    result = await pipeline.process(request())
    assert result.status is Status.SUCCESS
    assert result.transcript is not None
    assert (result.transcript.text, result.transcript.language) == ("buenas noches a todos", "es")
    (dub,) = result.dubs
    assert dub.translated_text == "good evening everyone"
    assert dub.audio is not None
    assert dub.audio.duration_ms == 2_000
    assert dub.audio.format is AudioFormat.FLAC
    assert result.models["transcriber"] == "fake:fake-1"
    assert fakes.translator.calls == []


async def test_the_dub_starts_where_the_source_does(pipeline: Pipeline):
    found = await pipeline.process(request())
    told = await pipeline.process(request(speech=(SpeechSpan(start_ms=500, end_ms=1_900),)))
    for result, start_ms in ((found, 200), (told, 500)):
        assert result.dubs[0].audio is not None
        samples = decode_audio(result.dubs[0].audio)
        first = int(np.flatnonzero(np.abs(samples) > 0.1)[0])
        assert first * 1000 / 24_000 == pytest.approx(start_ms, abs=12)


async def test_the_answer_travels_in_the_format_of_the_request(pipeline: Pipeline):
    result = await pipeline.process(request(audio=clip(audio_format=AudioFormat.PCM_S16LE)))
    assert result.dubs[0].audio is not None
    assert result.dubs[0].audio.format is AudioFormat.PCM_S16LE


async def test_the_recogniser_hears_16_khz_once_for_all_targets(pipeline: Pipeline, fakes: FakeEngines):
    result = await pipeline.process(request(1, "en", "fr"))
    assert [call["samples"] for call in fakes.transcriber.calls] == [32_000]
    assert {dub.language: dub.translated_text for dub in result.dubs} == {
        "en": "good evening everyone",
        "fr": "buenas noches a todos [es-fr]",
    }


async def test_text_comes_first_then_each_language(pipeline: Pipeline):
    partials: list[StsPartial] = []

    async def keep(part: StsPartial) -> None:
        partials.append(part)

    result = await pipeline.process(request(1, "en", "fr"), keep)
    assert [part.kind for part in partials] == [PartialKind.TEXT, PartialKind.AUDIO, PartialKind.AUDIO]
    assert [dub.translated_text for dub in partials[0].dubs] == [dub.translated_text for dub in result.dubs]
    assert all(dub.audio is None for dub in partials[0].dubs)
    assert {part.dubs[0].language: part.dubs[0] for part in partials[1:]} == {
        dub.language: dub for dub in result.dubs
    }


async def test_speech_is_not_translated_by_ear_for_a_target_that_text_can_reach(
    pipeline: Pipeline, fakes: FakeEngines
):
    await pipeline.process(request(1, "fr"))
    assert fakes.transcriber.calls[0]["translate_to"] == frozenset()


async def test_other_targets_are_reached_through_english(pipeline: Pipeline, fakes: FakeEngines):
    result = await pipeline.process(request(1, "es", source="de"))
    assert result.dubs[0].translated_text == "good evening everyone [en-es]"
    assert [(call["text"], call["source"], call["target"]) for call in fakes.translator.calls] == [
        ("good evening everyone", "en", "es")
    ]


async def test_an_unbelievable_translation_gives_way_to_the_text_translator(
    pipeline: Pipeline, fakes: FakeEngines
):
    fakes.transcriber.english = "we go we go we go we go we go we go we go we go"
    result = await pipeline.process(request())
    assert result.dubs[0].translated_text == "buenas noches a todos [es-en]"


async def test_where_no_text_translator_helps_it_is_not_dubbed(pipeline: Pipeline, fakes: FakeEngines):
    fakes.transcriber.english = ""
    result = await pipeline.process(request(source="fr"))
    assert result.status is Status.SUCCESS
    assert (result.dubs[0].translated_text, result.dubs[0].audio) == ("", None)


async def test_text_only_translation(fakes: FakeEngines):
    pipeline = Pipeline(fakes.engines(speech_translation=False))
    pipeline.load()
    try:
        result = await pipeline.process(request())
        assert result.dubs[0].translated_text == "buenas noches a todos [es-en]"
        assert pipeline.pairs() == {"en": ("es",), "es": ("en", "fr")}
    finally:
        pipeline.close()


def test_pairs_name_what_can_be_dubbed(pipeline: Pipeline):
    assert pipeline.pairs() == {
        "de": ("en", "es"),
        "en": ("es",),
        "es": ("en", "fr"),
        "fr": ("en", "es"),
    }
    assert pipeline.health().languages == pipeline.pairs()


async def test_silence_reaches_no_recogniser(pipeline: Pipeline, fakes: FakeEngines):
    fakes.detector.answer = ()
    result = await pipeline.process(request())
    assert result.status is Status.SUCCESS
    assert result.transcript is not None
    assert (result.transcript.text, result.dubs[0].translated_text, result.dubs[0].audio) == ("", "", None)
    assert fakes.transcriber.calls == fakes.synthesizer.calls == []


async def test_an_invented_transcript_is_not_spoken(pipeline: Pipeline, fakes: FakeEngines):
    fakes.transcriber.confidence = -2.5
    result = await pipeline.process(request())
    assert result.transcript is not None
    assert (result.transcript.text, result.dubs[0].audio) == ("", None)
    assert fakes.synthesizer.calls == []


async def test_the_language_is_detected_once_per_stream(pipeline: Pipeline, fakes: FakeEngines):
    for number in (1, 2):
        result = await pipeline.process(request(number, source="auto"))
        assert result.transcript is not None
        assert result.transcript.language == "es"
    assert [call["language"] for call in fakes.transcriber.calls] == ["auto", "es"]


async def test_an_unsure_or_guarded_detection_is_not_kept(pipeline: Pipeline, fakes: FakeEngines):
    fakes.transcriber.detected = ("fr", 0.4)
    await pipeline.process(request(1, source="auto"))
    fakes.transcriber.detected = ("de", 0.99)
    fakes.transcriber.confidence = -3.0
    await pipeline.process(request(2, source="auto"))
    await pipeline.process(request(3, source="auto"))
    assert [call["language"] for call in fakes.transcriber.calls] == ["auto"] * 3


async def test_speech_that_is_already_in_the_target_language_stays(pipeline: Pipeline, fakes: FakeEngines):
    fakes.transcriber.detected = ("en", 0.99)
    result = await pipeline.process(request(source="auto"))
    assert result.status is Status.SUCCESS
    assert result.dubs[0].audio is None


async def test_glossary_terms_are_worded_as_wanted(pipeline: Pipeline, fakes: FakeEngines):
    fakes.transcriber.english = "the rayo team beat rayonista"
    result = await pipeline.process(request(glossary={"Rayo": "Rayo Vallecano"}))
    assert result.dubs[0].translated_text == "the Rayo Vallecano team beat rayonista"


async def test_context_reaches_the_recogniser(pipeline: Pipeline, fakes: FakeEngines):
    await pipeline.process(request(context="a match in Vallecas"))
    assert fakes.transcriber.calls[0]["context"] == "a match in Vallecas"


async def test_a_voice_can_be_chosen(pipeline: Pipeline, fakes: FakeEngines):
    targets = [Target(language="en", voice="en/two")]
    await pipeline.process(request(targets=targets))
    assert fakes.synthesizer.calls[0]["voice"] == "en/two"


async def test_an_unknown_voice_lists_the_known_ones(pipeline: Pipeline, fakes: FakeEngines):
    result = await pipeline.process(request(targets=[Target(language="en", voice="en/nobody")]))
    assert "en/one, en/two" in failed_with(result, ErrorCode.INVALID_INPUT, Stage.INPUT)
    assert fakes.transcriber.calls == []


@pytest.mark.parametrize(("source", "target"), [("fr", "fr"), ("es", "zh"), ("ja", "en"), ("auto", "de")])
async def test_an_unsupported_pair_lists_the_supported_ones(pipeline: Pipeline, source: str, target: str):
    result = await pipeline.process(request(1, target, source=source))
    assert "es into en fr" in failed_with(result, ErrorCode.UNSUPPORTED_LANGUAGE, Stage.INPUT)


async def test_audio_of_another_duration_is_a_mismatch(pipeline: Pipeline):
    audio = clip().model_copy(update={"duration_ms": 2_100})
    message = failed_with(
        await pipeline.process(request(audio=audio)), ErrorCode.DURATION_MISMATCH, Stage.INPUT
    )
    assert "2100" in message
    assert "2000" in message


@pytest.mark.parametrize(
    "broken",
    [
        {"data_base64": "not base64!"},
        {"data_base64": base64.b64encode(b"no flac").decode()},
        {"data_base64": base64.b64encode(b"fLaC" + b"\0" * 60).decode()},
        {"sample_rate_hz": 24_000},
        {"format": AudioFormat.PCM_S16LE, "data_base64": base64.b64encode(b"odd").decode()},
        {"format": AudioFormat.PCM_S16LE, "data_base64": base64.b64encode(b"").decode() or "===="},
    ],
)
async def test_broken_audio_is_invalid_input(pipeline: Pipeline, broken: dict[str, object]):
    result = await pipeline.process(request(audio=clip().model_copy(update=broken)))
    failed_with(result, ErrorCode.INVALID_INPUT, Stage.INPUT)
    assert result.error is not None
    assert not result.error.retryable


@pytest.mark.parametrize(
    ("engine", "stage"),
    [
        ("detector", Stage.ASR),
        ("transcriber", Stage.ASR),
        ("translator", Stage.TRANSLATION),
        ("synthesizer", Stage.TTS),
    ],
)
async def test_an_engine_that_raises_costs_its_fragment_only(
    pipeline: Pipeline, fakes: FakeEngines, engine: str, stage: Stage
):
    def fail() -> None:
        raise ValueError("bad weights")

    broken = getattr(fakes, engine)
    broken.on_call = fail
    message = failed_with(await pipeline.process(request(1, "fr")), ErrorCode.MODEL_ERROR, stage)
    assert "bad weights" in message
    broken.on_call = lambda: None
    assert (await pipeline.process(request(2, "fr"))).status is Status.SUCCESS


async def test_running_out_of_memory_has_its_own_code(pipeline: Pipeline, fakes: FakeEngines):
    def fail() -> None:
        raise RuntimeError("CUDA failed with error out of memory")

    fakes.transcriber.on_call = fail
    failed_with(await pipeline.process(request()), ErrorCode.GPU_OOM, Stage.ASR)


@pytest.mark.parametrize(
    "samples", [np.full(24_000, np.nan, np.float32), np.full(9, np.inf, np.float32), np.zeros(0, np.float32)]
)
async def test_a_voice_that_makes_no_audio_is_a_model_error(
    pipeline: Pipeline, fakes: FakeEngines, samples: np.ndarray
):
    fakes.synthesizer.samples = samples
    failed_with(await pipeline.process(request()), ErrorCode.MODEL_ERROR, Stage.TTS)


async def test_one_failing_language_leaves_the_others(pipeline: Pipeline, fakes: FakeEngines):
    def fail() -> None:
        raise ValueError("no French today")

    fakes.translator.on_call = fail
    result = await pipeline.process(request(1, "fr", "en"))
    assert result.status is Status.PARTIAL
    assert [dub.language for dub in result.dubs] == ["en"]
    assert result.error is not None
    assert result.error.stage is Stage.TRANSLATION


async def test_a_deadline_that_passes_in_one_stage_stops_before_the_next(
    pipeline: Pipeline, fakes: FakeEngines
):
    overdue = threading.Event()
    fakes.transcriber.on_call = lambda: overdue.wait(0.9)
    result = await pipeline.process(request(deadline_ms=800))
    message = failed_with(result, ErrorCode.TIMEOUT, Stage.TRANSLATION)
    assert "800" in message
    assert fakes.synthesizer.calls == []
    assert result.error is not None
    assert result.error.retryable


async def test_a_request_that_waited_too_long_before_it_came_is_late(pipeline: Pipeline, fakes: FakeEngines):
    result = await pipeline.process(request(deadline_ms=500), received_s=time.monotonic() - 1)
    failed_with(result, ErrorCode.TIMEOUT, Stage.INPUT)
    assert result.stage_timings.queue_ms >= 1_000
    assert fakes.transcriber.calls == []


async def test_a_fragment_whose_deadline_passes_in_the_queue_costs_no_engine_time(
    pipeline: Pipeline, fakes: FakeEngines
):
    release = threading.Event()
    fakes.transcriber.on_call = lambda: release.wait(WAIT_S)
    first = asyncio.create_task(pipeline.process(request(1)))
    second = asyncio.create_task(pipeline.process(request(2, deadline_ms=800)))
    await asyncio.wait({second}, timeout=1.0)  # its deadline passes while the first holds the recogniser
    release.set()
    assert (await first).status is Status.SUCCESS
    failed_with(await second, ErrorCode.TIMEOUT, Stage.ASR)
    assert len(fakes.transcriber.calls) == 1


async def test_recognition_overlaps_the_synthesis_of_the_fragment_before(
    pipeline: Pipeline, fakes: FakeEngines
):
    speaking, heard_two = threading.Event(), threading.Event()

    def speak() -> None:
        speaking.set()
        assert heard_two.wait(WAIT_S), "the second fragment was not recognised meanwhile"

    def hear() -> None:
        if len(fakes.transcriber.calls) == 2:
            heard_two.set()

    fakes.synthesizer.on_call, fakes.transcriber.on_call = speak, hear
    first = asyncio.create_task(pipeline.process(request(1)))
    await asyncio.to_thread(speaking.wait, WAIT_S)
    second = await pipeline.process(request(2))
    assert (await first).status is second.status is Status.SUCCESS


async def test_an_engine_works_on_one_fragment_at_a_time_in_the_order_of_arrival(
    pipeline: Pipeline, fakes: FakeEngines
):
    contexts = [str(number) for number in range(8)]
    await asyncio.gather(
        *(pipeline.process(request(number, context=context)) for number, context in enumerate(contexts))
    )
    assert [engine.most_at_once for engine in (fakes.transcriber, fakes.synthesizer)] == [1, 1]
    assert [call["context"] for call in fakes.transcriber.calls] == contexts


async def test_cancelling_frees_the_place_in_the_queue(pipeline: Pipeline, fakes: FakeEngines):
    release, started = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        assert release.wait(WAIT_S)

    fakes.transcriber.on_call = hold
    first = asyncio.create_task(pipeline.process(request(1, context="first")))
    await asyncio.to_thread(started.wait, WAIT_S)
    second = asyncio.create_task(pipeline.process(request(2, context="second")))
    await eventually(lambda: pipeline.counts["asr"].waiting == 1)
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    release.set()
    assert (await pipeline.process(request(3, context="third"))).status is Status.SUCCESS
    assert [call["context"] for call in fakes.transcriber.calls] == ["first", "third"]


async def test_stage_timings_say_where_the_time_went(pipeline: Pipeline, fakes: FakeEngines):
    pause = threading.Event()
    fakes.transcriber.on_call = lambda: pause.wait(0.05)
    fakes.synthesizer.on_call = lambda: pause.wait(0.1)
    timings = (await pipeline.process(request())).stage_timings
    assert timings.asr_ms > 45
    assert timings.tts_ms > 95
    assert timings.fit_ms > 0


async def test_before_loading_nothing_is_accepted(fakes: FakeEngines):
    pipeline = Pipeline(fakes.engines())
    assert not pipeline.health().ready
    failed_with(await pipeline.process(request()), ErrorCode.MODEL_ERROR, Stage.INPUT)
    pipeline.load()
    assert pipeline.health().ready
    pipeline.close()


def test_every_engine_is_loaded_once_and_closed(fakes: FakeEngines):
    pipeline = Pipeline(fakes.engines())
    pipeline.load()
    pipeline.close()
    pipeline.close()
    assert [engine.loads for engine in fakes.every] == [1] * 4
    assert all(engine.closes for engine in fakes.every)
    assert not pipeline.ready


async def test_after_closing_a_fragment_fails_politely(pipeline: Pipeline):
    pipeline.close()
    failed_with(await pipeline.process(request()), ErrorCode.MODEL_ERROR, Stage.INPUT)


async def test_helpers_for_the_command_line(pipeline: Pipeline, fakes: FakeEngines):
    heard = await pipeline.transcribe(np.zeros(48_000, np.float32), 48_000, "es")
    assert heard.text == "buenas noches a todos"
    assert fakes.transcriber.calls[0]["samples"] == 16_000
    speech = await pipeline.speak("hola", "es/one", 1.1)
    assert speech.sample_rate_hz == 24_000
    with pytest.raises(ConfigurationError, match="es/one"):
        await pipeline.speak("hola", "es/nobody")
