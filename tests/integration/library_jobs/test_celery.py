"""Jobs by Celery: a real Redis, a real worker process, a real catalogue and storage."""

import subprocess
import tempfile
import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from livedub.library.celery_executor import CeleryExecutor
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import JobState
from tests.integration.library_jobs.rig import Library, celery_worker, eventually

pytestmark = pytest.mark.slow


def executor(broker_url: str) -> CeleryExecutor:
    return CeleryExecutor.connect(LibrarySettings.model_validate({"broker_url": broker_url}))


def test_jobs_end_and_a_message_too_many_changes_nothing(
    own_library: Library, broker_url: str, tmp_path: Path
):
    library = own_library
    key = library.put_wav()
    jobs = library.catalogue.jobs
    good = library.trim(key, 500, 1_500, "good.wav")
    bad = library.trim("no/such.wav", 0, 1_000, "bad.wav")
    unwanted = jobs.cancel(library.trim(key, 0, 1_000, "unwanted.wav").id)
    lost = library.trim(key, 0, 250, "lost.wav")
    queue = executor(broker_url)
    for job in (good, good, unwanted, bad):
        queue.submit(job)
    with celery_worker(library, broker_url):
        assert library.ended(good).state is JobState.COMPLETED
        failed = library.ended(bad)
        # Nobody has told of it: the sweep finds it.
        assert library.ended(lost).state is JobState.COMPLETED
        jobs.retry(unwanted.id)
        queue.submit(jobs.get(unwanted.id))
        assert library.ended(unwanted).state is JobState.COMPLETED
    queue.close()
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error.code is LibraryErrorCode.NO_SUCH_KEY
    done = [(JobState.PENDING, 0, 1), (JobState.PROCESSING, 1, 1), (JobState.COMPLETED, 1, 1)]
    assert library.story(good) == done
    assert library.story(lost) == done
    path = tmp_path / "trimmed.wav"
    path.write_bytes(library.output(f"{library.prefix}/good.wav"))
    with wave.open(str(path)) as trimmed:
        assert 16_000 <= trimmed.getnframes() < 18_000, "whole packets around one second"
    assert sorted(library.written()) == [
        f"{library.prefix}/{name}.wav" for name in ("good", "lost", "unwanted")
    ]


def test_a_queue_that_is_down_says_so(own_library: Library, tmp_path: Path):
    job = own_library.trim("some/clip.wav", 0, 1_000, "x.wav")
    queue = executor(f"redis+socket://{tmp_path}/nobody.sock")
    with pytest.raises(LibraryError) as caught:
        queue.submit(job)
    assert caught.value.code is LibraryErrorCode.QUEUE_DOWN
    assert caught.value.retryable


@contextmanager
def redis_at(path: Path) -> Iterator[None]:
    """A Redis at a place of ours, so that another one can take over its address; it ends like a crash."""
    folder = path.parent / "redis-data"
    folder.mkdir(exist_ok=True)
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", "redis-server", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(path.exists, "Redis")
        yield
    finally:
        server.kill()
        server.wait(30)
        path.unlink(missing_ok=True)


def test_a_worker_outlives_its_redis_and_what_that_had_forgotten(own_library: Library):
    library = own_library
    key = library.put_wav()
    with tempfile.TemporaryDirectory(prefix="redis-") as place:
        path = Path(place) / "redis.sock"
        url = f"redis+socket://{path}"
        queue = executor(url)
        with ExitStack() as worker:
            with redis_at(path):
                worker.enter_context(celery_worker(library, url))
                first = library.trim(key, 0, 1_000, "first.wav")
                queue.submit(first)
                assert library.ended(first).state is JobState.COMPLETED
            # The queue is gone, with everything in it, and nobody takes the next job.
            forgotten = library.trim(key, 0, 1_000, "forgotten.wav")
            with pytest.raises(LibraryError):
                queue.submit(forgotten)
            worker.enter_context(redis_at(path))
            assert library.ended(forgotten).state is JobState.COMPLETED
        queue.close()
