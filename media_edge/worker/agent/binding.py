"""From a claimed work item to a bound lease: claim the row, wait for the task token, start to hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from livedub.errors import LivedubError
from livedub.supervision.contract import WorkItem
from livedub.supervision.lease import LeaseRefusedError, bind, claim
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord
from livedub.supervision.store_errors import StoreBusyError, StoreUnavailableError
from media_edge.worker.agent.assignment import PublishToken
from media_edge.worker.agent.tools import Tools

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.5


class NotBoundError(LivedubError):
    """The stream is not ours to run. Nothing was started."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A lease that is ours.

    Attributes:
        record: the row as it was bound.
        token: the right to publish `out`.
        confirmed_at_s: when the call that bound it began, on the loop's clock.
    """

    record: StreamRecord
    token: PublishToken = field(repr=False)
    confirmed_at_s: float


async def bind_stream(work: WorkItem, policy: SupervisionPolicy, tools: Tools) -> Binding:
    """Claim the row, wait until the state machine has put its task token there, and bind.

    Within `work.heartbeat_s`: after that the state machine has given the generation up.

    Raises:
        NotBoundError: the generation is over, somebody else has it, or the row or its token did not come in time.
    """
    deadline_s = asyncio.get_running_loop().time() + work.heartbeat_s
    binder = _Binder(work, policy, tools, deadline_s)
    await binder.change(
        "Claiming",
        lambda record, now_ms: claim(
            record, generation=work.generation, agent_id=tools.agent_id, now_ms=now_ms, policy=policy
        ),
    )
    await binder.task_token()
    token = PublishToken.make()
    record, started_s = await binder.change(
        "Binding",
        lambda record, now_ms: bind(
            record,
            generation=work.generation,
            agent_id=tools.agent_id,
            publish_token_hash=token.sha256,
            now_ms=now_ms,
            policy=policy,
        ),
    )
    return Binding(record, token, started_s)


class _Binder:
    def __init__(self, work: WorkItem, policy: SupervisionPolicy, tools: Tools, deadline_s: float) -> None:
        self._work = work
        self._policy = policy
        self._tools = tools
        self._deadline_s = deadline_s

    async def change(
        self, doing: str, rule: Callable[[StreamRecord, int], StreamRecord]
    ) -> tuple[StreamRecord, float]:
        """Apply `rule`, again and again while the store does not answer; returns the row and when the call began."""
        stream_id = self._work.stream_id
        while True:
            started_s = asyncio.get_running_loop().time()
            now_ms = self._tools.now_ms()

            def apply(record: StreamRecord | None, now_ms: int = now_ms) -> StreamRecord:
                if record is None:
                    raise NotBoundError(f"There is no row for {stream_id}.")
                return rule(record, now_ms)

            try:
                update = partial(self._tools.store.update, stream_id, apply)
                record = await self._tools.calls(f"{doing} {stream_id}", update, self._tools.call_timeout_s)
            except LeaseRefusedError as refusal:
                raise NotBoundError(str(refusal)) from refusal
            except (StoreUnavailableError, StoreBusyError):
                record = None
            if record is not None:
                return record, started_s
            await self._pause(_LONGEST_PAUSE_S)

    async def task_token(self) -> None:
        """Wait for it."""
        stream_id, pause_s = self._work.stream_id, _FIRST_PAUSE_S
        while True:
            record = await self._call(f"Reading {stream_id}", partial(self._tools.store.load, stream_id))
            lease = record.lease if record is not None else None
            ours = lease is not None and lease.generation == self._work.generation
            if lease is None or not ours or lease.agent_id != self._tools.agent_id:
                raise NotBoundError(f"Generation {self._work.generation} of {stream_id} is over.")
            if lease.task_token:
                return
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _call(self, doing: str, call: Callable[[], T]) -> T:
        while True:
            try:
                return await self._tools.calls(doing, call, self._tools.call_timeout_s)
            except (StoreUnavailableError, StoreBusyError):  # noqa: PERF203 - each try is a call
                await self._pause(_LONGEST_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        left_s = self._deadline_s - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise NotBoundError(
                f"Generation {self._work.generation} of {self._work.stream_id} could not be bound within "
                f"{self._work.heartbeat_s} s."
            )
        await asyncio.sleep(min(seconds, left_s))
