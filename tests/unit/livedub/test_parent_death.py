import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BOUND_S = 60.0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_child_dies_with_its_parent(name: str):
    child = (
        "import signal, time; from livedub.parent_death import die_with_parent\n"
        f"die_with_parent(signal.{name}); print('bound', flush=True); time.sleep(300)\n"
    )
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait(BOUND_S)
    end = time.monotonic() + BOUND_S
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(pid)


def test_a_child_whose_parent_is_gone_already_ends_at_once():
    code = (
        "import signal, time; from livedub.parent_death import die_with_parent\n"
        f"die_with_parent(signal.SIGTERM, parent_pid={os.getpid() + 1})\ntime.sleep(300)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=BOUND_S, check=False)
    assert done.returncode == -signal.SIGTERM
