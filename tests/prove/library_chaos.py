"""Many jobs at once, on workers that are killed at random until every job has ended."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from livedub.library.executor import Executor
from livedub.library.types import Job, JobState
from tests.integration.library_jobs.rig import ENDED, ROOT, Library

WORKERS = 3
KINDS = 8
"""Different jobs; each is asked for many times, and must give the same bytes every time."""
_BETWEEN_KILLS_S = (0.3, 1.5)


@dataclass
class Workers:
    """Processes that can be killed and started anew."""

    argv: list[str]
    environment: Mapping[str, str]
    library: Library
    running: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    kills: int = 0

    def start(self) -> None:
        with (self.library.folder / "workers.log").open("ab") as log:
            self.running.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "--", *self.argv],
                    env={**os.environ, **self.environment},
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def kill(self, number: int) -> None:
        """The worker and all its children, without a word."""
        worker = self.running.pop(number)
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(30)
        self.kills += 1

    def stop(self) -> None:
        for worker in self.running:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(30)


@contextmanager
def workers_of(library: Library, command: str, environment: Mapping[str, str]) -> Iterator[Workers]:
    workers = Workers([sys.executable, "-m", "media_edge.library", command], environment, library)
    try:
        for _ in range(WORKERS):
            workers.start()
        yield workers
    finally:
        workers.stop()


def submit_all(library: Library, executor: Executor, count: int) -> list[Job]:
    """`count` jobs of KINDS kinds, all of them in the queue before the first is done."""
    source = library.put_wav(20)
    jobs = [
        library.create(
            "trim",
            source,
            {"start_ms": 100 * kind, "end_ms": 15_000 + 301 * kind, "exact": bool(kind % 2)},
            f"{number:03}.wav",
        )
        for number in range(count)
        for kind in [number % KINDS]
    ]
    for job in jobs:
        executor.submit(job)
    return jobs


def kill_until_all_have_ended(
    library: Library, workers: Workers, jobs: list[Job], *, kills: int, bound_s: float, seed: int
) -> float:
    """Kill a worker every now and then, at most `kills` times, and start another; returns how long it took."""
    dice = random.Random(seed)
    began = time.monotonic()
    while not _all_ended(library, jobs):
        assert time.monotonic() - began < bound_s, library.catalogue.jobs.counts()
        pause_until = time.monotonic() + dice.uniform(*_BETWEEN_KILLS_S)
        while time.monotonic() < pause_until and not _all_ended(library, jobs):
            time.sleep(0.1)
        # Only one that is at work: killing what still starts proves nothing, and nothing would ever be done.
        if workers.kills < kills and _at_work(library):
            workers.kill(dice.randrange(WORKERS))
            workers.start()
    return time.monotonic() - began


def verdict(library: Library, jobs: list[Job]) -> dict[str, Any]:
    """What became of the jobs; raises where one was lost, doubled or differs."""
    attempts: Counter[int] = Counter()
    content: dict[int, set[str]] = {}
    for number, job in enumerate(jobs):
        seen = library.catalogue.jobs.get(job.id)
        assert seen.state is JobState.COMPLETED, seen
        states = [state for state, _, _ in library.story(job)]
        assert states.count(JobState.COMPLETED) == 1, library.story(job)
        assert states[-1] is JobState.COMPLETED
        (output,) = seen.outputs
        digest = hashlib.sha256(library.output(output.key)).hexdigest()
        assert digest == output.sha256
        content.setdefault(number % KINDS, set()).add(digest)
        attempts[seen.attempt] += 1
    assert sorted(library.written()) == sorted(job.output_key for job in jobs)
    assert all(len(each) == 1 for each in content.values()), "the same job gave different bytes"
    assert len(set.union(*content.values())) == KINDS
    return {"jobs": len(jobs), "attempts": dict(sorted(attempts.items())), "outputs": len(jobs)}


def _at_work(library: Library) -> bool:
    return library.catalogue.jobs.counts().get(JobState.PROCESSING, 0) > 0


def _all_ended(library: Library, jobs: list[Job]) -> bool:
    counts: Mapping[JobState, int] = library.catalogue.jobs.counts()
    return sum(counts.get(state, 0) for state in ENDED) >= len(jobs)
