"""What jobs are called outside the catalogue: task ids, execution names, queues."""

from __future__ import annotations

from uuid import UUID

from livedub.library.types import Job

CELERY_QUEUE = "livedub-jobs"
SWEEP_QUEUE = "livedub-sweeps"
RUN_JOB_TASK = "livedub.library.run_job"
SWEEP_TASK = "livedub.library.sweep"


def submission_name(job: Job) -> str:
    """Unique for each time a job is put into the queue, the same however often that is repeated.

    At most 80 of the characters that Step Functions allows.
    """
    return f"{job.id}-{job.submission}"


def parts_prefix(job_id: UUID) -> str:
    """What the keys of a dub's parts begin with; `work.dub_fan_out` writes them."""
    return f".parts/{job_id}/"
