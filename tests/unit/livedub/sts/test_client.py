from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

import pytest
from pydantic import SecretStr, ValidationError

from livedub.errors import ConfigurationError
from livedub.sts.breaker import BreakerConfig, BreakerState, CircuitBreaker
from livedub.sts.client import GuardedSts, connect_guarded_sts, connect_sts
from livedub.sts.client_settings import StsClientSettings
from livedub.sts.contract import ErrorCode, Health, PartialKind, Stage, StsPartial, StsRequest, StsResult
from livedub.sts.errors import StsBadAnswer, StsBreakerOpen, StsFailure, StsRefused, StsTimeout
from livedub.sts.hedge import HedgeConfig
from livedub.sts.hedged import HedgedSts
from livedub.sts.http_client import HttpSts
from livedub.sts.partials import OnPartial
from livedub.sts.runpod_client import RunpodSts
from tests.unit.livedub.sts.exchanges import failure, request, success

MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class ScriptedSts:
    """Answers with what the script says next; the last entry stays."""

    def __init__(self, *script: StsResult | BaseException | Callable[[], object]) -> None:
        self.script = list(script)
        self.asked = 0
        self.listeners: list[OnPartial | None] = []
        self.warmed_ms = 0
        self.closed = False

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        self.asked += 1
        self.listeners.append(on_partial)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            step()
            await asyncio.Event().wait()
        assert isinstance(step, StsResult)
        return step

    async def health(self) -> Health:
        return Health(ready=True)

    async def warm_up(self, *, timeout_ms: int) -> None:
        self.warmed_ms = timeout_ms

    async def aclose(self) -> None:
        self.closed = True


class Answering(ScriptedSts):
    """Tells a part, and then nothing more."""

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        assert on_partial is not None
        await on_partial(StsPartial(kind=PartialKind.TEXT, fragment_id=request.fragment_id))
        await asyncio.Event().wait()
        raise AssertionError


def guarded(sts: ScriptedSts, clock: Clock | None = None) -> GuardedSts:
    breaker = CircuitBreaker(BreakerConfig(failures_to_open=2, cool_down_ms=1_000))
    return GuardedSts(sts, breaker, clock_ns=clock or Clock())


async def fails(sts: GuardedSts, kind: type[StsFailure]) -> StsFailure:
    with pytest.raises(kind) as caught:
        await sts.process(request())
    return caught.value


async def test_opens_fails_at_once_probes_and_closes(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    clock = Clock()
    inner = ScriptedSts(StsTimeout("late"), StsBadAnswer("nonsense"), success())
    sts = guarded(inner, clock)
    await fails(sts, StsTimeout)
    await fails(sts, StsBadAnswer)
    assert sts.breaker_state is BreakerState.OPEN
    failure_ = await fails(sts, StsBreakerOpen)
    assert failure_.reason == "breaker_open"
    assert inner.asked == 2
    clock.now_ns = 1_000 * MS
    assert (await sts.process(request())).fragment_id == "stadium/3/7"
    assert sts.breaker_state is BreakerState.CLOSED
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "STS circuit breaker opened",
        "STS circuit breaker lets one fragment through as a probe",
        "STS circuit breaker closed",
    ]


async def test_requests_at_fault_never_open_it():
    refusal = StsRefused(ErrorCode.INVALID_INPUT, "bad", stage=Stage.INPUT, retryable=False)
    sts = guarded(ScriptedSts(refusal))
    for _ in range(5):
        await fails(sts, StsRefused)
    assert sts.breaker_state is BreakerState.CLOSED


async def test_errors_in_results_count_like_raised_ones():
    sts = guarded(ScriptedSts(failure(ErrorCode.QUEUE_FULL, retryable=True)))
    for _ in range(2):
        await sts.process(request())
    assert sts.breaker_state is BreakerState.OPEN


async def test_an_unforeseen_exception_counts():
    sts = guarded(ScriptedSts(RuntimeError("bug")))
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await sts.process(request())
    assert sts.breaker_state is BreakerState.OPEN


@pytest.mark.parametrize(("waited_ms", "expected"), [(100, BreakerState.CLOSED), (2_000, BreakerState.OPEN)])
async def test_cancelling_counts_only_after_the_deadline(waited_ms: int, expected: BreakerState):
    clock = Clock()
    started = asyncio.Event()
    sts = guarded(ScriptedSts(started.set), clock)
    for _ in range(2):
        started.clear()
        call = asyncio.create_task(sts.process(request(deadline_ms=2_000)))
        await asyncio.wait_for(started.wait(), 5)
        clock.now_ns += waited_ms * MS
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert sts.breaker_state is expected


async def test_an_answer_that_its_caller_stops_in_the_middle_shows_the_service_to_be_well():
    clock = Clock()
    sts = guarded(ScriptedSts(StsTimeout("late"), StsTimeout("late"), success()), clock)
    for _ in range(2):
        await fails(sts, StsTimeout)
    clock.now_ns = 1_000 * MS
    sts._sts = Answering()
    heard = asyncio.Event()

    async def listen(_: StsPartial) -> None:
        heard.set()

    call = asyncio.create_task(sts.process(request(), listen))
    await asyncio.wait_for(heard.wait(), 30)
    assert sts.breaker_state is BreakerState.HALF_OPEN
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sts.breaker_state is BreakerState.CLOSED


async def test_health_and_close_pass_through():
    inner = ScriptedSts(success())
    sts = guarded(inner)
    assert (await sts.health()).ready
    await sts.warm_up(timeout_ms=700)
    assert inner.warmed_ms == 700
    await sts.aclose()
    assert inner.closed


async def test_partials_pass_through_and_none_are_asked_for_where_nobody_listens():
    heard: list[StsPartial] = []

    async def listen(partial: StsPartial) -> None:
        heard.append(partial)

    inner = ScriptedSts(success())
    sts = guarded(inner)
    await sts.process(request())
    await sts.process(request(), listen)
    asked_without, asked_with = inner.listeners
    assert asked_without is None
    assert asked_with is not None
    part = StsPartial(kind=PartialKind.TEXT, fragment_id="stadium/3/7")
    await asked_with(part)
    assert heard == [part]


class TestConnectGuarded:
    async def test_one_service_with_the_breaker_of_the_settings(self):
        settings = StsClientSettings(sts_breaker_failures=1, sts_breaker_cool_down_ms=600_000)
        sts = connect_guarded_sts("http://127.0.0.1:1", api_key="", settings=settings)
        assert isinstance(sts, GuardedSts)
        with pytest.raises(StsFailure, match="cannot be reached"):
            await sts.process(request(deadline_ms=100))
        with pytest.raises(StsBreakerOpen):
            await sts.process(request(deadline_ms=100))
        await sts.aclose()

    async def test_a_second_address_makes_it_hedged(self):
        settings = StsClientSettings(sts_hedge_url="runpod://abc", sts_hedge_api_key=SecretStr("other"))
        sts = connect_guarded_sts("http://127.0.0.1:1", api_key="k", settings=settings)
        assert isinstance(sts, HedgedSts)
        assert sts.breaker_state is BreakerState.CLOSED
        await sts.aclose()


class TestSettings:
    def test_the_defaults_are_those_of_the_parts(self, monkeypatch: pytest.MonkeyPatch):
        for name in [name for name in os.environ if name.startswith("STS_")]:
            monkeypatch.delenv(name)
        settings = StsClientSettings()
        assert settings.sts_breaker == BreakerConfig()
        assert settings.sts_hedge == HedgeConfig()

    def test_variables_are_read(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("STS_BREAKER_FAILURES", "9")
        monkeypatch.setenv("STS_BREAKER_MAX_P95_MS", "1500")
        monkeypatch.setenv("STS_HEDGE_URL", "runpod://abc")
        monkeypatch.setenv("STS_HEDGE_API_KEY", "s3cret")
        monkeypatch.setenv("STS_HEDGE_AFTER_MS", "800")
        monkeypatch.setenv("STS_RUNPOD_BASE_URL", "http://127.0.0.1:9/v2")
        settings = StsClientSettings()
        assert (settings.sts_breaker.failures_to_open, settings.sts_breaker.max_p95_ms) == (9, 1_500)
        assert (settings.sts_hedge_url, settings.sts_hedge.after_ms) == ("runpod://abc", 800)
        assert settings.sts_runpod_base_url == "http://127.0.0.1:9/v2"
        assert "s3cret" not in repr(settings)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("STS_HEDGE_URL", "127.0.0.1:8000"),
            ("STS_HEDGE_MAX_SHARE", "0"),
            ("STS_HEDGE_MAX_SHARE", "1.1"),
            ("STS_BREAKER_FAILURES", "0"),
            ("STS_HEDGE_AFTER_MS", "-1"),
        ],
    )
    def test_what_cannot_be_is_refused(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str):
        monkeypatch.setenv(name, value)
        with pytest.raises(ValidationError, match=name):
            StsClientSettings()


class TestConnect:
    @pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://sts.example/base/", "http://[::1]:1"])
    async def test_http_gets_the_http_client(self, url: str):
        sts = connect_sts(url)
        assert isinstance(sts, HttpSts)
        await sts.aclose()
        await sts.aclose()

    async def test_runpod_gets_the_runpod_client(self):
        sts = connect_sts("runpod://abc123def456gh", api_key="k", runpod_base_url="http://127.0.0.1:1/v2")
        assert isinstance(sts, RunpodSts)
        await sts.aclose()
        await sts.aclose()

    @pytest.mark.parametrize(
        "url",
        [
            "runpod://",
            "runpod:///abc",
            "runpod://abc/run",
            "runpod://abc?x=1",
            "runpod://abc#x",
            "runpod://user@abc",
            "runpod://abc:80",
            "runpod://a b",
            "runpod://a..b",
            "runpod://-abc",
            "runpod://abc-",
            "runpod://" + "a" * 65,
            "runpod://äbc",
            "runpod://a%2Fb",
        ],
    )
    def test_anything_but_an_endpoint_id_is_refused(self, url: str):
        with pytest.raises(ConfigurationError, match=r"STS_SERVICE_URL.*endpoint"):
            connect_sts(url)

    @pytest.mark.parametrize(
        "base", ["", "ftp://x", "api.runpod.ai/v2", "https://", "http://h:99999", "https://h/v2?x=1"]
    )
    def test_a_base_address_that_is_none_is_refused(self, base: str):
        with pytest.raises(ConfigurationError, match="STS_RUNPOD_BASE_URL"):
            connect_sts("runpod://abc", runpod_base_url=base)

    @pytest.mark.parametrize(
        "url",
        ["", "127.0.0.1:8000", "ftp://host", "http://", "http:///path", "http://h:99999", "http://[::1"],
    )
    def test_other_addresses_are_refused_with_the_remedy(self, url: str):
        with pytest.raises(ConfigurationError, match=r"STS_SERVICE_URL.*http://127\.0\.0\.1:8000"):
            connect_sts(url)

    @pytest.mark.parametrize("key", ["line\nbreak", "schlüssel", "\x00"])
    def test_a_key_no_header_can_carry_is_refused_and_not_shown(self, key: str):
        with pytest.raises(ConfigurationError, match="STS_API_KEY") as caught:
            connect_sts("http://127.0.0.1:8000", api_key=key)
        assert key not in str(caught.value)
