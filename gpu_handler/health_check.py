"""`python -m gpu_handler.health_check`: what an image's HEALTHCHECK runs, whatever the container was started for.

Where the container serves HTTP, `/health` must answer 200, which it does once every model is loaded. The queue worker
opens no port: RunPod watches it by the worker's own pings, so there the check asks no more than that it runs.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from gpu_handler.settings import StsSettings

_TIMEOUT_S = 3.0
_MODULE = ["-m", "gpu_handler"]


def serves_http(commands: Iterable[list[str]]) -> bool:
    """Whether one of these command lines is the HTTP service."""
    return any(_arguments(command)[:1] == ["serve"] for command in commands)


def _arguments(command: list[str]) -> list[str]:
    """What follows `-m gpu_handler`, less the options before the command's name."""
    for index in range(len(command) - 1):
        if command[index : index + 2] == _MODULE:
            rest = command[index + 2 :]
            while rest and rest[0].startswith("--"):
                rest = rest[1:] if "=" in rest[0] else rest[2:]
            return rest
    return []


def is_healthy(port: int, commands: Iterable[list[str]]) -> bool:
    """Ask the HTTP service on loopback, where there is one."""
    if not serves_http(commands):
        return True
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=_TIMEOUT_S) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _running(proc: Path = Path("/proc")) -> Iterator[list[str]]:
    for path in proc.glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            yield path.read_bytes().decode(errors="replace").split("\0")


def main() -> int:
    """Exit code 0: healthy; 1: not."""
    try:
        port = StsSettings().api_port
    except ValidationError:
        return 1
    return 0 if is_healthy(port, _running()) else 1


if __name__ == "__main__":
    sys.exit(main())
