"""A library whose jobs are worked on by real processes."""

from __future__ import annotations

import math
import os
import re
import signal
import struct
import subprocess
import sys
import time
import uuid
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from livedub.library.catalogue import Catalogue
from livedub.library.probing import read_assets
from livedub.library.scan import scan_bucket
from livedub.library.storage import LibraryStorage
from livedub.library.types import JOB_REQUEST, Job, JobEvent, JobState
from local.object_store import ObjectStore

ROOT = Path(__file__).parents[3]
BOUND_S = 60.0
ENDED = {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}
IMPATIENT = {"LIBRARY_JOB_LEASE_S": "4", "LIBRARY_JOB_BEAT_S": "0.5", "LIBRARY_PENDING_PATIENCE_S": "5"}
_T = TypeVar("_T")


def eventually(found: Callable[[], _T | None], what: str, bound_s: float = BOUND_S) -> _T:
    give_up_at = time.monotonic() + bound_s
    while time.monotonic() < give_up_at:
        answer = found()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {bound_s:g} s")


def write_wav(path: Path, seconds: float, *, rate_hz: int = 16_000, tone_hz: float = 440.0) -> None:
    """A tone whose samples all differ from their neighbours, so that a wrong cut is a wrong file."""
    # Two seconds of tone, one of silence: what is cut at pauses finds some.
    samples = [
        round(9_000 * math.sin(2 * math.pi * tone_hz * n / rate_hz)) if n % (3 * rate_hz) < 2 * rate_hz else 0
        for n in range(int(seconds * rate_hz))
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


@dataclass
class Library:
    """Storage and catalogue of one test, and the processes that work on its jobs."""

    store: ObjectStore
    storage: LibraryStorage
    catalogue: Catalogue
    database_url: str
    folder: Path
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    settings: dict[str, str] = field(default_factory=dict[str, str])
    """Of every process that works for it."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.store.environment,
            "DATABASE_URL": self.database_url,
            "LIBRARY_WORK_DIR": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")]),
            **IMPATIENT,
            **self.settings,
        }

    def put_wav(self, seconds: float = 2.0) -> str:
        """Store a clip and enter it into the catalogue; its key."""
        path = self.folder / f"clip-{seconds:g}.wav"
        write_wav(path, seconds)
        key = f"{self.prefix}/{path.name}"
        self.storage.upload_file(path, self.store.bucket_in, key)
        scan_bucket(self.storage, self.catalogue.assets, self.prefix, bucket_name=self.store.bucket_in)
        read_assets(self.storage, self.catalogue.assets, self.prefix, bucket_name=self.store.bucket_in)
        return key

    def create(self, kind: str, key: str, parameters: Mapping[str, object], name: str) -> Job:
        """A job that writes `name`."""
        request = {
            "kind": kind,
            "source_key": key,
            "output_key": f"{self.prefix}/{name}",
            "parameters": parameters,
        }
        return self.catalogue.jobs.create(JOB_REQUEST.validate_python(request))

    def trim(self, key: str, start_ms: int, end_ms: int, name: str) -> Job:
        return self.create("trim", key, {"start_ms": start_ms, "end_ms": end_ms}, name)

    def ended(self, job: Job, bound_s: float = BOUND_S) -> Job:
        def seen() -> Job | None:
            now = self.catalogue.jobs.get(job.id)
            return now if now.state in ENDED else None

        return eventually(seen, f"the end of job {job.id}", bound_s)

    def story(self, job: Job) -> list[tuple[JobState, int, int]]:
        """What happened to it, without times."""
        events: Sequence[JobEvent] = self.catalogue.jobs.events(job.id)
        return [(event.state, event.attempt, event.submission) for event in events]

    def output(self, key: str) -> bytes:
        target = self.folder / f"got-{uuid.uuid4().hex}"
        self.storage.download_file(self.store.bucket_out, key, target)
        return target.read_bytes()

    def written(self) -> list[str]:
        """Everything this test's jobs have stored."""
        return [info.key for info in self.storage.list_objects(self.store.bucket_out, self.prefix)]


@contextmanager
def process(
    name: str, argv: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a group of its own, ended with the block by SIGTERM and, where that does not help, by SIGKILL."""
    log_path = folder / f"{name}.log"
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv],
            env={**os.environ, **environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait(20)
            sys.stdout.write(log_path.read_text(errors="replace")[-6_000:])


def celery_worker(library: Library, broker_url: str, *, name: str = "celery", slots: int = 1):
    return process(
        name,
        [sys.executable, "-m", "media_edge.library", "celery"],
        {**library.environment, "LIBRARY_BROKER_URL": broker_url, "LIBRARY_JOB_SLOTS": str(slots)},
        library.folder,
    )


@contextmanager
def mock_service(folder: Path, **settings: str) -> Iterator[str]:
    """An STS service whose engines are mocks: the same sound gives the same dub."""
    log = folder / "sts.log"
    environment = {
        "STS_PROFILE": "mock",
        **settings,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")]),
    }
    with process("sts", [sys.executable, "-m", "gpu_handler", "serve", "--port", "0"], environment, folder):
        found = eventually(
            lambda: re.search(r"STS ready on (http://[^ ]+?):? ", f"{log.read_text()} "), "the STS service"
        )
        yield found[1]
