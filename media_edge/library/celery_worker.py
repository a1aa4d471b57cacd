"""Celery's worker: takes job ids from Redis, works on what the catalogue gives it.

A message is a hint. Whoever gets one claims the job in the catalogue, and drops the message where there is nothing to
do: another one works on it, or it has ended. What was dropped too early, because its worker was about to die, the sweep
finds and gives again; it is a task like any other, sent by every worker's timer.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
from typing import Any, cast

from celery import bootsteps, signals  # pyright: ignore[reportMissingTypeStubs]
from celery.worker import state  # pyright: ignore[reportMissingTypeStubs]
from kombu.entity import Queue  # pyright: ignore[reportMissingTypeStubs]

from livedub.errors import LivedubError
from livedub.library.celery_executor import CeleryExecutor, celery_app, queue_length
from livedub.library.job_attempt import AttemptEnd
from livedub.library.job_kit import JobKit
from livedub.library.job_names import CELERY_QUEUE, RUN_JOB_TASK, SWEEP_QUEUE, SWEEP_TASK
from livedub.library.job_sweep import sweep
from livedub.library.library_settings import LibrarySettings
from livedub.parent_death import die_with_parent

logger = logging.getLogger(__name__)

_LONGEST_BACKOFF_S = 60.0
_DEAF_AFTER = 2
"""Looks in a row at which a message waits for an idle worker."""


def worker_app(settings: LibrarySettings) -> Any:
    """The Celery application with its tasks. Each process of the pool connects by itself."""
    app = celery_app(settings)
    app.conf.update(
        worker_concurrency=settings.job_slots,
        # A process that has handled a lot of media is replaced, with whatever its libraries leaked.
        worker_max_tasks_per_child=200,
        task_queues=[Queue(CELERY_QUEUE), Queue(SWEEP_QUEUE)],
        task_routes={SWEEP_TASK: {"queue": SWEEP_QUEUE}},
    )
    kits: dict[int, JobKit] = {}

    def kit() -> JobKit:
        # By process: connections do not survive a fork.
        return kits.setdefault(os.getpid(), JobKit(settings))

    @app.task(name=RUN_JOB_TASK, bind=True, max_retries=None)
    def run_job(task: Any, job_id: str) -> str:
        return _run(task, uuid.UUID(job_id), kit())

    @app.task(name=SWEEP_TASK)
    def sweep_jobs() -> int:
        return sweep(kit().jobs, CeleryExecutor(app), pending_s=settings.pending_patience_s)

    _ = run_job, sweep_jobs
    app.steps["worker"].add(_sweeping_every(settings.job_lease_s / 2))
    return app


def serve(settings: LibrarySettings, *, log_level: str = "INFO") -> int:
    """Work until SIGTERM: no new job is taken then, those at hand are finished. SIGQUIT breaks off.

    Returns:
        the exit code.
    """
    app = worker_app(settings)
    signals.worker_process_init.connect(_die_with_parent, weak=False)
    worker = app.Worker(
        loglevel=log_level,
        quiet=True,
        pool_cls="prefork",
        hostname=f"library-{uuid.uuid4().hex[:8]}@{socket.gethostname()}",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _die_with_parent(**_sent: Any) -> None:
    die_with_parent()


def _run(task: Any, job_id: uuid.UUID, kit: JobKit) -> str:
    # A new token for every delivery: that a message comes again does not prove that its first taker is dead.
    try:
        result = kit.attempt(job_id, uuid.uuid4().hex)
    except LivedubError as error:
        logger.warning("job %s: not begun: %s", job_id, error)
        raise task.retry(countdown=_backoff_s(task.request.retries), exc=None) from error
    logger.info("job %s: %s at attempt %d", job_id, result.end.value, result.job.attempt)
    if result.end is AttemptEnd.RELEASED:
        raise task.retry(countdown=_backoff_s(task.request.retries))
    return result.end.value


def _backoff_s(retries: int) -> float:
    return min(_LONGEST_BACKOFF_S, 2.0**retries)


def _sweeping_every(period_s: float) -> type[Any]:
    class Sweeping(bootsteps.StartStopStep):
        """Sends the sweep's task again and again, and sees by it whether this worker still hears of messages.

        A worker whose Redis is gone at the moment when it acknowledges a task only logs that, and waits for ever on a
        connection that is closed (Celery 5.7, kombu 5.7).
        """

        requires = frozenset({"celery.worker.components:Timer"})

        def __init__(self, _parent: Any, **_options: Any) -> None:
            self._timer: Any = None
            self._unheard = 0

        def start(self, parent: Any) -> None:
            self._timer = parent.timer.call_repeatedly(period_s, self._tick, (parent.app,))

        def stop(self, parent: Any) -> None:
            _ = parent
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _tick(self, app: Any) -> None:
            try:
                # One that waits is enough, for all workers.
                waiting = queue_length(app, SWEEP_QUEUE)
                if not waiting:
                    app.send_task(SWEEP_TASK, retry=False)
            except Exception as error:  # noqa: BLE001 - the timer must go on, whatever Redis says
                logger.warning("no sweep now: %s", error)
                return
            idle = not state.reserved_requests
            self._unheard = self._unheard + 1 if waiting and idle else 0
            if self._unheard >= _DEAF_AFTER:
                self._unheard = 0
                # What Celery takes for a lost connection: it makes a new one.
                raise ConnectionResetError("messages wait, and this worker hears of none")

    return cast("type[Any]", Sweeping)
