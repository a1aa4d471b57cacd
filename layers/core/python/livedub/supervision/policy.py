"""How patient supervision is, and whom it admits. Read from `LIVEDUB_*` variables by entry points."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SupervisionPolicy(BaseSettings):
    """Bounds of leases, restarts and waiting; admission of streams and readers."""

    model_config = SettingsConfigDict(
        env_prefix="LIVEDUB_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    heartbeat_s: int = Field(
        default=30,
        ge=2,
        le=600,
        description="A worker that shows no progress for so long is replaced; also how long a renewed lease lasts.",
    )
    clock_skew_s: int = Field(
        default=5,
        ge=0,
        le=60,
        description="How far the clocks of any two hosts may differ; another execution waits so much longer.",
    )
    capacity_timeout_s: int = Field(
        default=900,
        ge=10,
        le=86_400,
        description="How long work may wait for a host before it is queued anew.",
    )
    supervise_timeout_s: int = Field(
        default=2_592_000,
        ge=10,
        le=2_592_000,
        description="How long one execution supervises a worker before a successor takes over; nobody notices.",
    )
    restart_budget: int = Field(
        default=5, ge=0, le=100, description="Restarts allowed within LIVEDUB_RESTART_WINDOW_S."
    )
    restart_window_s: int = Field(
        default=600, ge=1, le=86_400, description="Time over which restarts are counted."
    )
    backoff_first_s: int = Field(
        default=1,
        ge=1,
        le=300,
        description="Pause before the second restart of a window; doubles with each more. The first comes at once.",
    )
    backoff_max_s: int = Field(default=30, ge=1, le=3_600, description="Longest pause before a restart.")
    cool_down_s: int = Field(
        default=300,
        ge=1,
        le=86_400,
        description="How long a stream rests whose restart budget is spent, before it is tried again.",
    )
    grace_s: int = Field(
        default=10,
        ge=0,
        le=3_600,
        description="How long a stream without a publisher may still be started or restarted.",
    )
    max_attempts_per_execution: int = Field(
        default=500,
        ge=1,
        le=700,
        description="Workers one execution starts before it rolls over; keeps its history far from 25,000 events.",
    )
    report_stale_s: int = Field(
        default=60,
        ge=5,
        le=3_600,
        description="A relay's path list older than this says nothing about who is absent.",
    )
    unknown_streams: Literal["refuse", "accept"] = Field(
        default="refuse",
        description="What happens to a publisher of a stream nobody created: `refuse`, or `accept` creates it.",
    )
    read_policy: Literal["open", "inside"] = Field(
        default="open", description="Who may play: `open` is anybody, `inside` private addresses only."
    )
    default_stream_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings (JSON object) of streams that are created without their own.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> SupervisionPolicy:
        if self.backoff_max_s < self.backoff_first_s:
            raise ValueError(
                f"LIVEDUB_BACKOFF_MAX_S ({self.backoff_max_s}) must not be below LIVEDUB_BACKOFF_FIRST_S "
                f"({self.backoff_first_s})"
            )
        if self.supervise_timeout_s <= self.heartbeat_s:
            raise ValueError(
                f"LIVEDUB_SUPERVISE_TIMEOUT_S ({self.supervise_timeout_s}) must exceed LIVEDUB_HEARTBEAT_S "
                f"({self.heartbeat_s})"
            )
        return self

    @property
    def lease_ttl_ms(self) -> int:
        """How long a bound or renewed lease lasts."""
        return self.heartbeat_s * 1_000

    @property
    def clock_skew_ms(self) -> int:
        """How far two clocks may differ."""
        return self.clock_skew_s * 1_000
