"""A Redis server of our own on a Unix socket, Debian's `redis-server`; no port, no password.

    with redis_server(folder) as broker_url: ...

It ends with the block, and when the thread that started it ends, however it ends.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from livedub.errors import MissingPrerequisiteError
from local.processes import ProcessError

_START_S = 30.0
_STOP_S = 15.0
_POLL_S = 0.02
_ANSWER_S = 1.0
_TAIL_CHARACTERS = 2_000


@contextmanager
def redis_server(folder: Path | None = None) -> Iterator[str]:
    """Run a server and give its URL as Celery wants it.

    Args:
        folder: keeps what lies in the queues over a restart (append-only file); None forgets it.

    Raises:
        MissingPrerequisiteError: redis-server or setpriv is not installed.
        ProcessError: it did not start; carries its last words.
    """
    server, setpriv = shutil.which("redis-server"), shutil.which("setpriv")
    if server is None or setpriv is None:
        raise MissingPrerequisiteError(
            "A Redis server of our own needs Debian's redis-server and setpriv (package util-linux).",
            remedy="Run make setup, or set LIBRARY_BROKER_URL to a server.",
        )
    with tempfile.TemporaryDirectory(prefix="livedub-redis-") as run:
        # A socket's path has little room, so it does not lie in `folder`.
        run_dir = Path(run)
        path = run_dir / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--save", ""]
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            options += ["--appendonly", "yes", "--appendfsync", "everysec"]
        argv = [setpriv, "--pdeathsig", "TERM", "--", server, *options, "--dir", str(folder or run_dir)]
        log_path = run_dir / "server.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
            try:
                _wait_until_ready(process, path, log_path)
                yield f"redis+socket://{path}"
            finally:
                _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path, log_path: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while not _answers(path):
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline_s:
            said = log_path.read_text(errors="replace")[-_TAIL_CHARACTERS:]
            what = "ended at its start" if ended else f"did not start within {_START_S:.0f} s"
            raise ProcessError(f"Redis {what}: {said}")
        time.sleep(_POLL_S)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)
