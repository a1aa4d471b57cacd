"""What the state machine gives to a host, and what the host answers: JSON through SQS and a task token."""

from __future__ import annotations

from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from livedub.library.types import JobState, Wire


class WorkStep(str, Enum):
    """What is to be done."""

    JOB = "job"
    """All of it."""
    SPLIT = "split"
    """Claim it and say into which ranges its dub is divided."""
    RANGE = "range"
    """Dub one range."""
    JOIN = "join"
    """Make the outputs of the ranges' parts."""


class WorkItem(BaseModel):
    """One message of the queue. A field that a later release adds is no error."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    task_token: SecretStr
    step: WorkStep
    job_id: UUID
    attempt: int = Field(default=0, ge=0, description="Of RANGE and JOIN: the attempt that holds the job.")
    dub_range: dict[str, Any] | None = Field(default=None, description="Of RANGE: one of the plan's ranges.")
    range_count: int = Field(default=0, ge=0, description="Of RANGE: how many ranges there are.")
    plan: dict[str, Any] | None = Field(default=None, description="Of JOIN: what SPLIT answered.")


class StepEnd(Wire):
    """How a step ended: where the job stands now, and after SPLIT the plan of its dub."""

    state: JobState
    attempt: int = Field(ge=0)
    plan: dict[str, Any] | None = None


RETRY = "Job.Retry"
"""Error of a step that may be tried again; the state machine waits and does so."""
ENDED = "Job.Ended"
"""Error of a step whose job has ended, or is somebody else's by now."""
