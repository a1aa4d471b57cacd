"""Two STS services as one: the second is asked when the first is late or failing; the first good answer wins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from livedub.sts.breaker import BreakerState
from livedub.sts.client import GuardedSpeechToSpeech
from livedub.sts.contract import ErrorCode, Health, StsPartial, StsRequest, StsResult
from livedub.sts.deadline import Deadline
from livedub.sts.errors import StsFailure, StsRefused
from livedub.sts.hedge import HedgePolicy
from livedub.sts.partials import OnPartial, PartialGate
from livedub.sts.retry import MIN_RETRY_MS

_BEST_FIRST = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)


class HedgedSts:
    """`SpeechToSpeech` over a primary and a second service, neither of which retries by itself.

    A request goes out at most twice: again when the policy calls it late (and its budget allows), or when the primary
    failed in a way that says nothing about the fragment. Partials come from one of the two, the first to send one; the
    other is listened to only when that one has failed. Whoever loses is cancelled.
    """

    def __init__(
        self,
        primary: GuardedSpeechToSpeech,
        second: GuardedSpeechToSpeech,
        policy: HedgePolicy,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._services = (primary, second)
        self._policy = policy
        self._clock_ns = clock_ns

    @property
    def breaker_state(self) -> BreakerState:
        """The better of the two: closed while one of them takes fragments."""
        return min((service.breaker_state for service in self._services), key=_BEST_FIRST.index)

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        """As `SpeechToSpeech.process`; where both fail, the primary's failure is raised."""
        self._policy.admit()
        started_ns = self._clock_ns()
        race = _Race(self._services, request, Deadline(self._clock_ns, request.deadline_ms), on_partial)
        race.start(0)
        try:
            return await self._run(race)
        finally:
            if race.won_by is not None:
                self._policy.observe((self._clock_ns() - started_ns) // 1_000_000)
            await race.end()

    async def health(self) -> Health:
        """The primary's health; the second's where the primary is not ready."""
        try:
            health = await self._services[0].health()
        except StsFailure:
            return await self._services[1].health()
        return health if health.ready else await self._services[1].health()

    async def warm_up(self, *, timeout_ms: int) -> None:
        """Warm up both; raises only where neither became ready."""
        failures = await asyncio.gather(
            *(service.warm_up(timeout_ms=timeout_ms) for service in self._services), return_exceptions=True
        )
        for failure in failures:
            if failure is None or not isinstance(failure, StsFailure):
                break
        else:
            raise failures[0]  # pyright: ignore[reportGeneralTypeIssues] - all are failures here

    async def aclose(self) -> None:
        """Close both clients."""
        await asyncio.gather(*(service.aclose() for service in self._services))

    async def _run(self, race: _Race) -> StsResult:
        hedge_after_ms = self._policy.after_ms()
        while True:
            waits_for_hedge = hedge_after_ms is not None and not race.both_asked
            event = await race.next_event(hedge_after_ms if waits_for_hedge else None)
            if event is None:
                hedge_after_ms = None
                if race.worth_a_second and self._policy.spend():
                    race.start(1)
            elif event.partial is not None:
                await race.deliver(event.service, event.partial)
            elif (result := race.settle(event.service)) is not None:
                return result
            elif race.idle:
                self._ask_elsewhere(race)

    @staticmethod
    def _ask_elsewhere(race: _Race) -> None:
        failure = race.failure
        if race.both_asked or not race.worth_a_second or not _may_differ_elsewhere(failure):
            raise failure
        race.start(1)


def _may_differ_elsewhere(failure: StsFailure) -> bool:
    """Whether another service may do better: the fragment was not at fault."""
    return failure.retryable or (isinstance(failure, StsRefused) and failure.code is ErrorCode.AUTH_FAILED)


@dataclass(frozen=True, slots=True)
class _Event:
    """A partial of a service, or, without one, its end."""

    service: int
    partial: StsPartial | None = None


@dataclass(slots=True)
class _Race:
    """One fragment at one or two services. Everything happens in the caller's task but the asking itself."""

    services: tuple[GuardedSpeechToSpeech, GuardedSpeechToSpeech]
    request: StsRequest
    deadline: Deadline
    on_partial: OnPartial | None
    won_by: int | None = None
    _tasks: dict[int, asyncio.Task[StsResult]] = field(default_factory=dict[int, "asyncio.Task[StsResult]"])
    _failures: dict[int, StsFailure] = field(default_factory=dict[int, StsFailure])
    _events: asyncio.Queue[_Event] = field(default_factory=asyncio.Queue[_Event])
    _gate: PartialGate = field(init=False)
    _speaker: int | None = None

    def __post_init__(self) -> None:
        self._gate = PartialGate(self.request, self.on_partial)

    @property
    def both_asked(self) -> bool:
        return len(self._tasks) == len(self.services)

    @property
    def idle(self) -> bool:
        """Whether everyone who was asked has failed."""
        return len(self._failures) == len(self._tasks)

    @property
    def failure(self) -> StsFailure:
        """The failure of the first who was asked."""
        return self._failures[min(self._failures)]

    @property
    def worth_a_second(self) -> bool:
        """Whether asking the second service could still be of use."""
        return self.deadline.left_ms() >= MIN_RETRY_MS and not (self.idle and self._gate.audio_delivered)

    def start(self, service: int) -> None:
        left_ms = max(1, min(self.request.deadline_ms, self.deadline.left_ms()))
        request = self.request.model_copy(update={"deadline_ms": left_ms})

        async def hear(partial: StsPartial) -> None:
            self._events.put_nowait(_Event(service, partial))

        hears = hear if self.on_partial is not None else None
        task = asyncio.create_task(
            self.services[service].process(request, hears), name=f"sts service {service + 1}"
        )
        task.add_done_callback(lambda _: self._events.put_nowait(_Event(service)))
        self._tasks[service] = task

    async def next_event(self, hedge_after_ms: int | None) -> _Event | None:
        """What happens next; None when the request has become late before anything happened."""
        if hedge_after_ms is None:
            return await self._events.get()
        spent_ms = self.request.deadline_ms - self.deadline.left_ms()
        try:
            return await asyncio.wait_for(self._events.get(), max(0, hedge_after_ms - spent_ms) / 1_000)
        except asyncio.TimeoutError:
            return None

    async def deliver(self, service: int, partial: StsPartial) -> None:
        if self._speaker is None or self._speaker in self._failures:
            self._speaker = service
        if self._speaker == service:
            await self._gate.offer(partial)

    def settle(self, service: int) -> StsResult | None:
        """The result of a service that has ended; None where it failed.

        Raises:
            Exception: it ended with something else than a result or an `StsFailure`.
        """
        try:
            result = self._tasks[service].result()
        except StsFailure as failure:
            self._failures[service] = failure
            return None
        self.won_by = service
        return result

    async def end(self) -> None:
        """Cancel whoever still works; returns when they have stopped."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
