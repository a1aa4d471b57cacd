"""The executor of hosts with Redis: Celery carries the job's id, workers take it from there."""

from __future__ import annotations

from typing import Any, cast

from celery import Celery  # pyright: ignore[reportMissingTypeStubs]
from kombu.exceptions import ChannelError, OperationalError  # pyright: ignore[reportMissingTypeStubs]

from livedub.library.job_names import CELERY_QUEUE, RUN_JOB_TASK, submission_name
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import Job

_FAILURES = (OperationalError, OSError)
_CONNECT_S = 3.0
_READ_S = 10.0
_RETRIES = {"max_retries": 2, "interval_start": 0.2, "interval_step": 0.3, "interval_max": 1.0}


def celery_app(settings: LibrarySettings) -> Any:
    """A Celery application on the broker of `settings`, the same for whoever sends and whoever works."""
    app = cast(
        "Any", Celery("livedub-library", broker=settings.broker_url.get_secret_value(), set_as_current=False)
    )
    app.conf.update(
        task_default_queue=CELERY_QUEUE,
        task_ignore_result=True,
        # The job's row says what became of it, so a task is done with when it is done, not when it is begun.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        enable_utc=True,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=_CONNECT_S,
        # A worker outlives its Redis, however long that is away.
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": _CONNECT_S,
            "socket_timeout": _READ_S,
            "max_retries": 2,
        },
    )
    return app


class CeleryExecutor:
    """Implements Executor."""

    def __init__(self, app: Any) -> None:
        self._app = app

    @classmethod
    def connect(cls, settings: LibrarySettings) -> CeleryExecutor:
        """See executor_from; nothing is sent yet."""
        return cls(celery_app(settings))

    def submit(self, job: Job) -> None:
        """See Executor. A repeated message finds the job taken, and is dropped by whoever gets it."""
        try:
            self._app.send_task(
                RUN_JOB_TASK,
                args=[str(job.id)],
                task_id=submission_name(job),
                retry=True,
                retry_policy=_RETRIES,
            )
        except _FAILURES as error:
            raise _down(f"Redis does not take job {job.id}", error) from error

    def cancel(self, job: Job) -> None:
        """See Executor. A worker sees the row within LIBRARY_JOB_BEAT_S, and drops a message of a job that has ended.

        A revocation in Celery would outlive the cancellation, and hide the job when it is retried.
        """

    def waiting(self) -> int:
        """See Executor."""
        return queue_length(self._app, CELERY_QUEUE)

    def close(self) -> None:
        """See Executor."""
        self._app.close()


def queue_length(app: Any, name: str) -> int:
    """How many messages of a queue nobody has taken yet.

    Raises:
        LibraryError: QUEUE_DOWN.
    """
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_CONNECT_S)
            declared = connection.default_channel.queue_declare(queue=name, passive=True)
            return int(declared.message_count)
    except ChannelError:
        # Redis keeps no empty list.
        return 0
    except _FAILURES as error:
        raise _down("Redis does not say how long the queue is", error) from error


def _down(what: str, error: Exception) -> LibraryError:
    return LibraryError(
        LibraryErrorCode.QUEUE_DOWN, f"{what}: {error}.", "Check LIBRARY_BROKER_URL and that the server runs."
    )
