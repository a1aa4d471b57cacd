"""Starts child processes that die with us, from threads that do not live as long as we do.

The kernel sends a child its PR_SET_PDEATHSIG when the THREAD that forked it ends. A request thread of a server ends
with its connection, so every fork happens in one thread that lives as long as the process.
"""

from __future__ import annotations

import queue
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from livedub.errors import MissingPrerequisiteError

_SPAWN_BOUND_S = 30.0


def dying_with_parent(argv: Sequence[str]) -> tuple[str, ...]:
    """Wrap a command so that the kernel kills it when its parent ends, SIGKILL included.

    Raises:
        MissingPrerequisiteError: setpriv (util-linux) is not installed.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise MissingPrerequisiteError(
            "setpriv (package util-linux) is not installed.", remedy="Run make setup."
        )
    return (setpriv, "--pdeathsig", "KILL", "--", *argv)


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: `env` is the whole environment, nothing of ours is inherited."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    output: BinaryIO
    """Takes stdout and stderr."""
    pass_fds: tuple[int, ...] = ()
    """Open files of ours that it gets under their numbers."""


class Spawner:
    """One thread that forks; a context manager."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Command, Future[subprocess.Popen[bytes]]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="spawner", daemon=True)
        self._thread.start()

    def __enter__(self) -> Spawner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def spawn(self, command: Command) -> subprocess.Popen[bytes]:
        """Start `command` in a process group of its own; it dies with this process.

        Raises:
            OSError: it could not be started.
        """
        started: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((command, started))
        return started.result(_SPAWN_BOUND_S)

    def close(self) -> None:
        """End the thread, and with it whatever it started and nobody stopped."""
        self._jobs.put(None)
        self._thread.join(_SPAWN_BOUND_S)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            command, started = job
            try:
                started.set_result(
                    subprocess.Popen(
                        dying_with_parent(command.argv),
                        env=dict(command.env),
                        cwd=command.cwd,
                        stdin=subprocess.DEVNULL,
                        stdout=command.output,
                        stderr=command.output,
                        pass_fds=command.pass_fds,
                        start_new_session=True,
                    )
                )
            except Exception as error:  # noqa: BLE001 - raised where the caller waits
                started.set_exception(error)
