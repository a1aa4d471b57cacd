"""An STS service for the length of one command: the one at a given URL, or a process started for it."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from livedub.errors import MissingPrerequisiteError

_READY_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 10.0


@contextmanager
def sts_service(url: str) -> Generator[str]:
    """Yield the URL of a ready STS service; one that was started here ends with the block.

    Raises:
        MissingPrerequisiteError: the service did not get ready; the message holds the end of its log.
    """
    if url:
        yield url
        return
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "gpu_handler", "serve", "--port", str(port), "--die-with-parent"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_until_ready(
                f"http://127.0.0.1:{port}/health", process, Path(f"/proc/self/fd/{log.fileno()}")
            )
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_until_ready(health_url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(health_url, timeout=2) as answer:  # noqa: S310 - loopback, own port
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    tail = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise MissingPrerequisiteError(
        f"the STS service did not get ready (exit code {process.poll()}): {' | '.join(tail)}",
        remedy="Run `make setup`, or point --url at a running service.",
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_TIMEOUT_S)
