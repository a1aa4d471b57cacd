"""Hooks on their way to the control plane: in order for each path, tried again, and counted when lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from http import HTTPStatus

from livedub.errors import InvalidInputError
from livedub.observability import log_context
from livedub.supervision.contract import SourceHook
from livedub.supervision.paths import parse_path
from media_edge.mediamtx.relay.control_plane_client import ControlPlane, ControlPlaneError
from media_edge.mediamtx.relay.incoming import Event

_PATHS: dict[Event, str] = {"publish": "/v1/hooks/publish", "unpublish": "/v1/hooks/unpublish"}
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_MOST_PATHS = 2_000
_MOST_IN_FLIGHT = 20
"""Requests at once: auth requests use the same connections, and somebody waits for those."""
_MOST_REMEMBERED = 10_000
# 401: while keys rotate, some instances of a function still know the older key only.
_RETRIED = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lane:
    """The hooks of one path."""

    waiting: deque[tuple[Event, SourceHook]]
    task: asyncio.Task[None] | None = None


class HookForwarder:
    """Takes hooks without waiting. What is lost is found again by the path lists (`PathReporter`)."""

    def __init__(
        self,
        control_plane: ControlPlane,
        *,
        tries: int,
        queue_size: int,
        counters: Counter[str],
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._control_plane = control_plane
        if queue_size < 2:
            raise InvalidInputError(
                f"A queue of {queue_size} hooks is too short.", remedy="Allow two or more."
            )
        self._tries = tries
        self._queue_size = queue_size
        self._counters = counters
        self._first_pause_s = first_pause_s
        self._in_flight = asyncio.Semaphore(_MOST_IN_FLIGHT)
        self._lanes: dict[str, _Lane] = {}
        self._said: OrderedDict[str, tuple[Event, str]] = OrderedDict()
        self._closing = False

    @property
    def waiting(self) -> int:
        """Hooks that have not left yet."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def offer(self, event: Event, hook: SourceHook) -> bool:
        """Take a hook; False when there is no room for another path, or the relay is stopping.

        A hook that says what the one before it said (MediaMTX tells twice) is taken and not sent again.
        """
        if not self._closing and self._said.get(hook.path) == (event, hook.source_id):
            return True
        lane = self._lanes.get(hook.path)
        if self._closing or (lane is None and len(self._lanes) >= _MOST_PATHS):
            self._counters["hooks_lost"] += 1
            return False
        self._remember(event, hook)
        if lane is None:
            lane = self._lanes[hook.path] = _Lane(deque())
        if len(lane.waiting) >= self._queue_size:
            # The first one is being sent; the newest says how things stand.
            dropped_event, dropped = lane.waiting[1]
            del lane.waiting[1]
            self._lost(dropped_event, dropped, "too many hooks of this path wait")
        lane.waiting.append((event, hook))
        if lane.task is None:
            lane.task = asyncio.create_task(self._run(hook.path, lane), name=f"hooks of {hook.path}")
        return True

    async def close(self, timeout_s: float) -> None:
        """Let waiting hooks leave for at most `timeout_s`; what is left then is lost."""
        self._closing = True
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=timeout_s)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        for lane in self._lanes.values():
            for event, hook in lane.waiting:
                self._lost(event, hook, "the relay stopped")
        self._lanes.clear()

    async def _run(self, path: str, lane: _Lane) -> None:
        with log_context(stream_id=parse_path(path).stream_id):
            while lane.waiting:
                event, hook = lane.waiting[0]
                problem = await self._send(event, hook)
                lane.waiting.popleft()
                if problem is None:
                    self._counters["hooks_forwarded"] += 1
                else:
                    self._lost(event, hook, problem)
        lane.task = None
        del self._lanes[path]

    async def _send(self, event: Event, hook: SourceHook) -> str | None:
        """Send one hook, with a new time and nonce for each try; what went wrong at last, None when it arrived."""
        problem = ""
        for attempt in range(self._tries):
            if attempt:
                pause_s = min(_LONGEST_PAUSE_S, self._first_pause_s * 2 ** (attempt - 1))
                # Spread: the relays of many hosts come back to the control plane at different times.
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            try:
                async with self._in_flight:
                    answer = await self._control_plane.post(_PATHS[event], hook)
            except ControlPlaneError as error:
                problem = error.message
                continue
            if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return None
            problem = f"the control plane answered {answer.status}"
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.status not in _RETRIED:
                break
        return problem

    def _remember(self, event: Event, hook: SourceHook) -> None:
        self._said[hook.path] = (event, hook.source_id)
        self._said.move_to_end(hook.path)
        if len(self._said) > _MOST_REMEMBERED:
            self._said.popitem(last=False)

    def _lost(self, event: Event, hook: SourceHook, problem: str) -> None:
        self._said.pop(hook.path, None)  # should the server say it again, it is news again
        self._counters["hooks_lost"] += 1
        log.error("the %s hook of %s (source %s) was lost: %s", event, hook.path, hook.source_id, problem)
