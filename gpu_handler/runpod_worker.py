"""The RunPod entry: models first, then RunPod's worker loop around the dispatcher. The one file that imports `runpod`.

Of SDK 1.12.0 three things are done differently here (`_Scaler`): it looks for jobs it has fetched every 100 ms, waits
a whole second when all slots are taken, and on SIGTERM goes on asking for jobs for up to 90 s and drops the one it
then gets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import runpod
from runpod import http_client
from runpod.serverless.modules import rp_scale

from gpu_handler.dispatcher import Dispatcher
from gpu_handler.exit_codes import ExitCode
from gpu_handler.fitness import check_fitness
from gpu_handler.job_handler import Handler, JobHandler, refuse_all
from gpu_handler.pipeline import Pipeline
from gpu_handler.server import DrainLimits
from gpu_handler.service_metrics import ServiceMetrics
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError, MissingPrerequisiteError
from livedub.parent_death import die_with_parent

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Hooks:
    """What happens when the loop asks for its first job, and when it is told to stop.

    `stop` is given the jobs in hand, and returns when they and the engines have ended.
    """

    started: Callable[[], None]
    stop: Callable[[set[asyncio.Task[None]]], Awaitable[None]]


_JOBS_URL = "RUNPOD_WEBHOOK_GET_JOB"
_LOG_LEVELS = ("RUNPOD_LOG_LEVEL", "RUNPOD_DEBUG_LEVEL")
_STOPPED_JOB_S = 1.0


def check_platform() -> None:
    """See that there is a queue to work on.

    Without one the SDK would run a test_input.json through the handler, which for a generator never starts it, and
    call that a success.

    Raises:
        ConfigurationError: this is no RunPod worker.
    """
    if "/job-take/" not in os.environ.get(_JOBS_URL, ""):
        raise ConfigurationError(
            f"{_JOBS_URL} names no RunPod queue: RunPod sets it inside its workers.",
            remedy="Use `python -m gpu_handler serve`, or `livedub up --sts runpod` for a queue on this machine.",
        )


def run_worker(read_settings: Callable[[], StsSettings]) -> ExitCode:
    """Load everything, then work until RunPod says SIGTERM.

    A worker that a restart would not mend (wrong settings, a missing model, no GPU) stays and tells every job why:
    dying it would only be started again, and the jobs would wait for nothing. What else goes wrong while starting
    leaves as an exception, for a supervisor to restart.

    Raises:
        ConfigurationError: this is no RunPod worker.
    """
    check_platform()
    try:
        settings = read_settings()
        check_fitness(settings)
        dispatcher = Dispatcher(
            Pipeline.from_settings(settings),
            max_concurrency=settings.max_concurrency,
            queue_size=settings.queue_size,
            metrics=ServiceMetrics(),
        )
        asyncio.run(dispatcher.load())
    except (ConfigurationError, MissingPrerequisiteError) as error:
        logger.error("this worker cannot work, and tells every job so: %s", error)
        refuse = refuse_all(str(error))
        return _Worker(concurrency=1).serve(lambda _replace: refuse, f"STS cannot work: {error}")
    models = ", ".join(sorted(set(dispatcher.health.models.values())))
    worker = _Worker(dispatcher, concurrency=settings.runpod_concurrency or settings.max_concurrency)
    return worker.serve(
        lambda replace: JobHandler(dispatcher, replace_worker=replace).handle,
        f"STS ready for RunPod's jobs: {models}",
    )


class _Worker:
    """RunPod's loop around one handler."""

    def __init__(
        self,
        dispatcher: Dispatcher | None = None,
        *,
        concurrency: int,
        drain: DrainLimits | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._concurrency = concurrency
        self._drain = drain or DrainLimits()
        self._config: dict[str, Any] = {}

    def serve(self, make_handler: Callable[[Callable[[str], None]], Handler], said: str) -> ExitCode:
        """Work until SIGTERM, or until the process must be replaced; `said` goes to stdout when it begins."""
        # The SDK runs its heartbeat in a process that would outlive a killed worker and speak for it.
        os.register_at_fork(after_in_child=partial(die_with_parent, signal.SIGKILL))
        # What it prints at DEBUG, its default, holds all that was said on the stream.
        if not any(os.environ.get(name) for name in _LOG_LEVELS):
            runpod.RunPodLogger().set_level("WARN")
        self._config = {
            "handler": make_handler(self._replace),
            "return_aggregate_stream": True,
            "concurrency_modifier": lambda _current: self._concurrency,
        }
        sys.argv = sys.argv[:1]  # the SDK has options of its own, and reads them from there
        with _own_scaler(_Hooks(partial(_say, said), self._stop)), _platform_key_only():
            runpod.serverless.start(self._config)
        return self._exit_code

    @property
    def _exit_code(self) -> ExitCode:
        return ExitCode.CRASHED if self._config.get("refresh_worker") else ExitCode.DONE

    def _replace(self, reason: str) -> None:
        """Have RunPod replace this worker after the job: of a generator the SDK asks the configuration, not the answer."""
        logger.error("only a new process can work again, this worker asks to be replaced: %s", reason)
        self._config["refresh_worker"] = True

    async def _stop(self, jobs: set[asyncio.Task[None]]) -> None:
        """Let running jobs end, within bounds; then stop the engines."""
        if jobs:
            logger.info("stopping after %d jobs", len(jobs))
            await asyncio.wait(jobs, timeout=self._drain.fragments_s)
        if self._dispatcher is None:
            return
        # A thread inside an engine cannot be interrupted, and Python waits for threads: this bounds the wait.
        watchdog = threading.Timer(self._drain.engines_s, self._give_up)
        watchdog.daemon = True
        watchdog.start()
        await self._dispatcher.close()
        if jobs:
            await asyncio.wait(jobs, timeout=_STOPPED_JOB_S)

    def _give_up(self) -> None:
        logger.warning("an engine did not stop within %g s; leaving it behind", self._drain.engines_s)
        logging.shutdown()
        os._exit(self._exit_code)


class _Scaler(rp_scale.JobScaler):
    """RunPod's scaler, woken by what happens instead of looking for it; see the module."""

    def __init__(self, hooks: _Hooks, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.current_concurrency = self.concurrency_modifier(self.current_concurrency)
        self.jobs_queue = asyncio.Queue(maxsize=self.current_concurrency)
        self._hooks = hooks
        self._running: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()

    def current_occupancy(self) -> int:
        """How many jobs are in hand; theirs counts one that is queued and not started yet twice."""
        return self.job_progress.get_job_count()

    async def set_scale(self) -> None:
        """Return when there is a free slot; it is awaited before every request for jobs."""
        while self.current_occupancy() >= self.current_concurrency:
            self._freed.clear()
            await self._freed.wait()

    async def run_jobs(self, session: Any) -> None:
        """Start each job as soon as it is fetched."""
        while True:
            self._start_job(session, await self.jobs_queue.get())

    async def run(self) -> None:
        """Work until told to stop; then ask for no more jobs, and let those in hand end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.kill_worker)
        self._hooks.started()
        async with rp_scale.AsyncClientSession() as session:
            told = asyncio.create_task(self._shutdown_event.wait())
            stopping = asyncio.create_task(self.monitor_stop_signals(session))
            loops = [
                asyncio.create_task(self.get_jobs(session)),
                asyncio.create_task(self.run_jobs(session)),
            ]
            await asyncio.wait({told, *loops}, return_when=asyncio.FIRST_COMPLETED)
            await _cancel(*loops)
            while not self.jobs_queue.empty():
                self._start_job(session, self.jobs_queue.get_nowait())
            await self._hooks.stop(self._running)
            await _cancel(stopping, told)
        for ended in loops:
            if not ended.cancelled():
                ended.result()

    def _start_job(self, session: Any, job: dict[str, Any]) -> None:
        task = asyncio.create_task(self.handle_job(session, job))
        self._running.add(task)
        self.jobs_tasks[job["id"]] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a job ended without an answer", exc_info=error)


@contextlib.contextmanager
def _own_scaler(hooks: _Hooks) -> Iterator[None]:
    """Have the SDK build our scaler: it names its own in a module, and has no setting for another."""
    theirs = rp_scale.JobScaler
    rp_scale.JobScaler = partial(_Scaler, hooks)
    try:
        yield
    finally:
        rp_scale.JobScaler = theirs


@contextlib.contextmanager
def _platform_key_only() -> Iterator[None]:
    """Present the key that the platform gave: the SDK prefers one of the RunPod command line's user."""
    theirs = http_client.get_credentials
    http_client.get_credentials = lambda: None
    try:
        yield
    finally:
        http_client.get_credentials = theirs


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
