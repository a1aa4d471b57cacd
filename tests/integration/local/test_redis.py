"""A Redis of our own: there when it is said to be, gone with whoever started it, and with its memory where it has a folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from livedub.errors import MissingPrerequisiteError
from local.redis_server import redis_server

ROOT = Path(__file__).parents[3]
BOUND_S = 30.0


def client(url: str) -> "redis.Redis":
    return redis.Redis(unix_socket_path=url.removeprefix("redis+socket://"))


def test_it_answers_and_has_no_port():
    with redis_server() as url:
        connection = client(url)
        assert connection.ping()
        assert connection.config_get("port") == {"port": "0"}
        connection.close()
        path = Path(url.removeprefix("redis+socket://"))
    assert not path.parent.exists()


@pytest.mark.parametrize("kept", [True, False])
def test_it_remembers_where_it_has_a_folder(tmp_path: Path, kept: bool):
    folder = tmp_path / "redis" if kept else None
    with redis_server(folder) as url:
        connection = client(url)
        connection.rpush("jobs", "one")
        connection.close()
    with redis_server(folder) as url:
        connection = client(url)
        assert connection.llen("jobs") == int(kept)
        connection.close()


def test_it_ends_with_a_process_that_is_killed():
    code = (
        "import sys, time\n"
        "from local.redis_server import redis_server\n"
        "with redis_server() as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
    owner = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        connection = client(url)
        pid = int(connection.info("server")["process_id"])
        connection.close()
        owner.send_signal(signal.SIGKILL)
        owner.wait(BOUND_S)
        give_up_at = time.monotonic() + BOUND_S
        while Path(f"/proc/{pid}/exe").exists():
            assert time.monotonic() < give_up_at, "it lives on"
            time.sleep(0.05)
    finally:
        owner.kill()
        owner.wait(BOUND_S)
        if owner.stdout is not None:
            owner.stdout.close()


def test_a_machine_without_it_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingPrerequisiteError, match="make setup"), redis_server():
        pass
