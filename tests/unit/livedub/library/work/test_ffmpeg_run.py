"""The program's life: heard, stopped, and never left behind. A script stands in for it where ffmpeg would be too quick."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from livedub.errors import MissingPrerequisiteError
from livedub.library.library_errors import DiskFullError, LibraryError, LibraryErrorCode
from livedub.library.work.ffmpeg_run import run_ffmpeg
from livedub.library.work.step_progress import StepProgress
from livedub.library.work.work_ports import JobCancelledError
from tests.unit.livedub.library.work.work_rig import Watched


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    def write(script: str) -> str:
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return write


def run(program: str, folder: Path, progress: Watched | None = None) -> None:
    run_ffmpeg(
        program, ["out.mp4"], folder=folder, length_us=4_000_000, progress=StepProgress(progress or Watched())
    )


def alive(pid: int) -> bool:
    """Whether it runs; one that ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "still there"
        time.sleep(0.01)


def pids_in(file: Path, count: int) -> list[int]:
    return (
        [int(line) for line in file.read_text().split()]
        if file.exists() and file.read_text().count("\n") >= count
        else []
    )


def test_progress_is_read_off_its_words(tmp_path: Path, program: Callable[[str], str]):
    heard, clock_s = Watched(), iter(range(1_000_000))
    progress = StepProgress(heard, clock=lambda: float(next(clock_s)))
    script = (
        "echo out_time_us=N/A; echo out_time_us=1000000; echo frame=7; printf 'out_time_us=-5\\nprogress=end'"
    )
    run_ffmpeg(program(script), [], folder=tmp_path, length_us=4_000_000, progress=progress)
    assert heard.fractions[-1] == 0.25


def test_its_last_words_are_the_reason(tmp_path: Path, program: Callable[[str], str]):
    script = 'for i in $(seq 5000); do echo "line $i: a long complaint about a frame" >&2; done; echo "no such codec" >&2; exit 3'
    with pytest.raises(LibraryError, match="no such codec") as caught:
        run(program(script), tmp_path)
    assert caught.value.code is LibraryErrorCode.WORK_FAILED
    assert not caught.value.retryable
    assert len(caught.value.message) < 1_000


def test_a_program_that_says_nothing_at_its_end_has_a_code(tmp_path: Path, program: Callable[[str], str]):
    with pytest.raises(LibraryError, match="ended with code 9"):
        run(program("exit 9"), tmp_path)


def test_a_full_disk_is_told_from_other_failures(tmp_path: Path, program: Callable[[str], str]):
    with pytest.raises(DiskFullError):
        run(program('echo "av_interleaved_write_frame(): No space left on device" >&2; exit 1'), tmp_path)


def test_a_missing_program_is_named(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="LIBRARY_FFMPEG"):
        run(str(tmp_path / "nowhere"), tmp_path)


def test_a_file_that_is_no_program_is_named(tmp_path: Path):
    file = tmp_path / "ffmpeg"
    file.write_bytes(b"\x00\x01\x02")
    file.chmod(0o755)
    with pytest.raises((MissingPrerequisiteError, LibraryError)):
        run(str(file), tmp_path)


def test_cancelling_kills_it_with_all_it_started(tmp_path: Path, program: Callable[[str], str]):
    pids = tmp_path / "pids"
    script = f"trap '' TERM INT HUP; sleep 600 & echo $! >> {pids}; echo $$ >> {pids}; wait; sleep 600"
    with pytest.raises(JobCancelledError):
        run(program(script), tmp_path, Watched(lambda: len(pids_in(pids, 2)) == 2))
    wait_until_gone(*pids_in(pids, 2))


def test_an_executor_that_lost_the_job_ends_it_too(tmp_path: Path, program: Callable[[str], str]):
    pids = tmp_path / "pids"

    def fenced() -> bool:
        if pids_in(pids, 1):
            raise LibraryError(LibraryErrorCode.FENCED, "somebody else has it")
        return False

    with pytest.raises(LibraryError, match="somebody else"):
        run(program(f"echo $$ >> {pids}; exec sleep 600"), tmp_path, Watched(fenced))
    wait_until_gone(*pids_in(pids, 1))


def test_it_dies_with_a_worker_that_is_killed(tmp_path: Path, program: Callable[[str], str]):
    pids = tmp_path / "pids"
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.livedub.library.work.test_ffmpeg_run import run\n"
        "run(sys.argv[1], Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, program(f"echo $$ >> {pids}; exec sleep 600"), str(tmp_path)]
    worker = subprocess.Popen(
        command, cwd=Path(__file__).resolve().parents[5], env={**os.environ, "PYTHONPATH": "."}
    )
    try:
        deadline = time.monotonic() + 60
        while not pids_in(pids, 1):
            assert worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(30)
    wait_until_gone(*pids_in(pids, 1))
