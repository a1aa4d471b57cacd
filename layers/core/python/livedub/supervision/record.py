"""What is known of one stream: the row that decides who owns it.

Rules elsewhere in this package are pure: they take a record and a time and return another record. A store writes it
back only if nobody else did in between (`row_version`), so a rule never sees half of somebody else's change.
Times are Unix milliseconds (`_ms`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

JOURNAL_LENGTH = 50


class Desired(str, Enum):
    """What an operator wants of a stream."""

    RUNNING = "running"
    """Dub whenever a publisher is on."""
    DRAINED = "drained"
    """End this run, playing out what is buffered; the next publisher starts another."""
    STOPPED = "stopped"
    """End, and stay off whatever publishers do, until started again."""


class Phase(str, Enum):
    """Where the lease stands."""

    FREE = "free"
    WAITING_CAPACITY = "waiting_capacity"
    """The work lies in the queue: no agent has a free slot yet."""
    CLAIMED = "claimed"
    """An agent took the work and waits for its task token."""
    RUNNING = "running"
    """An agent renews the lease and runs the worker."""


class Outcome(str, Enum):
    """How a run ended; data, never an exception."""

    ENDED = "ended"
    SOURCE_LOST = "source_lost"
    DRAINED = "drained"
    CRASHED = "crashed"
    FENCED = "fenced"
    DEGRADED = "degraded"
    """The restart budget is spent; the stream rests until it is started, or its cool-down is over."""
    NO_CAPACITY = "no_capacity"
    """No host took the work in time."""


@dataclass(frozen=True, slots=True)
class Media:
    """The media server a stream lives on, as worker hosts reach it. URLs without a path."""

    relay_id: str
    play_base_url: str
    publish_base_url: str
    kick_url: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """The publisher of `in`. `absent_since_ms` is None while one is on."""

    source_id: str
    since_ms: int
    """By the relay's clock, as are the path lists that are compared with it."""
    absent_since_ms: int | None = None
    """By the relay's clock."""
    gone_source_ids: tuple[str, ...] = ()
    """The latest sources known to have left: their late or repeated `publish` hooks start nothing."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who owns the stream. `generation` only grows; everything else is cleared on release.

    Attributes:
        generation: the fencing token of one worker incarnation.
        phase: see Phase.
        execution: name of the owning Step Functions execution; empty when free.
        agent_id: the agent that runs, or is about to run, the worker.
        expires_at_ms: from here on, plus clock skew, another execution may take the stream.
        task_token: the callback token of the supervising task; written by the state machine itself.
        publish_token_hash: sha256 (hex) of the token that may publish `out` in this generation.
        acquired_at_ms: when this generation was acquired.
        claimed_at_ms: when an agent took it; None before.
        ended_at_ms: when this generation's worker was found to be over: nothing may act for it any more. The execution
            keeps the lease to start the next generation, or to release. None while it may still act.
    """

    generation: int = 0
    phase: Phase = Phase.FREE
    execution: str = ""
    agent_id: str = ""
    expires_at_ms: int = 0
    task_token: str = field(default="", repr=False)
    publish_token_hash: str = ""
    acquired_at_ms: int = 0
    claimed_at_ms: int | None = None
    ended_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One thing that happened to a stream, for operators."""

    at_ms: int
    event: str
    generation: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One stream. The row is created by registration or the first publish and never deleted.

    Attributes:
        row_version: grows with every write; a store refuses a write based on an older one.
        settings: what the worker is told, validated by `stream_settings`.
        settings_revision: grows with every change of `settings`.
        stream_key_hash: sha256 (hex) of the key that may publish `in`; empty lets anybody.
        timeline: the TimelineOrigin as its JSON object; None before the first run.
        restarts_ms: when the latest restarts happened, oldest first; what the budget counts.
        degraded_until_ms: no automatic start before; None when healthy.
        drained_source_id: the publisher that was on when the stream was drained; any other one starts it again.
    """

    stream_id: str
    row_version: int = 0
    desired: Desired = Desired.RUNNING
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings_revision: int = 0
    stream_key_hash: str = ""
    media: Media | None = None
    source: Source | None = None
    lease: Lease = field(default_factory=Lease)
    timeline: Mapping[str, int] | None = None
    restarts_ms: tuple[int, ...] = ()
    degraded_until_ms: int | None = None
    drained_source_id: str = ""
    last_outcome: Outcome | None = None
    last_detail: str = ""
    journal: tuple[JournalEntry, ...] = ()

    @property
    def source_present(self) -> bool:
        """Whether a publisher is on, as far as hooks and path lists told."""
        return self.source is not None and self.source.absent_since_ms is None
