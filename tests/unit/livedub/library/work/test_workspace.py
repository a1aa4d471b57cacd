"""A job's folder: gone however the job ends, even after a kill, and a full disk has a name."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from livedub.library.library_errors import DiskFullError, LibraryErrorCode
from livedub.library.transfers import disk_errors, require_space
from livedub.library.work.workspace import workspace


def test_the_folder_goes_with_the_block_even_when_it_fails(tmp_path: Path):
    place = tmp_path / "made" / "on demand"

    def fail() -> None:
        with workspace(place) as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / "file").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(place.iterdir()) == []


def test_two_jobs_on_one_host_leave_each_other_alone(tmp_path: Path):
    with workspace(tmp_path) as first:
        (first / "file").write_text("x")
        with workspace(tmp_path) as second:
            assert second != first
        assert (first / "file").exists()


HOLD = """
import sys
from pathlib import Path
from livedub.library.work.workspace import workspace
with workspace(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("x")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_worker_left_goes_with_the_next_job(tmp_path: Path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
            (left,) = tmp_path.iterdir()
            with workspace(tmp_path):
                assert left.exists(), "its worker lives"
        finally:
            worker.kill()
    assert left.exists()
    with workspace(tmp_path):
        assert not left.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_a_code(tmp_path: Path, number: int):
    with pytest.raises(DiskFullError) as caught, disk_errors(tmp_path):
        raise OSError(number, "full")
    assert caught.value.code is LibraryErrorCode.DISK_FULL
    assert str(tmp_path) in caught.value.message
    assert caught.value.retryable


def test_other_troubles_of_a_disk_stay_what_they_are(tmp_path: Path):
    with pytest.raises(PermissionError), disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_too_little_room_is_said_before_the_work(tmp_path: Path):
    require_space(tmp_path, 1)
    with pytest.raises(DiskFullError, match="bytes are needed"):
        require_space(tmp_path, 1 << 60)
