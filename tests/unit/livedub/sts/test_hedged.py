"""Two services as one, on a clock that the test turns where time decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.sts.breaker import BreakerState, CircuitBreaker
from livedub.sts.client import GuardedSts
from livedub.sts.contract import ErrorCode, Health, PartialKind, Stage, StsPartial, StsRequest, StsResult
from livedub.sts.errors import (
    StsBadAnswer,
    StsBreakerOpen,
    StsFailure,
    StsRefused,
    StsTimeout,
    StsUnavailable,
)
from livedub.sts.hedge import HedgeConfig, HedgePolicy
from livedub.sts.hedged import HedgedSts
from livedub.sts.partials import OnPartial
from tests.unit.livedub.sts.exchanges import audio_partial, dub, request, success, text_partial

BOUND_S = 10.0
NEVER_MS = 100_000
AT_ONCE_MS = 1
FIRST = success(dub(), text="from the first")
SECOND = success(dub(), text="from the second")
Step = StsPartial | StsResult | Exception | asyncio.Event


class SteppedSts:
    """Takes its steps in order: says a partial, waits for an event, ends with a result or a failure."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.asked: list[StsRequest] = []
        self.begun = asyncio.Event()
        self.cancelled = 0
        self.closed = False
        self.listened: list[bool] = []
        self.breaker_state = BreakerState.CLOSED
        self.healthy: Health | StsFailure = Health(ready=True)
        self.warm: StsFailure | None = None

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        self.asked.append(request)
        self.listened.append(on_partial is not None)
        self.begun.set()
        try:
            for step in self.steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, StsPartial):
                    if on_partial is not None:
                        await on_partial(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    return step
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError("the steps ran out")

    async def health(self) -> Health:
        if isinstance(self.healthy, StsFailure):
            raise self.healthy
        return self.healthy

    async def warm_up(self, *, timeout_ms: int) -> None:
        if self.warm is not None:
            raise self.warm

    async def aclose(self) -> None:
        self.closed = True


class WatchedPolicy(HedgePolicy):
    """Tells when it was asked to spend, and what it said."""

    def __init__(self, config: HedgeConfig) -> None:
        super().__init__(config)
        self.said: asyncio.Queue[bool] = asyncio.Queue()

    def spend(self) -> bool:
        may = super().spend()
        self.said.put_nowait(may)
        return may


class Listener:
    def __init__(self) -> None:
        self.heard: list[StsPartial] = []
        self.tasks: set[object] = set()

    async def __call__(self, partial: StsPartial) -> None:
        self.heard.append(partial)
        self.tasks.add(asyncio.current_task())


def hedged(
    first: SteppedSts,
    second: SteppedSts,
    *,
    after_ms: int = NEVER_MS,
    policy: HedgePolicy | None = None,
    **more: Any,
) -> HedgedSts:
    return HedgedSts(first, second, policy or HedgePolicy(HedgeConfig(after_ms=after_ms)), **more)


def refused(code: ErrorCode, *, retryable: bool) -> StsRefused:
    return StsRefused(code, "no", stage=Stage.INPUT, retryable=retryable)


def nothing_left() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_first_that_is_in_time_is_all_there_is():
    first, second = SteppedSts(FIRST), SteppedSts(SECOND)
    assert await hedged(first, second).process(request()) == FIRST
    assert not second.asked
    assert first.listened == [False]
    assert nothing_left()


async def test_a_late_first_is_overtaken_and_cancelled():
    first, second = SteppedSts(asyncio.Event()), SteppedSts(SECOND)
    assert await hedged(first, second, after_ms=AT_ONCE_MS).process(request()) == SECOND
    assert first.cancelled == 1
    assert nothing_left()


async def test_a_late_first_may_still_win():
    go = asyncio.Event()
    first, second = SteppedSts(go, FIRST), SteppedSts(asyncio.Event())
    call = asyncio.create_task(hedged(first, second, after_ms=AT_ONCE_MS).process(request()))
    await asyncio.wait_for(second.begun.wait(), BOUND_S)
    go.set()
    assert await asyncio.wait_for(call, BOUND_S) == FIRST
    assert second.cancelled == 1


async def test_the_second_is_asked_for_the_time_left():
    clock_ns = 0

    def clock() -> int:
        return clock_ns

    first, second = SteppedSts(asyncio.Event()), SteppedSts(SECOND)
    sts = hedged(first, second, after_ms=500, clock_ns=clock)
    call = asyncio.create_task(sts.process(request(deadline_ms=2_000)))
    await asyncio.wait_for(first.begun.wait(), BOUND_S)
    clock_ns = 600_000_000
    await asyncio.wait_for(call, BOUND_S)
    assert first.asked[0].deadline_ms == 2_000
    assert second.asked[0].deadline_ms == 1_400


async def test_a_budget_that_is_spent_leaves_the_first_alone():
    policy = WatchedPolicy(HedgeConfig(after_ms=AT_ONCE_MS, max_share=0.001))
    policy.admit()
    assert policy.spend()
    policy.said.get_nowait()
    go = asyncio.Event()
    first, second = SteppedSts(go, FIRST), SteppedSts(SECOND)
    call = asyncio.create_task(hedged(first, second, policy=policy).process(request()))
    assert not await asyncio.wait_for(policy.said.get(), BOUND_S)
    go.set()
    assert await asyncio.wait_for(call, BOUND_S) == FIRST
    assert not second.asked


async def test_most_requests_are_not_hedged_whatever_the_first_does():
    first, second = SteppedSts(asyncio.Event()), SteppedSts(SECOND)
    policy = WatchedPolicy(HedgeConfig(after_ms=AT_ONCE_MS, max_share=0.1))
    sts = hedged(first, second, policy=policy)
    for number in range(30):
        call = asyncio.create_task(sts.process(request(sequence_number=number)))
        if await asyncio.wait_for(policy.said.get(), BOUND_S):
            assert await asyncio.wait_for(call, BOUND_S) == SECOND
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert 3 <= len(second.asked) <= 30 * 0.1 + 3


@pytest.mark.parametrize(
    "failure",
    [
        StsUnavailable("gone"),
        StsBadAnswer("nonsense"),
        StsBreakerOpen("open"),
        refused(ErrorCode.QUEUE_FULL, retryable=True),
        refused(ErrorCode.AUTH_FAILED, retryable=False),
    ],
)
async def test_the_second_takes_over_from_a_failing_first(failure: StsFailure):
    first, second = SteppedSts(failure), SteppedSts(SECOND)
    policy = HedgePolicy(HedgeConfig(after_ms=NEVER_MS, max_share=0.001))
    sts = hedged(first, second, policy=policy)
    for _ in range(20):
        assert await sts.process(request()) == SECOND  # a dead first is no question of the budget
    assert len(second.asked) == 20


@pytest.mark.parametrize("code", [ErrorCode.INVALID_INPUT, ErrorCode.UNSUPPORTED_LANGUAGE])
async def test_a_fragment_at_fault_is_not_sent_again(code: ErrorCode):
    second = SteppedSts(SECOND)
    with pytest.raises(StsRefused):
        await hedged(SteppedSts(refused(code, retryable=False)), second).process(request())
    assert not second.asked


async def test_no_second_without_time_for_it():
    second = SteppedSts(SECOND)
    with pytest.raises(StsTimeout):
        await hedged(SteppedSts(StsTimeout("late")), second).process(request(deadline_ms=100))
    assert not second.asked


async def test_where_both_fail_the_first_one_is_told():
    with pytest.raises(StsBadAnswer):
        await hedged(SteppedSts(StsBadAnswer("x")), SteppedSts(StsUnavailable("y"))).process(request())
    assert nothing_left()


async def test_a_second_that_fails_leaves_the_first_its_chance():
    go = asyncio.Event()
    first, second = SteppedSts(go, FIRST), SteppedSts(StsUnavailable("y"))
    call = asyncio.create_task(hedged(first, second, after_ms=AT_ONCE_MS).process(request()))
    await asyncio.wait_for(second.begun.wait(), BOUND_S)
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.wait_for(call, BOUND_S) == FIRST


async def test_a_bug_in_a_client_is_raised():
    with pytest.raises(ZeroDivisionError):
        await hedged(SteppedSts(ZeroDivisionError()), SteppedSts(SECOND)).process(request())
    assert nothing_left()


async def test_cancelling_cancels_both():
    first, second = SteppedSts(asyncio.Event()), SteppedSts(asyncio.Event())
    call = asyncio.create_task(hedged(first, second, after_ms=AT_ONCE_MS).process(request()))
    await asyncio.wait_for(second.begun.wait(), BOUND_S)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (first.cancelled, second.cancelled) == (1, 1)
    assert nothing_left()


class TestPartials:
    async def test_they_come_in_the_callers_task_and_before_the_result(self):
        listener = Listener()
        first = SteppedSts(text_partial(), audio_partial(), FIRST)
        assert await hedged(first, SteppedSts(SECOND)).process(request(), listener) == FIRST
        assert listener.heard == [text_partial(), audio_partial()]
        assert listener.tasks == {asyncio.current_task()}

    async def test_only_one_of_the_two_is_listened_to(self):
        listener = Listener()
        go = asyncio.Event()
        first = SteppedSts(text_partial(), asyncio.Event())
        second = SteppedSts(text_partial(), audio_partial(), go, SECOND)
        call = asyncio.create_task(hedged(first, second, after_ms=AT_ONCE_MS).process(request(), listener))
        await asyncio.wait_for(second.begun.wait(), BOUND_S)
        go.set()
        assert await asyncio.wait_for(call, BOUND_S) == SECOND
        assert listener.heard == [text_partial()]

    async def test_the_other_is_heard_once_that_one_has_failed(self):
        listener = Listener()
        first = SteppedSts(text_partial(), StsUnavailable("gone"))
        second = SteppedSts(text_partial(), audio_partial(), SECOND)
        assert await hedged(first, second).process(request(), listener) == SECOND
        assert listener.heard == [text_partial(), audio_partial()]

    async def test_no_second_is_started_once_audio_was_delivered(self):
        listener = Listener()
        first = SteppedSts(text_partial(), audio_partial(), StsUnavailable("gone"))
        second = SteppedSts(SECOND)
        with pytest.raises(StsUnavailable):
            await hedged(first, second).process(request(), listener)
        assert not second.asked

    async def test_what_the_listener_raises_ends_both(self):
        async def broken(_: StsPartial) -> None:
            raise ZeroDivisionError

        first = SteppedSts(text_partial(), asyncio.Event())
        with pytest.raises(ZeroDivisionError):
            await hedged(first, SteppedSts(SECOND)).process(request(), broken)
        assert first.cancelled == 1
        assert nothing_left()

    @given(
        first=st.lists(
            st.sampled_from([text_partial(), audio_partial("en"), audio_partial("fr")]), max_size=5
        ),
        second=st.lists(
            st.sampled_from([text_partial(), audio_partial("en"), audio_partial("fr")]), max_size=5
        ),
        ending=st.sampled_from([FIRST, StsUnavailable("gone"), StsBadAnswer("nonsense")]),
        after_ms=st.sampled_from([AT_ONCE_MS, NEVER_MS]),
    )
    async def test_never_anything_twice(
        self,
        first: list[StsPartial],
        second: list[StsPartial],
        ending: StsResult | StsFailure,
        after_ms: int,
    ):
        listener = Listener()
        services = SteppedSts(*first, ending), SteppedSts(*second, SECOND)
        try:
            await hedged(*services, after_ms=after_ms).process(request(targets=("en", "fr")), listener)
        except StsFailure:
            assert isinstance(ending, StsFailure)
        voices = [
            one.language for said in listener.heard if said.kind is PartialKind.AUDIO for one in said.dubs
        ]
        assert len(voices) == len(set(voices))
        assert [said.kind for said in listener.heard].count(PartialKind.TEXT) <= 1
        assert nothing_left()


class TestLearning:
    async def test_the_wait_is_learned_from_the_first_service(self):
        now_ns = 0

        def clock() -> int:
            return now_ns

        def taking(milliseconds: int) -> Callable[[], None]:
            def take() -> None:
                nonlocal now_ns
                now_ns += milliseconds * 1_000_000

            return take

        class TimedSts(SteppedSts):
            async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
                taking(400)()
                return await super().process(request, on_partial)

        policy = HedgePolicy(HedgeConfig(min_latencies=3))
        sts = hedged(TimedSts(FIRST), SteppedSts(SECOND), policy=policy, clock_ns=clock)
        for _ in range(3):
            assert policy.after_ms() is None
            await sts.process(request())
        assert policy.after_ms() == 400


class TestTheRest:
    async def test_health_is_that_of_whoever_is_ready(self):
        first, second = SteppedSts(FIRST), SteppedSts(SECOND)
        first.healthy = Health(ready=True, detail="first")
        second.healthy = Health(ready=True, detail="second")
        sts = hedged(first, second)
        assert (await sts.health()).detail == "first"
        first.healthy = Health(ready=False)
        assert (await sts.health()).detail == "second"
        first.healthy = StsUnavailable("gone")
        assert (await sts.health()).detail == "second"
        second.healthy = StsUnavailable("gone, too")
        with pytest.raises(StsUnavailable):
            await sts.health()

    async def test_one_warm_service_is_enough(self):
        first, second = SteppedSts(FIRST), SteppedSts(SECOND)
        sts = hedged(first, second)
        await sts.warm_up(timeout_ms=1)
        first.warm = StsUnavailable("the first sleeps")
        await sts.warm_up(timeout_ms=1)
        second.warm = StsUnavailable("the second, too")
        with pytest.raises(StsUnavailable, match="the first sleeps"):
            await sts.warm_up(timeout_ms=1)

    async def test_the_better_breaker_is_shown(self):
        first, second = SteppedSts(FIRST), SteppedSts(SECOND)
        sts = hedged(first, second)
        first.breaker_state = BreakerState.OPEN
        assert sts.breaker_state is BreakerState.CLOSED
        second.breaker_state = BreakerState.HALF_OPEN
        assert sts.breaker_state is BreakerState.HALF_OPEN

    async def test_an_open_breaker_hands_over_at_once(self):
        first = SteppedSts(StsTimeout("late"))
        guarded = GuardedSts(first, CircuitBreaker())
        second = SteppedSts(SECOND)
        sts = HedgedSts(guarded, second, HedgePolicy(HedgeConfig(after_ms=NEVER_MS)))
        for _ in range(8):
            assert await sts.process(request()) == SECOND
        assert len(first.asked) == 5
        assert guarded.breaker_state is BreakerState.OPEN

    async def test_both_are_closed(self):
        first, second = SteppedSts(FIRST), SteppedSts(SECOND)
        await hedged(first, second).aclose()
        assert first.closed
        assert second.closed
