import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from livedub.errors import LivedubError
from livedub.file_lock import exclusive

BOUND_S = 60.0
REFUSAL = LivedubError("somebody holds it.", remedy="Wait.")


def holder(path: Path) -> subprocess.Popen[bytes]:
    """Another process that holds the lock until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from livedub.errors import LivedubError\n"
        "from livedub.file_lock import exclusive\n"
        "with exclusive(Path(sys.argv[1]), patience_s=0, refusal=LivedubError('held')):\n"
        "    print('held', flush=True); time.sleep(300)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    return process


def test_it_is_held_by_one_process_and_let_go_however_that_one_ends(tmp_path: Path):
    path = tmp_path / "lock"
    with holder(path) as other:
        try:
            with (
                pytest.raises(LivedubError, match="somebody holds it"),
                exclusive(path, patience_s=0, refusal=REFUSAL),
            ):
                raise AssertionError
        finally:
            other.send_signal(signal.SIGKILL)
    with exclusive(path, patience_s=BOUND_S, refusal=REFUSAL):
        assert path.stat().st_mode & 0o777 == 0o600


def test_whoever_comes_second_waits_for_the_first(tmp_path: Path):
    path, order = tmp_path / "lock", list[str]()
    waiting = threading.Event()

    def second():
        waiting.set()
        with exclusive(path, patience_s=BOUND_S, refusal=REFUSAL):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusive(path, patience_s=0, refusal=REFUSAL):
        thread.start()
        assert waiting.wait(BOUND_S)
        order.append("first")
    thread.join(BOUND_S)
    assert order == ["first", "second"]


def test_it_is_let_go_after_an_error_and_a_bad_folder_is_an_error(tmp_path: Path):
    for _ in range(2):
        with pytest.raises(KeyError), exclusive(tmp_path / "lock", patience_s=0, refusal=REFUSAL):
            raise KeyError
    with (
        pytest.raises(FileNotFoundError),
        exclusive(tmp_path / "none" / "lock", patience_s=0, refusal=REFUSAL),
    ):
        pass
