"""Gives jobs again that nobody works on: their message was lost, or their worker died and told nobody."""

from __future__ import annotations

import logging

from livedub.library.executor import Executor
from livedub.library.jobs import JobStore

logger = logging.getLogger(__name__)

SWEEP_LIMIT = 500


def sweep(jobs: JobStore, executor: Executor, *, pending_s: float) -> int:
    """Submit every job again that waits longer than `pending_s` or whose lease has run out; returns how many.

    As long as there are as many hints in the queue as such jobs, they are taken for theirs: else a queue that is busy for
    hours would fill up with repetitions.

    Raises:
        LibraryError: the catalogue or the queue cannot be reached.
    """
    overdue = jobs.overdue(pending_s=pending_s, limit=SWEEP_LIMIT)
    if not overdue:
        return 0
    waiting = executor.waiting()
    if waiting is not None and waiting >= len(overdue):
        return 0
    for job in overdue:
        executor.submit(job)
    logger.info("gave %d jobs again", len(overdue))
    return len(overdue)
