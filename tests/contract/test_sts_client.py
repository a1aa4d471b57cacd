"""The client keeps the same promises over HTTP and over RunPod's queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from livedub.sts.breaker import CircuitBreaker
from livedub.sts.client import GuardedSts
from livedub.sts.contract import ErrorCode, PartialKind, Status, StsPartial, StsRequest
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable
from livedub.sts.hedge import HedgeConfig, HedgePolicy
from livedub.sts.hedged import HedgedSts
from livedub.sts.runpod_client import RunpodSts
from tests.contract.client_rig import (
    EMPTY,
    FAILS,
    GARBAGE,
    NOT_A_NUMBER,
    SLOTS,
    SLOW,
    SLOW_MS,
    STALLS,
    WRONG_LENGTH,
    Entry,
    connected,
    entry,
    jobs_in_progress,
)
from tests.contract.runpod_rig import runpod_rig
from tests.unit.livedub.sts.exchanges import request

DEADLINE_MS = 20_000
BOUND_S = 60.0


@pytest.fixture(scope="module", params=["http", "runpod"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entry]:
    with entry(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


class Listener:
    def __init__(self) -> None:
        self.heard: list[StsPartial] = []
        self.heard_ms: list[float] = []
        self._started_s = time.perf_counter()

    async def __call__(self, partial: StsPartial) -> None:
        self.heard.append(partial)
        self.heard_ms.append((time.perf_counter() - self._started_s) * 1_000)


def asked(
    sequence_number: int = 7,
    *targets: str,
    deadline_ms: int = DEADLINE_MS,
    duration_ms: int = 1_000,
) -> StsRequest:
    return request(
        sequence_number=sequence_number,
        deadline_ms=deadline_ms,
        duration_ms=duration_ms,
        targets=targets or ("en",),
    )


async def fails(way: Entry, fragment: StsRequest, *, api_key: str = "", stream: bool = False) -> StsFailure:
    async with connected(way, api_key=api_key) as sts:
        with pytest.raises(StsFailure) as caught:
            await sts.process(fragment, Listener() if stream else None)
    return caught.value


async def test_a_fragment_comes_back_dubbed(way: Entry):
    async with connected(way) as sts:
        result = await sts.process(asked())
    assert (result.status, result.fragment_id) == (Status.SUCCESS, "stadium/3/7")
    (dub,) = result.dubs
    assert dub.audio is not None
    assert dub.audio.duration_ms == pytest.approx(1_000, abs=20)


@pytest.mark.parametrize("stream", [False, True])
async def test_several_languages_come_in_one_answer(way: Entry, stream: bool):
    async with connected(way) as sts:
        result = await sts.process(asked(8, "en", "fr", "de", "pt"), Listener() if stream else None)
    assert [dub.language for dub in result.dubs] == ["en", "fr", "de", "pt"]
    assert all(dub.audio is not None for dub in result.dubs)


async def test_partials_come_before_the_result_and_agree_with_it(way: Entry):
    listener = Listener()
    async with connected(way) as sts:
        result = await sts.process(asked(9, "en", "fr", "it"), listener)
    kinds = [partial.kind for partial in listener.heard]
    assert kinds == [PartialKind.TEXT] + [PartialKind.AUDIO] * 3
    text, *voices = listener.heard
    assert text.transcript == result.transcript
    assert {dub.language: dub.translated_text for dub in text.dubs} == {
        dub.language: dub.translated_text for dub in result.dubs
    }
    assert {voice.dubs[0].language: voice.dubs[0].audio for voice in voices} == {
        dub.language: dub.audio for dub in result.dubs
    }


async def test_a_long_fragment_comes_back(way: Entry):
    listener = Listener()
    async with connected(way) as sts:
        result = await sts.process(asked(10, duration_ms=30_000), listener)
    assert result.dubs[0].audio is not None
    assert result.dubs[0].audio.duration_ms == pytest.approx(30_000, abs=20)


async def test_many_at_once_keep_their_answers_apart(way: Entry):
    slots = asyncio.Semaphore(SLOTS)

    async def one(number: int) -> str:
        async with slots:
            return (await sts.process(asked(number, duration_ms=100), Listener())).fragment_id

    async with connected(way) as sts:
        answers = await asyncio.gather(*(one(number) for number in range(20, 44)))
    assert answers == [f"stadium/3/{number}" for number in range(20, 44)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fragment", "kind", "code"),
    [
        (asked(FAILS), StsRefused, ErrorCode.MODEL_ERROR),
        (asked(11, "ja"), StsRefused, ErrorCode.UNSUPPORTED_LANGUAGE),
        (asked(GARBAGE), StsBadAnswer, None),
        (asked(WRONG_LENGTH), StsBadAnswer, None),
        (asked(NOT_A_NUMBER), StsBadAnswer, None),
    ],
    ids=["error", "language", "garbage", "length", "nan"],
)
async def test_errors_are_typed(
    way: Entry, fragment: StsRequest, kind: type[StsFailure], code: ErrorCode | None, stream: bool
):
    failure = await fails(way, fragment, stream=stream)
    assert isinstance(failure, kind)
    assert getattr(failure, "code", None) is code


async def test_nothing_to_say_is_a_success_without_audio(way: Entry):
    async with connected(way) as sts:
        result = await sts.process(asked(EMPTY))
    assert result.status is Status.SUCCESS
    assert all(dub.audio is None for dub in result.dubs)


async def test_a_wrong_key_is_told(way: Entry):
    failure = await fails(way, asked(), api_key="of-somebody-else")
    assert isinstance(failure, StsRefused)
    assert failure.code is ErrorCode.AUTH_FAILED
    assert "of-somebody-else" not in str(failure)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_deadline_is_kept_whatever_the_service_does(way: Entry, stream: bool):
    started_s = time.perf_counter()
    assert isinstance(await fails(way, asked(STALLS, deadline_ms=700), stream=stream), StsTimeout)
    assert time.perf_counter() - started_s < 10


async def test_an_answer_in_time_is_waited_for(way: Entry):
    async with connected(way) as sts:
        started_s = time.perf_counter()
        await sts.process(asked(SLOW, deadline_ms=10_000))
    assert time.perf_counter() - started_s >= SLOW_MS / 1_000


async def test_health_and_warm_up(way: Entry):
    async with connected(way) as sts:
        await sts.warm_up(timeout_ms=20_000)
        assert (await sts.health()).ready


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_stops_waiting_stops_the_work_and_frees_its_slot(way: Entry, stream: bool):
    stopped_before = await way.stopped()
    async with connected(way) as sts:
        calls = [
            asyncio.create_task(sts.process(asked(STALLS), Listener() if stream else None))
            for _ in range(SLOTS)
        ]
        await way.busy(SLOTS)
        for call in calls:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        await way.stopped(stopped_before + SLOTS)
        assert (await sts.process(asked(12, deadline_ms=10_000))).dubs
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_more_than_it_can_take_is_refused_over_http(tmp_path_factory: pytest.TempPathFactory):
    with entry("http", tmp_path_factory.mktemp("full")) as full:
        async with connected(full) as sts:
            calls = [asyncio.create_task(sts.process(asked(STALLS))) for _ in range(SLOTS + 1)]
            await full.busy(SLOTS)
            refused = await fails(full, asked(13, deadline_ms=900))
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(refused, StsRefused)
    assert (refused.code, refused.retryable, refused.retry_after_ms) == (ErrorCode.QUEUE_FULL, True, 1_000)


@pytest.mark.slow
class TestWorkerLost:
    async def test_another_worker_takes_the_job_over(self, tmp_path_factory: pytest.TempPathFactory):
        listener = Listener()
        with runpod_rig(tmp_path_factory.mktemp("lost"), "--worker-silence-s", "5") as rig:
            doomed = rig.start_worker("doomed", STS_MOCK_SCRIPT="*:stall:60000")
            sts = RunpodSts(rig.endpoint_id, base_url=rig.url, api_key=rig.key)
            call = asyncio.create_task(sts.process(asked(deadline_ms=60_000), listener))
            await jobs_in_progress(rig, 1)
            doomed.kill()
            rig.start_worker("spare")
            result = await asyncio.wait_for(call, 2 * BOUND_S)
            await sts.aclose()
        assert result.dubs
        assert [partial.kind for partial in listener.heard] == [PartialKind.TEXT, PartialKind.AUDIO]

    async def test_a_service_that_dies_is_unavailable(self, tmp_path_factory: pytest.TempPathFactory):
        with entry("http", tmp_path_factory.mktemp("dies")) as dies:
            async with connected(dies) as sts:
                call = asyncio.create_task(sts.process(asked(STALLS), Listener()))
                await dies.busy(1)
                dies.kill()
                with pytest.raises(StsUnavailable):
                    await asyncio.wait_for(call, BOUND_S)


async def test_an_endpoint_that_is_none_is_told(tmp_path_factory: pytest.TempPathFactory):
    with runpod_rig(tmp_path_factory.mktemp("none")) as rig:
        sts = RunpodSts("another", base_url=rig.url, api_key=rig.key)
        with pytest.raises(StsUnavailable, match=r"endpoint.*STS_SERVICE_URL"):
            await sts.process(asked(deadline_ms=1_000))
        await sts.aclose()


@pytest.mark.slow
class TestHedging:
    async def test_the_second_service_saves_what_stalls_at_the_first(
        self, way: Entry, tmp_path_factory: pytest.TempPathFactory
    ):
        """The second is reached the other way, and does not stall."""
        other = "http" if way.name == "runpod" else "runpod"
        with entry(other, tmp_path_factory.mktemp("second"), STS_MOCK_SCRIPT="") as second:
            sts = HedgedSts(
                GuardedSts(way.connect(), CircuitBreaker()),
                GuardedSts(second.connect(), CircuitBreaker()),
                HedgePolicy(HedgeConfig(after_ms=300)),
            )
            listener = Listener()
            result = await sts.process(asked(STALLS, "en", "fr"), listener)
            await sts.aclose()
        assert {dub.language for dub in result.dubs} == {"en", "fr"}
        assert [partial.kind for partial in listener.heard].count(PartialKind.TEXT) == 1
        languages = [dub.language for partial in listener.heard[1:] for dub in partial.dubs]
        assert sorted(languages) == ["en", "fr"]
