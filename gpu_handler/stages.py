"""A stage: one engine, its thread, and the micro-batches of many streams that it is given.

The event loop owns the queue and applies the rules of `stage_rules`; a thread runs the engine's calls, never two of
one lane at once. Several stages work at the same time, each on other fragments.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from gpu_handler.job import Job
from gpu_handler.stage_errors import StageError, is_out_of_memory, stage_error
from gpu_handler.stage_rules import BatchLimit, CostEstimate, Settled, StageQueue, Ticket, settle
from livedub.sts.contract import ErrorCode
from livedub.sts.contract import Stage as StageName

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
MAX_GATHER_MS = 30.0


@dataclass(slots=True)
class StageCounts:
    """What a stage has done since it was made.

    `calls` and `items` count what the engine was asked, repeats included; `idle_ns` adds up how long items waited
    while the engine was free, gathering included: the stage's own share of the delay. `waiting` items and `running`
    calls are those of the moment.
    """

    waiting: int = 0
    running: int = 0
    calls: int = 0
    items: int = 0
    answered: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    largest_batch: int = 0
    out_of_memory: int = 0
    idle_ns: int = 0


@dataclass(slots=True, eq=False, kw_only=True)
class _Waiting(Ticket, Generic[I]):
    """A ticket, its item, and its owner, who awaits `answer`."""

    item: I
    job: Job
    answer: asyncio.Future[Any]
    queued_ns: int
    on_answer: Callable[[], None]


class Approach:
    """Tells a stage how many items of one fragment are about to come to it."""

    def __init__(self, stage: Stage[Any, Any]) -> None:
        self._stage = stage
        self._count = 0

    def near(self, count: int = 1) -> None:
        """So many more will be there in a moment."""
        self._count += count
        self._stage.announce(count)

    def passed(self, count: int = 1) -> None:
        """So many have come, or will not; more than were near count as those that were."""
        count = min(count, self._count)
        self._count -= count
        self._stage.arrived(count)

    def over(self) -> None:
        """No more will come."""
        self.passed(self._count)


def _nothing() -> None:
    """For tickets whose answer nobody needs to hear of."""


class Stage(Generic[I, R]):
    """Runs items of many streams through one engine, in batches.

    Use from one event loop at a time; `close` from anywhere.

    Args:
        name: what the contract calls the stage.
        call: the engine; answers a batch in order or raises.
        timing: the `StageTimings` field that the engine's time is booked on; empty books none.
        max_batch: the most items in a call.
        lanes: calls that may run at the same time.
        gather_ms: how long a free engine waits at most for items that are known to come at once.
        upstream: the stage whose answers come here.
    """

    def __init__(
        self,
        name: StageName,
        call: Callable[[Sequence[I]], Sequence[R]],
        *,
        timing: str = "",
        max_batch: int = 1,
        lanes: int = 1,
        gather_ms: float = 0.0,
        upstream: Stage[Any, Any] | None = None,
    ) -> None:
        self.name = name
        self._call = call
        self._timing = timing
        self._lanes = lanes
        self._gather_ns = round(min(gather_ms, MAX_GATHER_MS) * _NS_PER_MS)
        self._upstream = upstream
        self._limit = BatchLimit(max_batch)
        self._cost = CostEstimate()
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix=f"sts-{name.value}")
        self._counts = StageCounts()
        self._counting = threading.Lock()
        self._closed = False
        self._reset(None)

    def _reset(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._queue: StageQueue[_Waiting[I]] = StageQueue()
        self._started_ns: list[int] = []
        self._free_since_ns = 0
        self._near = 0
        self._timer: asyncio.TimerHandle | None = None
        self._gather_until_ns = 0

    @property
    def counts(self) -> StageCounts:
        """A copy of what was counted so far, and what is there now."""
        return replace(self._counts, waiting=len(self._queue), running=len(self._started_ns))

    @property
    def busy_s(self) -> float:
        """How long the longest call under way has been running; 0 where none is."""
        started_ns = min(self._started_ns, default=None)
        return 0.0 if started_ns is None else (time.monotonic_ns() - started_ns) / _NS_PER_S

    def least_ns(self) -> int:
        """The least that a batch has taken lately; 0 where nothing is known."""
        return self._cost.least_ns(time.monotonic_ns())

    async def run(
        self,
        job: Job,
        item: I,
        *,
        rest_ns: int = 0,
        approach: Approach | None = None,
        on_answer: Callable[[], None] = _nothing,
    ) -> R:
        """Have an item worked on; cancelling takes it out of the queue, or drops its result.

        Args:
            job: the fragment it belongs to.
            item: what the engine is given.
            rest_ns: the least that the stages after this one will take.
            approach: where the item was announced.
            on_answer: called when the answer is there, before anybody who awaits one of its batch goes on.

        Raises:
            StageError: TIMEOUT if the deadline cannot be met, else what went wrong with this item.
        """
        loop = self._bind()
        now_ns = time.monotonic_ns()
        ticket: _Waiting[I] = _Waiting(
            item=item,
            stream=job.stream,
            sequence_number=job.request.sequence_number,
            deadline_ns=job.deadline_ns - rest_ns,
            job=job,
            answer=loop.create_future(),
            queued_ns=now_ns,
            on_answer=on_answer,
        )
        self._queue.add(ticket)
        if self._is_hopeless(ticket, now_ns):
            self._queue.remove(ticket)
            self._refuse([ticket])
        if approach is not None:
            approach.passed()
        self._pump()
        try:
            return await ticket.answer
        except asyncio.CancelledError:
            self._counts.cancelled += 1
            self._queue.remove(ticket)
            raise

    async def run_plain(self, items: Sequence[I]) -> list[R]:
        """Run a call in turn, outside any request; raises what the engine raises."""
        return list(await asyncio.get_running_loop().run_in_executor(self._pool, self._call, items))

    def announce(self, count: int) -> None:
        """So many items are about to come: a free engine gives them a moment."""
        self._bind()
        self._near += count

    def arrived(self, count: int) -> None:
        """So many announced items have come, or will not."""
        self._near = max(0, self._near - count)
        if self._near == 0 and self._timer is not None:
            self._pump()

    def close(self) -> None:
        """Let the running call end; what waits fails. Safe to call twice."""
        self._closed = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop may be gone, and with it everybody who waits
                self._loop.call_soon_threadsafe(self._turn_away)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _bind(self) -> asyncio.AbstractEventLoop:
        """The running loop; what another one left behind is forgotten, nobody can await it any more."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._reset(loop)
        return loop

    def _turn_away(self) -> None:
        for ticket in self._queue.drain():
            self._answer(ticket, error=self._shutting_down())

    def _shutting_down(self) -> StageError:
        return StageError(self.name, ErrorCode.MODEL_ERROR, "the service is shutting down.", retryable=True)

    def _is_hopeless(self, ticket: _Waiting[I], now_ns: int) -> bool:
        cost_ns = self._cost.least_ns(now_ns)
        free_ns = now_ns
        if len(self._started_ns) >= self._lanes:
            free_ns = max(now_ns, min(self._started_ns) + cost_ns)
        at_once = self._limit.current(now_ns) * self._lanes
        return self._queue.is_hopeless(ticket, free_ns=free_ns, cost_ns=cost_ns, at_once=at_once)

    def _pump(self) -> None:
        """Start as many batches as there are free lanes, unless more items are about to come."""
        while len(self._queue) and len(self._started_ns) < self._lanes:
            now_ns = time.monotonic_ns()
            limit = self._limit.current(now_ns)
            cost_ns = self._cost.least_ns(now_ns)
            if self._gathers(now_ns, limit, cost_ns):
                return
            self._stop_gathering()
            turn = self._queue.turn(now_ns=now_ns, cost_ns=cost_ns, limit=limit, lanes=self._lanes)
            self._refuse(turn.hopeless)
            if turn.batch:
                self._start(turn.batch, now_ns)

    def _gathers(self, now_ns: int, limit: int, cost_ns: int) -> bool:
        """Whether waiting for items that are about to come is worth it; sees to it that the wait ends."""
        if self._gather_ns == 0 or len(self._queue) >= limit or self._closed:
            return False
        if not self._gather_until_ns:
            self._gather_until_ns = now_ns + self._gather_ns
        left_ns = self._gather_until_ns - now_ns
        if left_ns <= 0 or not self._more_to_come(left_ns):
            return False
        earliest_ns = self._queue.earliest_deadline_ns()
        if earliest_ns is not None and self._gather_until_ns + cost_ns > earliest_ns:
            return False
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(left_ns / _NS_PER_S, self._gathered)
        return True

    def _more_to_come(self, within_ns: int) -> bool:
        return self._near > 0 or (self._upstream is not None and self._upstream.ends_within(within_ns))

    def ends_within(self, within_ns: int) -> bool:
        """Whether a call under way is expected to end in that time."""
        if not self._started_ns:
            return False
        now_ns = time.monotonic_ns()
        cost_ns = self._cost.least_ns(now_ns)
        return any(0 <= started_ns + cost_ns - now_ns <= within_ns for started_ns in self._started_ns)

    def _gathered(self) -> None:
        self._timer = None
        self._pump()

    def _stop_gathering(self) -> None:
        self._gather_until_ns = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, batch: list[_Waiting[I]], now_ns: int) -> None:
        for ticket in batch:
            self._counts.idle_ns += now_ns - max(ticket.queued_ns, self._free_since_ns)
        self._started_ns.append(now_ns)
        try:
            self._pool.submit(self._work, batch[0].answer.get_loop(), batch, now_ns)
        except RuntimeError:  # closed between two events
            self._started_ns.remove(now_ns)
            for ticket in batch:
                self._answer(ticket, error=self._shutting_down())

    def _work(self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting[I]], started_ns: int) -> None:
        """In the engine's thread: run the batch and hand every answer to the loop."""
        begun_ns = time.monotonic_ns()
        ran_out: list[int] = []

        def dropped(index: int) -> bool:
            ticket = batch[index]
            return ticket.answer.done() or time.monotonic_ns() > ticket.deadline_ns

        def counted(items: Sequence[I]) -> Sequence[R]:
            self._count_call(len(items))
            return self._call(items)

        settling = settle(
            counted,
            [ticket.item for ticket in batch],
            out_of_memory=is_out_of_memory,
            dropped=dropped,
            on_out_of_memory=ran_out.append,
        )
        whole: Settled[R] | None = None
        ended_ns = begun_ns
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everybody who waits
            try:
                for settled in settling:
                    ended_ns = time.monotonic_ns()
                    if len(settled.indices) == len(batch):
                        whole = settled  # the usual case: the loop is woken once for all that is to be done
                        break
                    loop.call_soon_threadsafe(self._settled, batch, settled, begun_ns, ended_ns)
                    begun_ns = ended_ns
            finally:
                loop.call_soon_threadsafe(
                    self._finished, batch, started_ns, ran_out, whole, begun_ns, ended_ns
                )

    def _count_call(self, size: int) -> None:
        with self._counting:
            self._counts.calls += 1
            self._counts.items += size
            self._counts.largest_batch = max(self._counts.largest_batch, size)

    def _settled(self, batch: list[_Waiting[I]], settled: Settled[R], started_ns: int, ended_ns: int) -> None:
        tickets = [batch[index] for index in settled.indices]
        self._book(tickets, started_ns, ended_ns)
        if settled.error is not None:
            self._answer(tickets[0], error=stage_error(self.name, settled.error))
            return
        self._cost.observe(ended_ns, ended_ns - started_ns)
        for ticket in tickets:
            ticket.on_answer()
        for ticket, result in zip(tickets, settled.results, strict=True):
            self._answer(ticket, result=result)

    def _book(self, tickets: list[_Waiting[I]], started_ns: int, ended_ns: int) -> None:
        """The engine's time on the fragments it worked for: once, however many items of one were in the batch."""
        share = Counter(id(ticket.job) for ticket in tickets)
        for ticket in tickets:
            part = 1 / share[id(ticket.job)] / _NS_PER_S
            ticket.job.spend("queue_ms", max(0, started_ns - ticket.queued_ns) * part)
            if self._timing:
                ticket.job.spend(self._timing, (ended_ns - started_ns) * part)

    def _finished(
        self,
        batch: list[_Waiting[I]],
        started_ns: int,
        ran_out: list[int],
        whole: Settled[R] | None,
        begun_ns: int,
        ended_ns: int,
    ) -> None:
        if whole is not None:
            self._settled(batch, whole, begun_ns, ended_ns)
        now_ns = time.monotonic_ns()
        self._started_ns.remove(started_ns)
        self._free_since_ns = now_ns
        for size in ran_out:
            self._counts.out_of_memory += 1
            self._limit.ran_out(now_ns, size)
        self._refuse([ticket for ticket in batch if not ticket.answer.done()])
        self._pump()

    def _refuse(self, tickets: list[_Waiting[I]]) -> None:
        for ticket in tickets:
            self._counts.refused += 1
            ticket.job.spend("queue_ms", (time.monotonic_ns() - ticket.queued_ns) / _NS_PER_S)
            self._answer(ticket, error=ticket.job.late(self.name))

    def _answer(
        self, ticket: _Waiting[I], *, result: R | None = None, error: StageError | None = None
    ) -> None:
        if ticket.answer.done():
            return  # cancelled meanwhile: nobody wants it
        if error is None:
            self._counts.answered += 1
            ticket.answer.set_result(result)
        else:
            self._counts.failed += 1
            ticket.answer.set_exception(error)
