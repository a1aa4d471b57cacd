"""An endpoint's jobs and workers: every rule of the queue, on an injected clock, without any waiting."""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from local.runpod.bell import Bell
from local.runpod.jobs import (
    Job,
    JobStatus,
    Json,
    NotRetryableError,
    Policy,
    QueueFullError,
    UnknownJobError,
)
from local.runpod.limits import Limits

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Worker:
    """A worker as its requests show it. `stops` are jobs it shall drop; `bell` rings when there are new ones."""

    worker_id: str
    seen_s: float
    asking: int = 0
    """Requests for jobs that are open now."""
    jobs: dict[str, None] = field(default_factory=dict[str, None])
    """Ids in the order in which it took them."""
    stops: list[str] = field(default_factory=list[str])
    unhealthy: str = ""
    stopped: bool = False
    """It has asked to be replaced (`stopPod`) and gets no more jobs."""
    bell: Bell = field(default_factory=Bell)


@dataclass(slots=True)
class Counts:
    """What has become of jobs since the endpoint exists."""

    completed: int = 0
    failed: int = 0
    retried: int = 0


class Board:
    """The state of one endpoint; every method returns at once.

    Jobs are given in the order in which they came; one whose worker vanished goes first. Results that come late
    (of a job that was cancelled, timed out or given to another worker) are ignored.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.limits = limits
        self.counts = Counts()
        self._clock = clock
        self._new_id = new_id
        self._jobs: dict[str, Job] = {}
        self._queue: deque[str] = deque()
        self._finished: dict[str, None] = {}
        """Ids in the order of their end."""
        self._workers: dict[str, Worker] = {}
        self._held_bytes = 0

    @property
    def queued(self) -> int:
        """Jobs that wait for a worker."""
        return len(self._queue)

    @property
    def held_bytes(self) -> int:
        """What all jobs occupy."""
        return self._held_bytes

    def job(self, job_id: str) -> Job:
        """The job called `job_id`.

        Raises:
            UnknownJobError: there is none.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise UnknownJobError(f"there is no job {job_id!r} here, or it is forgotten by now.")
        return job

    def submit(self, work: Any, *, size_bytes: int, policy: Policy, synchronous: bool) -> Job:
        """Queue a job.

        Raises:
            QueueFullError: too many jobs wait, or too many bytes are held.
        """
        if len(self._queue) >= self.limits.queued_jobs:
            raise QueueFullError(f"{len(self._queue)} jobs wait already.", remedy="Try again later.")
        self._make_room(size_bytes)
        if self._held_bytes + size_bytes > self.limits.held_bytes:
            raise QueueFullError(f"jobs hold {self._held_bytes} bytes already.", remedy="Try again later.")
        limits = self.limits
        job = Job(
            # RunPod names jobs of /runsync so; a handler may tell from it that nobody reads the stream.
            job_id=f"sync-{self._new_id()}" if synchronous else self._new_id(),
            input=work,
            input_bytes=size_bytes,
            policy=policy,
            kept_s=limits.kept_after_runsync_s if synchronous else limits.kept_after_run_s,
            submitted_s=self._clock(),
        )
        self._jobs[job.job_id] = job
        self._held_bytes += size_bytes
        self._queue.append(job.job_id)
        return job

    def seen(self, worker_id: str) -> Worker:
        """Note that a worker was heard, and return it."""
        worker = self._workers.get(worker_id)
        if worker is None:
            self._forget_silent_worker()
            log.info("worker %s is here", worker_id)
            worker = self._workers[worker_id] = Worker(worker_id, self._clock())
        worker.seen_s = self._clock()
        return worker

    def take(self, worker_id: str, most: int) -> list[Job]:
        """Give up to `most` waiting jobs to a worker."""
        worker = self.seen(worker_id)
        taken: list[Job] = []
        while self._queue and len(taken) < most and not worker.stopped:
            job = self._jobs[self._queue.popleft()]
            job.status = JobStatus.IN_PROGRESS
            job.taken_s = self._clock()
            job.worker_id = worker_id
            worker.jobs[job.job_id] = None
            taken.append(job)
            job.bell.ring()
        return taken

    def give_back(self, worker_id: str, jobs: Iterable[Job]) -> None:
        """Queue jobs again that did not reach the worker they were given to; this is no retry."""
        for job in reversed(list(jobs)):
            if self._holds(worker_id, job):
                self._requeue(job)

    def push(self, worker_id: str, job_id: str, chunk: Json, *, size_bytes: int) -> None:
        """Keep a streamed element for whoever reads the stream."""
        self.seen(worker_id)
        job = self._jobs.get(job_id)
        if job is None or not self._holds(worker_id, job):
            return
        self._make_room(size_bytes)
        if job.chunk_bytes + size_bytes > self.limits.result_bytes:
            log.warning("job %s streams more than is kept; what nobody read is dropped", job_id)
            self._held_bytes -= job.chunk_bytes
            job.read_chunks()
        job.chunks.append(chunk)
        job.chunk_bytes += size_bytes
        self._held_bytes += size_bytes
        job.bell.ring()

    def read_stream(self, job_id: str) -> tuple[JobStatus, list[Json]]:
        """A job's state and what it streamed since the last call.

        Raises:
            UnknownJobError: there is no such job.
        """
        job = self.job(job_id)
        self._held_bytes -= job.chunk_bytes
        return job.status, job.read_chunks()

    def finish(self, worker_id: str, job_id: str, result: Json, *, size_bytes: int) -> None:
        """Keep a worker's result: `output`, or `error`, and maybe `stopPod`."""
        worker = self.seen(worker_id)
        if result.get("stopPod"):
            log.warning("worker %s asks to be replaced", worker_id)
            worker.stopped = True
        job = self._jobs.get(job_id)
        if job is None or not self._holds(worker_id, job):
            log.info("a late result of job %s from worker %s is ignored", job_id, worker_id)
            return
        if result.get("error"):
            self._end(job, JobStatus.FAILED, error=str(result["error"]))
            return
        self._make_room(size_bytes)
        job.output = result.get("output")
        job.output_bytes = size_bytes
        self._held_bytes += size_bytes
        self._end(job, JobStatus.COMPLETED)

    def cancel(self, job_id: str) -> Job:
        """End a job that waits or runs; one that has ended stays as it is.

        Raises:
            UnknownJobError: there is no such job.
        """
        job = self.job(job_id)
        if not job.status.final:
            self._stop(job, JobStatus.CANCELLED)
        return job

    def retry(self, job_id: str) -> Job:
        """Queue a failed or timed-out job again, under its id.

        Raises:
            UnknownJobError: there is no such job.
            NotRetryableError: it has another status.
        """
        job = self.job(job_id)
        if job.status not in {JobStatus.FAILED, JobStatus.TIMED_OUT}:
            raise NotRetryableError(f"job {job_id} is {job.status.value}, not FAILED or TIMED_OUT.")
        self._finished.pop(job_id, None)
        self._held_bytes -= job.chunk_bytes
        job.read_chunks()
        job.status, job.error = JobStatus.IN_QUEUE, ""
        job.taken_s = job.finished_s = None
        job.submitted_s = self._clock()
        self.counts.retried += 1
        self._queue.append(job_id)
        job.bell.ring()
        return job

    def purge(self) -> int:
        """Cancel every job that waits; return how many."""
        waiting = list(self._queue)
        for job_id in waiting:
            self._stop(self._jobs[job_id], JobStatus.CANCELLED)
        return len(waiting)

    def stops(self, worker_id: str) -> list[str]:
        """Jobs that the worker shall drop and does not know of yet."""
        worker = self.seen(worker_id)
        stops, worker.stops = worker.stops, []
        return stops

    def report_unhealthy(self, worker_id: str, reason: str) -> None:
        """Keep what a worker's own check found."""
        worker = self.seen(worker_id)
        if not worker.unhealthy:
            log.error("worker %s is unhealthy: %s", worker_id, reason)
        worker.unhealthy = reason

    def expire(self) -> None:
        """Do what is due: time limits of jobs, the end of old results, workers that fell silent."""
        now_s = self._clock()
        for worker in list(self._workers.values()):
            if not worker.asking and now_s >= worker.seen_s + self.limits.worker_silence_s:
                self._lose(worker)
        for job in [job for job in self._jobs.values() if now_s >= job.due_s]:
            if job.finished_s is not None:
                self._forget(job)
            elif now_s >= job.submitted_s + job.policy.ttl_s:
                self._stop(job, JobStatus.TIMED_OUT, error="job ttl passed")
            else:
                self._stop(job, JobStatus.TIMED_OUT, error="job execution timed out")

    def next_due_s(self) -> float | None:
        """When `expire` has something to do next, on the endpoint's clock; None while there is nothing."""
        dues = [job.due_s for job in self._jobs.values()]
        dues += [
            worker.seen_s + self.limits.worker_silence_s
            for worker in self._workers.values()
            if not worker.asking
        ]
        return min(dues, default=None)

    def health(self) -> Json:
        """What /health answers."""
        ready = [w for w in self._workers.values() if not w.stopped and not w.unhealthy]
        running = sum(bool(worker.jobs) for worker in ready)
        idle = sum(not worker.jobs for worker in ready)
        return {
            "jobs": {
                "completed": self.counts.completed,
                "failed": self.counts.failed,
                "inProgress": sum(job.status is JobStatus.IN_PROGRESS for job in self._jobs.values()),
                "inQueue": self.queued,
                "retried": self.counts.retried,
            },
            "workers": {
                "idle": idle,
                "initializing": 0,
                "ready": idle + running,
                "running": running,
                "throttled": 0,
                "unhealthy": sum(bool(worker.unhealthy) for worker in self._workers.values()),
            },
        }

    def worker_states(self) -> dict[str, str]:
        """What each worker does, in the account API's words."""
        return {
            worker.worker_id: "UNHEALTHY" if worker.unhealthy else "RUNNING" if worker.jobs else "IDLE"
            for worker in self._workers.values()
            if not worker.stopped
        }

    def _holds(self, worker_id: str, job: Job) -> bool:
        return job.status is JobStatus.IN_PROGRESS and job.worker_id == worker_id

    def _stop(self, job: Job, status: JobStatus, *, error: str = "") -> None:
        """End a job from outside; its worker hears of it."""
        if job.status is JobStatus.IN_QUEUE:
            self._queue.remove(job.job_id)
        elif (worker := self._workers.get(job.worker_id)) is not None:
            worker.stops.append(job.job_id)
            worker.bell.ring()
        self._end(job, status, error=error)

    def _end(self, job: Job, status: JobStatus, *, error: str = "") -> None:
        job.status, job.error = status, error
        job.finished_s = self._clock()
        if (worker := self._workers.get(job.worker_id)) is not None:
            worker.jobs.pop(job.job_id, None)
        if status not in {JobStatus.FAILED, JobStatus.TIMED_OUT}:
            # Only those can be retried; nobody needs the input of the others any more.
            self._held_bytes -= job.input_bytes
            job.input, job.input_bytes = None, 0
        if status is JobStatus.COMPLETED:
            self.counts.completed += 1
        elif status in {JobStatus.FAILED, JobStatus.TIMED_OUT}:
            self.counts.failed += 1
        self._finished[job.job_id] = None
        job.bell.ring()

    def _requeue(self, job: Job) -> None:
        if (worker := self._workers.get(job.worker_id)) is not None:
            worker.jobs.pop(job.job_id, None)
        self._held_bytes -= job.chunk_bytes
        job.read_chunks()
        job.status, job.taken_s, job.worker_id = JobStatus.IN_QUEUE, None, ""
        self._queue.appendleft(job.job_id)
        job.bell.ring()

    def _lose(self, worker: Worker) -> None:
        log.warning("worker %s is gone, with %d jobs", worker.worker_id, len(worker.jobs))
        for job in [self._jobs[job_id] for job_id in reversed(worker.jobs)]:
            if job.retries >= self.limits.retries:
                self._end(job, JobStatus.FAILED, error="worker vanished; the job was retried too often")
                continue
            job.retries += 1
            self.counts.retried += 1
            self._requeue(job)
        self._workers.pop(worker.worker_id, None)
        worker.bell.ring()

    def _forget_silent_worker(self) -> None:
        """Keep the list of workers bounded: the one not heard for longest goes."""
        if len(self._workers) >= self.limits.workers:
            self._lose(min(self._workers.values(), key=lambda worker: worker.seen_s))

    def _forget(self, job: Job) -> None:
        self._finished.pop(job.job_id, None)
        self._jobs.pop(job.job_id, None)
        self._held_bytes -= job.held_bytes
        job.bell.ring()

    def _make_room(self, size_bytes: int) -> None:
        """Forget old results, the oldest first, until so much more fits or none is left."""
        while self._finished and self._held_bytes + size_bytes > self.limits.held_bytes:
            self._forget(self._jobs[next(iter(self._finished))])
