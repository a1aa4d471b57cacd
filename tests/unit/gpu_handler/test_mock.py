"""The mock profile: deterministic answers, scripted faults, engine selection."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpu_handler.engines.base import EngineInfo, Sentence
from gpu_handler.engines.mock import MockBooth, MockTranslator
from gpu_handler.engines.registry import build_engines
from gpu_handler.faults import Fault, FaultRule, FaultScript
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.audio.codec import decode_audio, encode_audio
from livedub.errors import ConfigurationError, InvalidInputError
from livedub.sts.contract import AudioFormat, ErrorCode, Status, StsConfig, StsRequest, StsResult, Target

RATE_HZ = 16_000
CLIP = (0.3 * np.sin(2 * np.pi * 300 * np.arange(RATE_HZ * 2) / RATE_HZ)).astype(np.float32)

Ask = Callable[..., Awaitable[StsResult]]


def request(number: int = 1, samples: np.ndarray = CLIP) -> StsRequest:
    return StsRequest(
        fragment_id=f"stream/1/{number}",
        stream_id="stream",
        generation=1,
        sequence_number=number,
        deadline_ms=10_000,
        audio=encode_audio(samples, RATE_HZ, AudioFormat.FLAC),
        config=StsConfig(source_language="es", targets=(Target(language="en"),)),
    )


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Ask a mock service made for the settings given with the question."""
    pipelines: list[Pipeline] = []

    async def ask_once(number: int = 1, samples: np.ndarray = CLIP, **settings: object) -> StsResult:
        pipeline = Pipeline.from_settings(StsSettings.model_validate({"profile": "mock", **settings}))
        pipelines.append(pipeline)
        pipeline.load()
        return await pipeline.process(request(number, samples))

    yield ask_once
    for pipeline in pipelines:
        pipeline.close()


async def test_pass_through_gives_every_sample_back_in_place(ask: Ask):
    result = await ask()
    assert result.status is Status.SUCCESS
    assert result.dubs[0].audio is not None
    assert result.dubs[0].tempo == 1.0
    assert np.allclose(decode_audio(result.dubs[0].audio), CLIP, atol=2e-4)


async def test_the_same_fragment_gets_the_same_answer(ask: Ask):
    first, second = await ask(), await ask()
    assert first.dubs == second.dubs
    assert first.transcript == second.transcript


async def test_a_tone_lasts_as_long_as_its_fragment(ask: Ask):
    result = await ask(mock_voice="tone")
    assert result.dubs[0].audio is not None
    samples = decode_audio(result.dubs[0].audio)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * RATE_HZ / len(samples) == pytest.approx(440, abs=1)
    assert result.dubs[0].audio.duration_ms == 2_000


async def test_silence_is_not_dubbed(ask: Ask):
    result = await ask(samples=np.zeros(RATE_HZ, np.float32))
    assert result.transcript is not None
    assert result.transcript.text == ""
    assert result.dubs[0].audio is None


async def test_a_delay_for_every_fragment(ask: Ask):
    result = await ask(mock_delay_ms=120)
    assert result.stage_timings.asr_ms >= 120


@pytest.mark.parametrize("script", ["7:delay:150", "*:stall:150", "5-9:stall:150"])
async def test_a_scripted_wait(ask: Ask, script: str):
    started_s = time.monotonic()
    result = await ask(7, mock_script=script)
    assert time.monotonic() - started_s >= 0.15
    assert result.status is Status.SUCCESS


async def test_a_scripted_error(ask: Ask):
    result = await ask(8, mock_script="8:error")
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == (ErrorCode.MODEL_ERROR, True)
    assert result.dubs == ()


async def test_scripted_garbage_is_valid_json_around_no_audio(ask: Ask):
    result = StsResult.model_validate_json((await ask(mock_script="1:garbage")).model_dump_json())
    assert result.dubs[0].audio is not None
    with pytest.raises(InvalidInputError):
        decode_audio(result.dubs[0].audio)


async def test_a_scripted_nan_breaks_the_contract_on_the_wire(ask: Ask):
    wire = (await ask(mock_script="1:nan")).model_dump_json()
    with pytest.raises(ValueError, match="tempo"):
        StsResult.model_validate_json(wire)


async def test_a_scripted_wrong_length_is_true_to_itself_and_too_short(ask: Ask):
    result = await ask(mock_script="1:wrong_length")
    audio = result.dubs[0].audio
    assert audio is not None
    assert audio.duration_ms == 1_000
    assert len(decode_audio(audio)) == audio.sample_rate_hz


async def test_a_scripted_empty_answer_says_that_nobody_spoke(ask: Ask):
    result = await ask(mock_script="1:empty")
    assert result.transcript is not None
    assert (result.transcript.text, result.dubs[0].translated_text, result.dubs[0].audio) == ("", "", None)


async def test_other_fragments_are_left_alone(ask: Ask):
    result = await ask(2, mock_script="1:error,3-9:garbage")
    assert result.status is Status.SUCCESS


def test_a_script_is_read_in_order():
    script = FaultScript.parse(" 3-5:stall:9000, 4:error , *:delay:20")
    assert script.rule_for(4) == FaultRule(Fault.STALL, 3, 5, 9_000)
    assert script.rule_for(6) == FaultRule(Fault.DELAY, 0, None, 20)
    assert FaultScript.parse("2:stall").rules[0].wait_ms == 6_000
    assert FaultScript.parse("").rule_for(1) is None


@pytest.mark.parametrize(
    "script",
    ["3", "x:error", "3:explode", "3-:error", "-3:error", "3:delay:fast", "*:oom%101", "*:oom%", "*:oom:5%2"],
)
def test_a_wrong_rule_is_named(script: str):
    with pytest.raises(ConfigurationError, match="STS_MOCK_SCRIPT"):
        FaultScript.parse(script)


def test_the_booth_forgets_old_fragments():
    booth = MockBooth()
    names = [booth.keep(np.full(10, n / 1000, dtype=np.float32)) for n in range(600)]
    assert len(booth.find(f"mock fragment {names[-1]}")) == 10
    assert not booth.find(f"mock fragment {names[0]}").any()
    assert len(booth.find("nothing kept under this")) == 8_000


def test_engines_are_chosen_by_name():
    engines = build_engines(StsSettings(profile="cpu", synthesizer="espeak", translator="apertium"))
    assert engines.infos()["synthesizer"].name == "espeak"
    assert engines.infos()["transcriber"] == EngineInfo("whisper", "whisper-base", "MIT")
    assert not engines.speech_translation


@pytest.mark.parametrize("task", ["transcriber", "translator", "synthesizer"])
def test_an_unknown_engine_lists_the_known_ones(task: str):
    with pytest.raises(ConfigurationError, match=rf"STS_{task.upper()}.*mock"):
        build_engines(StsSettings.model_validate({task: "oracle"}))


def test_the_mock_voice_needs_the_mock_recogniser():
    with pytest.raises(ConfigurationError, match="STS_TRANSCRIBER"):
        build_engines(StsSettings(profile="cpu", synthesizer="mock"))


async def test_many_fragments_at_once_keep_their_own_audio():
    pipeline = Pipeline.from_settings(StsSettings(profile="mock"))
    pipeline.load()
    try:
        clips = [CLIP * level for level in np.linspace(0.2, 1.0, 12, dtype=np.float32)]
        results = await asyncio.gather(
            *(pipeline.process(request(number, clip)) for number, clip in enumerate(clips))
        )
    finally:
        pipeline.close()
    for clip, result in zip(clips, results, strict=True):
        assert result.dubs[0].audio is not None
        assert np.allclose(decode_audio(result.dubs[0].audio), clip, atol=2e-4)


@pytest.mark.parametrize(
    ("items", "costs_ms"), [(1, 30), (2, 60), (8, 60)], ids=["one", "two", "a full batch"]
)
def test_a_call_costs_what_is_set_and_is_logged(items: int, costs_ms: int):
    settings = StsSettings(profile="mock", mock_mt_ms=30, mock_batch_cost=2.0, mock_max_batch=8)
    engine = MockTranslator(settings)
    assert engine.info.max_batch == 8
    engine.translate([Sentence("hola", "es", "en")] * items)
    (call,) = engine.log
    assert call.ended_s - call.started_s >= costs_ms / 1_000
    assert (call.items, engine.calls, engine.items) == (items, 1, items)


def test_closing_ends_a_call_that_takes_its_time():
    engine = MockTranslator(StsSettings(profile="mock", mock_mt_ms=60_000))
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(engine.translate, [Sentence("hola", "es", "en")])
        engine.close()
        assert work.result(timeout=10)


def test_calls_fail_as_the_script_says():
    engine = MockTranslator(StsSettings(profile="mock", mock_script="1:crash,2-3:oom,4:hang:40,2:error"))
    sentence = [Sentence("hola", "es", "en")]
    with pytest.raises(RuntimeError, match="crash"):
        engine.translate(sentence)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.translate(sentence)
    started_s = time.monotonic()
    assert engine.translate(sentence)[0].text == "hola"
    assert time.monotonic() - started_s >= 0.04
    assert engine.calls == 4


def test_a_share_strikes_about_that_share_and_always_the_same():
    script = FaultScript.parse("*:error%10,*:crash%0.5")
    struck = [number for number in range(10_000) if script.rule_for(number, f"s/1/{number}")]
    assert 900 < len(struck) < 1_100
    assert struck == [number for number in range(10_000) if script.rule_for(number, f"s/1/{number}")]
    other = [number for number in range(10_000) if script.rule_for(number, f"t/1/{number}")]
    assert struck != other, "streams do not fail together"
    calls = [number for number in range(10_000) if script.rule_for_call("synthesizer", number)]
    assert 20 < len(calls) < 90


def test_fragments_and_calls_have_rules_of_their_own():
    script = FaultScript.parse("*:oom,*:delay:20")
    rule, call_rule = script.rule_for(1), script.rule_for_call("transcriber", 1)
    assert rule is not None
    assert rule.fault is Fault.DELAY
    assert call_rule is not None
    assert call_rule.fault is Fault.OOM
