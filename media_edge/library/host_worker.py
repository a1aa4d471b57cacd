"""A host that takes what the state machine `media_job` is too small for, from a queue, and answers its task tokens.

A message stays in the queue, hidden, until its work is done, and is hidden anew with every sign of life: when the host
dies, another one gets it with the same token. The job's row fences off whoever had it before.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from pydantic import ValidationError

from livedub.errors import LivedubError
from livedub.library.job_kit import JobKit
from livedub.library.job_steps import StepFailedError
from livedub.library.library_settings import LibrarySettings
from livedub.library.work_item import WorkItem
from media_edge.library.host_steps import run_step
from media_edge.library.work_client import Message, TokenRefusedError, WorkClient

logger = logging.getLogger(__name__)

_POLL_S = 5
_AFTER_AN_ERROR_S = 2.0
_ANSWER_TRIES = 5


class HostWorker:
    """Takes messages while there are free slots."""

    def __init__(self, kit: JobKit, client: WorkClient) -> None:
        self._kit = kit
        self._client = client
        self._slots = threading.Semaphore(kit.settings.job_slots)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take nothing more; what is at hand is finished."""
        self._stopping.set()

    def run(self) -> None:
        """Work until `stop`."""
        with ThreadPoolExecutor(self._kit.settings.job_slots, thread_name_prefix="job") as threads:
            while not self._stopping.is_set():
                if not self._slots.acquire(timeout=_POLL_S):
                    continue
                message = self._next()
                if message is None:
                    self._slots.release()
                else:
                    threads.submit(self._work, message)

    def _next(self) -> Message | None:
        if self._stopping.is_set():
            return None
        try:
            return self._client.receive(_POLL_S)
        except LivedubError as error:
            logger.warning("no work now: %s", error)
            self._stopping.wait(_AFTER_AN_ERROR_S)
            return None

    def _work(self, message: Message) -> None:
        try:
            self._handle(message)
        except TokenRefusedError:
            logger.info("nobody waits for this work any more")
            self._dealt_with(message)
        except LivedubError as error:
            # The message comes again when its time is over.
            logger.warning("work is left to another delivery: %s", error)
        except Exception:
            logger.exception("unexpected")
        finally:
            self._slots.release()

    def _handle(self, message: Message) -> None:
        try:
            item = WorkItem.model_validate_json(message.body)
        except ValidationError as error:
            # Hidden until its time is over; the queue moves it to the dead letters after some deliveries.
            logger.error("a message is no work: %s", error)
            return
        token = item.task_token.get_secret_value()
        self._client.alive(token)
        logger.info("job %s: %s", item.job_id, item.step.value)
        beat = Beat(self._client, message, token)
        name = hashlib.sha256(token.encode()).hexdigest()
        try:
            end = run_step(item, self._kit, name, beat)
        except StepFailedError as failure:
            logger.info("job %s: %s: %s", item.job_id, failure.error, failure.message)
            self._answer(functools.partial(self._client.fail, token, failure.error, failure.message))
        else:
            logger.info("job %s: %s: %s", item.job_id, item.step.value, end.state.value)
            self._answer(functools.partial(self._client.succeed, token, end))
        self._dealt_with(message)

    def _answer(self, say: Callable[[], None]) -> None:
        for left in reversed(range(_ANSWER_TRIES)):
            try:
                say()
            except LivedubError as error:  # noqa: PERF203 - a try is what the loop is for
                if not left or isinstance(error, TokenRefusedError):
                    raise
                time.sleep(_AFTER_AN_ERROR_S)
            else:
                return

    def _dealt_with(self, message: Message) -> None:
        try:
            self._client.delete(message)
        except LivedubError as error:
            logger.warning(
                "a message could not be deleted, and will be refused when it comes again: %s", error
            )


class Beat:
    """Keeps a message hidden while its work goes on; False once nobody waits for it any more."""

    def __init__(
        self,
        client: WorkClient,
        message: Message,
        token: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._message = message
        self._token = token
        self._monotonic = monotonic
        self._pause_s = client.hidden_s / 3
        self._next_s = monotonic() + self._pause_s

    def __call__(self) -> bool:
        """Called every LIBRARY_JOB_BEAT_S."""
        if self._monotonic() < self._next_s:
            return True
        try:
            self._client.alive(self._token)
        except TokenRefusedError:
            return False
        self._client.keep(self._message)
        self._next_s = self._monotonic() + self._pause_s
        return True


def serve_host(settings: LibrarySettings) -> None:
    """Work until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: a variable is missing.
    """
    kit = JobKit(settings)
    worker = HostWorker(kit, WorkClient.connect(settings, longest_poll_s=_POLL_S))

    def end(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        worker.run()
    finally:
        kit.close()
