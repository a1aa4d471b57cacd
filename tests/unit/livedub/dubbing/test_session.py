"""The session on a virtual and on a hand-moved clock."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livedub.audio.pcm import Samples
from livedub.dubbing.dump import FragmentDump
from livedub.dubbing.playout import limit
from livedub.dubbing.session import DubbingSession
from livedub.dubbing.virtual import VirtualClock, dub_programme
from livedub.sts.contract import ErrorCode, Stage, Status, StsError, StsRequest, StsResult
from livedub.sts.errors import StsBreakerOpen, StsUnavailable
from tests.unit.livedub.dubbing.programme import (
    DUB_HZ,
    RATE,
    SPEECH_HZ,
    DelayedCopySeparator,
    ScriptedSts,
    bursts,
    chunks,
    config,
    level,
    tone_result,
)

SPEECH = ((1.0, 2.5), (4.0, 6.0), (8.0, 9.5))


async def run(sts: ScriptedSts, programme: Samples, **changes: Any) -> tuple[Samples, list[dict[str, Any]]]:
    settings = config(**changes)
    clock = VirtualClock()
    events: list[dict[str, Any]] = []
    session = DubbingSession(settings, sts, clock, events.append, separator_factory=DelayedCopySeparator)
    session.start()
    out: list[Samples] = []
    expected = 0
    try:
        async for position, block in dub_programme(session, clock, settings, chunks(programme)):
            assert position == expected
            expected += len(block.samples)
            out.append(block.samples)
    finally:
        await session.aclose()
    return np.concatenate(out), events


def fragments(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((e for e in events if e["event"] == "fragment"), key=lambda e: e["sequence_number"])


def second(samples: Samples, start_s: float, length_s: float = 0.5) -> Samples:
    return samples[int(start_s * RATE) : int((start_s + length_s) * RATE)]


async def test_speech_is_replaced_and_silence_is_left_alone():
    programme = bursts(*SPEECH, seconds=11)
    out, events = await run(ScriptedSts(), programme)
    assert len(out) == len(programme)
    for start, _ in SPEECH:
        assert level(second(out, start + 0.3), DUB_HZ) == pytest.approx(0.3, abs=0.02)
        assert level(second(out, start + 0.3), SPEECH_HZ) == pytest.approx(0.1, abs=0.02)  # ducked to 0.2
    assert np.abs(second(out, 3.2)).max() < 1e-6
    lines = fragments(events)
    assert [line["rung"] for line in lines] == ["dub"] * 3
    assert all(line["reason"] == "aired" and line["margin_ms"] > 0 for line in lines)
    assert events[0]["event"] == "session"


async def test_dub_starts_where_the_source_speech_started():
    out, events = await run(ScriptedSts(), bursts(*SPEECH, seconds=11))
    for (start, _), line in zip(SPEECH, fragments(events), strict=True):
        assert abs(line["dub_start_ns"] / 1e9 - start) < 0.045
        before = level(second(out, start - 0.2, 0.15), DUB_HZ)
        assert before < 0.01


async def test_with_separation_the_background_stays_and_speech_goes():
    # The stand-in separator calls the mid channel speech, so what is only in the side channel is background.
    programme = bursts(*SPEECH, seconds=11)
    t = np.arange(len(programme)) / RATE
    side = (0.1 * np.sin(2 * np.pi * 1_000 * t)).astype(np.float32)
    programme = programme + np.stack([side, -side], axis=1)
    out, _ = await run(ScriptedSts(), programme, separate=True)
    inside = second(out, 4.5)
    assert level(inside, 1_000) == pytest.approx(0.1, abs=0.01)
    assert level(inside, SPEECH_HZ) < 0.01
    assert level(inside, DUB_HZ) > 0.1


async def test_request_carries_the_fragment_and_where_speech_is():
    sts = ScriptedSts()
    await run(sts, bursts(*SPEECH, seconds=11))
    request = sts.requests[0]
    assert request.fragment_id == "test/3/0"
    assert request.audio.sample_rate_hz == 16_000
    assert 60 <= request.speech[0].start_ms <= 200
    heard = sts.heard(0)
    assert len(heard) == request.audio.duration_ms * 16
    onset = np.flatnonzero(np.abs(heard) > 0.1)[0] / 16
    assert onset == pytest.approx(request.speech[0].start_ms, abs=45)


async def error(request: StsRequest) -> StsResult:
    problem = StsError(stage=Stage.ASR, code=ErrorCode.MODEL_ERROR, message="scripted", retryable=True)
    return StsResult(fragment_id=request.fragment_id, status=Status.ERROR, error=problem)


async def unavailable(_: StsRequest) -> StsResult:
    raise StsUnavailable("scripted")


async def breaker_open(_: StsRequest) -> StsResult:
    raise StsBreakerOpen("scripted")


async def bug(_: StsRequest) -> StsResult:
    raise ZeroDivisionError


def with_audio(samples_of: Any) -> Any:
    async def answer(request: StsRequest) -> StsResult:
        result = tone_result(request)
        return result.model_copy(
            update={"dubs": (result.dubs[0].model_copy(update={"audio": samples_of(result)}),)}
        )

    return answer


too_short = with_audio(
    lambda result: result.dubs[0].audio.model_copy(
        update={"data_base64": result.dubs[0].audio.data_base64[:4_000]}
    )
)
broken = with_audio(lambda result: result.dubs[0].audio.model_copy(update={"data_base64": "###"}))
silent = with_audio(lambda result: result.dubs[0].audio.model_copy(update={"data_base64": "AAAA" * 40_000}))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error, "sts_error:MODEL_ERROR"),
        (unavailable, "sts_error:UNAVAILABLE"),
        (breaker_open, "breaker_open"),
        (bug, "internal_error"),
        (too_short, "sts_error:DURATION_MISMATCH"),
        (broken, "sts_error:bad_audio"),
        (silent, "sts_error:"),
    ],
)
async def test_whatever_sts_does_wrong_costs_one_dub_and_is_named(answer: Any, reason: str):
    out, events = await run(ScriptedSts({1: answer}), bursts(*SPEECH, seconds=11))
    lines = fragments(events)
    assert [line["rung"] for line in lines] == ["dub", "ducked", "dub"]
    assert lines[1]["reason"].startswith(reason)
    inside = second(out, 4.6)
    assert level(inside, DUB_HZ) < 0.01
    assert level(inside, SPEECH_HZ) == pytest.approx(0.1, abs=0.01)


async def test_no_speech_heard_airs_the_original_and_is_no_failure():
    async def nothing(request: StsRequest) -> StsResult:
        result = tone_result(request)
        dub = result.dubs[0].model_copy(update={"translated_text": "", "audio": None})
        return result.model_copy(update={"dubs": (dub,)})

    out, events = await run(ScriptedSts(dict.fromkeys(range(2), nothing)), bursts(*SPEECH, seconds=11))
    lines = fragments(events)
    assert [(line["rung"], line["reason"]) for line in lines] == [
        ("original", "no_speech"),
        ("original", "no_speech"),
        ("dub", "aired"),
    ]
    assert level(second(out, 1.5), SPEECH_HZ) == pytest.approx(0.5, abs=0.01)


async def test_in_flight_never_exceeds_the_limit():
    async def slow(request: StsRequest) -> StsResult:
        for _ in range(50):
            await asyncio.sleep(0)
        return tone_result(request)

    spans = tuple((n * 1.6, n * 1.6 + 1.1) for n in range(1, 12))
    sts = ScriptedSts(dict.fromkeys(range(20), slow))
    _, events = await run(sts, bursts(*spans, seconds=21), in_flight_limit=2, delay_ns=20_000_000_000)
    assert sts.most_concurrent <= 2
    assert {line["rung"] for line in fragments(events)} == {"dub"}


async def test_a_dub_that_overflows_sounds_on_into_the_pause():
    async def long_answer(request: StsRequest) -> StsResult:
        return tone_result(request, overflow_ms=500)

    out, events = await run(ScriptedSts({0: long_answer}), bursts(*SPEECH, seconds=11))
    assert fragments(events)[0]["rung"] == "dub"
    assert level(second(out, 2.55, 0.3), DUB_HZ) == pytest.approx(0.3, abs=0.03)


async def test_late_answer_is_dropped_from_the_air_and_kept_in_the_log():
    """A clock that does not wait: blocks are rendered at their deadline while STS still thinks."""
    settings = config()
    programme = bursts(*SPEECH, seconds=13)
    release = asyncio.Event()

    async def stalled(request: StsRequest) -> StsResult:
        await release.wait()
        return tone_result(request)

    clock = VirtualClock()
    events: list[dict[str, Any]] = []
    session = DubbingSession(settings, ScriptedSts({0: stalled}), clock, events.append)
    behind = int((settings.delay_ns - settings.mixer_lead_ns) * RATE / 1e9)
    out: list[Samples] = []
    for position, samples in chunks(programme):
        session.push(position, samples)
        clock.position = position + len(samples)
        for _ in range(5):
            await asyncio.sleep(0)
        if position >= behind:
            out.append(session.render(position - behind, 4_800).samples)
    release.set()
    await session.settle(len(programme))
    await session.aclose()
    lines = fragments(events)
    assert lines[0]["late"]
    assert lines[0]["rung"] == "ducked"
    assert lines[0]["reason"] == "late"
    assert lines[0]["translated_text"] == "hello"
    assert lines[0]["margin_ms"] < 0
    aired = np.concatenate(out)
    assert level(second(aired, 1.4), DUB_HZ) < 0.01
    assert level(second(aired, 4.6), DUB_HZ) > 0.1


async def test_a_hole_in_the_input_cuts_the_fragment_and_time_goes_on():
    settings = config()
    clock = VirtualClock()
    events: list[dict[str, Any]] = []
    sts = ScriptedSts()
    session = DubbingSession(settings, sts, clock, events.append, separator_factory=DelayedCopySeparator)
    first = bursts((1.0, 2.0), seconds=2)
    second_part = bursts((0.5, 2.0), seconds=3)

    def programme() -> Any:
        yield from chunks(first)
        yield from chunks(second_part, position=6 * RATE)

    out = [block.samples async for _, block in dub_programme(session, clock, settings, programme())]
    await session.aclose()
    whole = np.concatenate(out)
    assert len(whole) == 9 * RATE
    lines = fragments(events)
    assert len(lines) == 2
    assert lines[1]["start_ns"] / 1e9 == pytest.approx(6.4, abs=0.05)
    assert np.abs(second(whole, 3.0, 2.0)).max() < 1e-6
    assert level(second(whole, 6.8), DUB_HZ) > 0.1


async def test_the_same_input_gives_the_same_output_bit_for_bit():
    programme = bursts(*SPEECH, seconds=11)
    first, first_events = await run(ScriptedSts(), programme)
    again, again_events = await run(ScriptedSts(), programme)
    assert np.array_equal(first, again)
    assert fragments(first_events) == fragments(again_events)


async def test_transitions_do_not_click():
    """No sample-to-sample step beyond what the tones themselves make."""
    out, _ = await run(ScriptedSts({1: error}), bursts(*SPEECH, seconds=11))
    steps = np.abs(np.diff(out[:, 0]))
    assert steps.max() < 0.5 * 2 * np.pi * SPEECH_HZ / RATE + 0.35 * 2 * np.pi * DUB_HZ / RATE + 0.02


async def test_closing_cancels_what_is_in_flight_and_logs_it():
    async def forever(request: StsRequest) -> StsResult:
        await asyncio.Event().wait()
        return tone_result(request)

    clock = VirtualClock()
    events: list[dict[str, Any]] = []
    session = DubbingSession(config(), ScriptedSts({0: forever}), clock, events.append)
    for position, samples in chunks(bursts((0.5, 2.0), seconds=3)):
        session.push(position, samples)
        await asyncio.sleep(0)
    assert session.in_flight == 1
    await session.aclose()
    assert session.in_flight == 0
    assert [line["reason"] for line in fragments(events)] == ["session_closed"]


async def test_dump_keeps_source_and_dub_of_each_fragment(tmp_path: Path):
    settings = config()
    clock = VirtualClock()
    events: list[dict[str, Any]] = []
    session = DubbingSession(
        settings, ScriptedSts(), clock, events.append, dump=FragmentDump(tmp_path / "dump")
    )
    async for _ in dub_programme(session, clock, settings, chunks(bursts(*SPEECH, seconds=11))):
        pass
    await session.aclose()
    assert [line["dump"] for line in fragments(events)] == [f"{n:06d}.dub.flac" for n in range(3)]
    assert len(list((tmp_path / "dump").iterdir())) == 6


async def test_a_fragment_that_comes_after_its_time_changes_nothing_on_the_air():
    """The mixer ran ahead (a suspended machine, a forecast clock): no error, the original stays."""
    settings = config()
    programme = bursts((0.5, 2.0), seconds=4)
    events: list[dict[str, Any]] = []
    session = DubbingSession(settings, ScriptedSts(), VirtualClock(), events.append)
    first = session.render(0, RATE * 3).samples
    for position, samples in chunks(programme):
        session.push(position, samples)
        await asyncio.sleep(0)
    await session.settle(len(programme))
    after = session.render(RATE * 3, RATE).samples
    await session.aclose()
    assert np.abs(first).max() == 0
    assert np.array_equal(after, programme[RATE * 3 :])
    assert fragments(events)[0]["rung"] != "dub"


def test_limiter_leaves_the_quiet_alone_and_stays_below_full_scale():
    quiet = np.full((10, 2), 0.5, np.float32)
    assert np.array_equal(limit(quiet), quiet)
    loud = np.linspace(-3, 3, 1_001, dtype=np.float32)[:, None]
    limited = limit(loud)
    assert np.abs(limited).max() <= 1.0
    assert (np.diff(limited[:, 0]) >= 0).all()
