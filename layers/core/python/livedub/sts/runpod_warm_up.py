"""Having RunPod start a worker before the first fragment comes: what is asked, and when it need not be. Pure.

A queue endpoint starts workers for jobs and has no other way to ask for one; so the question is a job, as small as can be.
Whatever the worker answers, it has loaded its models.
"""

from __future__ import annotations

import base64
from enum import Enum

from pydantic import BaseModel, ConfigDict, ValidationError

from livedub.sts.contract import Audio, AudioFormat, StsConfig, StsRequest, Target
from livedub.sts.errors import StsBadAnswer
from livedub.sts.runpod_job import job_document

_SILENCE_MS = 100
_RATE_HZ = 16_000
_SAMPLE_BYTES = 2
_WAIT_MS = 120_000
"""For how long RunPod keeps the job for a worker that is still starting."""


class Readiness(str, Enum):
    """What a look at an endpoint says."""

    READY = "ready"
    """A worker waits for jobs or does some."""
    STARTING = "starting"
    """One starts, or a job waits that makes RunPod start one."""
    ASLEEP = "asleep"
    """No worker, and nothing that would bring one."""


class _Workers(BaseModel):
    model_config = ConfigDict(extra="ignore")

    idle: int = 0
    initializing: int = 0
    ready: int = 0
    running: int = 0


class _Jobs(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    inQueue: int = 0  # noqa: N815 - RunPod's name
    inProgress: int = 0  # noqa: N815 - RunPod's name


class _Health(BaseModel):
    model_config = ConfigDict(extra="ignore")

    workers: _Workers
    jobs: _Jobs = _Jobs()


def silent_request(deadline_ms: int) -> StsRequest:
    """A fragment of a tenth of a second of silence."""
    samples = _RATE_HZ * _SILENCE_MS // 1_000
    return StsRequest(
        fragment_id="warm-up/0/0",
        stream_id="warm-up",
        generation=0,
        sequence_number=0,
        deadline_ms=deadline_ms,
        audio=Audio(
            format=AudioFormat.PCM_S16LE,
            sample_rate_hz=_RATE_HZ,
            channels=1,
            duration_ms=_SILENCE_MS,
            data_base64=base64.b64encode(bytes(_SAMPLE_BYTES * samples)).decode(),
        ),
        config=StsConfig(source_language="auto", targets=(Target(language="en"),)),
    )


def warm_up_job() -> str:
    """The job that brings a worker."""
    return job_document(silent_request(_WAIT_MS), _WAIT_MS)


def read_readiness(body: bytes) -> Readiness:
    """What an answer of `/health` says.

    Raises:
        StsBadAnswer: it is none.
    """
    try:
        health = _Health.model_validate_json(body)
    except ValidationError as error:
        raise StsBadAnswer("RunPod's /health does not tell about workers") from error
    workers, jobs = health.workers, health.jobs
    if workers.idle + workers.ready + workers.running > 0:
        return Readiness.READY
    return Readiness.STARTING if workers.initializing + jobs.inQueue + jobs.inProgress else Readiness.ASLEEP
