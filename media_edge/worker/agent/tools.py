"""What every stream run of one agent shares."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.stream_store_port import StreamStore
from media_edge.worker.agent.live_library import LiveLibrary
from media_edge.worker.agent.metrics import AgentMetrics
from media_edge.worker.agent.ports import Calls, MediaKicker, TaskTokens
from media_edge.worker.agent.worker_pool import Workers


def unix_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def around(seconds: float) -> float:
    """`seconds`, 10 % more or less: many streams that began together shall not beat together for ever."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing


def nothing_shared() -> Mapping[str, str]:
    """Where the host's environment has everything."""
    return {}


def to_nobody(_event: Mapping[str, Any]) -> None:
    """Where nobody listens."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Ports and bounds.

    Attributes:
        agent_id: the agent's name in leases.
        policy: bounds; the heartbeat comes with each work item.
        call_timeout_s: bound of one call; beats of short leases get less.
        start_timeout_s: how long a worker may load.
        drain_timeout_s: how long a worker may play out.
        library: keeps what streams leave behind; None where nobody wants it.
        shared: settings from outside the host as they stand, by variable.
        tell: hears what becomes of each stream and every line of its worker, for whoever started the agent.
        now_ms: the wall clock.
        jitter: varies a period.
    """

    agent_id: str
    store: StreamStore
    tokens: TaskTokens
    kicker: MediaKicker
    workers: Workers
    calls: Calls
    metrics: AgentMetrics
    policy: SupervisionPolicy
    call_timeout_s: float = 3.0
    start_timeout_s: float = 45.0
    drain_timeout_s: float = 90.0
    events_dir: Path | None = None
    library: LiveLibrary | None = None
    shared: Callable[[], Mapping[str, str]] = nothing_shared
    tell: Callable[[Mapping[str, Any]], None] = to_nobody
    now_ms: Callable[[], int] = unix_ms
    jitter: Callable[[float], float] = around
