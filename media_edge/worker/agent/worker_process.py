"""One worker process: started, spoken to, heard and ended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from livedub.errors import LivedubError

logger = logging.getLogger(__name__)

WORKER_ARGV = (sys.executable, "-m", "media_edge.worker", "run", "--supervised")

_MAX_LINE_BYTES = 1024 * 1024
_KILL_BOUND_S = 5.0
_OURS = ("AWS_", "AGENT_", "LIVEDUB_", "RELAY_", "BOTO_", "S3_", "LIBRARY_", "DATABASE_URL")
"""Variables that are none of a worker's business, credentials first of all."""

EventSink = Callable[[Mapping[str, Any]], None]


class WorkerStartError(LivedubError):
    """A worker process could not be started."""


class Worker(Protocol):
    """A worker as the agent sees it."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        ...

    def listen(self, sink: EventSink) -> None:
        """Hand every line from now on to `sink`."""
        ...

    def send(self, line: Mapping[str, Any]) -> None:
        """Write one line to its stdin; a worker that is gone does not mind."""
        ...

    def kill(self) -> None:
        """End it at once, and whatever it started."""
        ...

    async def wait(self) -> int:
        """Its exit code, negative for a signal, once it has ended and its last line was heard."""
        ...


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a worker inherits: everything but what is the agent's own."""
    return {name: value for name, value in environment.items() if not name.startswith(_OURS)}


class WorkerProcess:
    """A child that leads its own process group, so that a Ctrl-C reaches the agent alone."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> None:
        self._process = process
        self._output = output
        self._sink: EventSink | None = None
        self.ready = asyncio.Event()
        self._pump = asyncio.create_task(self._read_lines(), name=f"worker {process.pid} lines")
        self._end = asyncio.create_task(self._process.wait(), name=f"worker {process.pid} end")

    @classmethod
    async def start(cls, argv: Sequence[str], environment: Mapping[str, str]) -> WorkerProcess:
        """Start one.

        The kernel ends it when this thread ends: so this is the main thread's business.

        Raises:
            WorkerStartError: the program cannot be started.
        """
        # Our own pipe: asyncio's keeps `Process.wait` from returning while a grandchild holds its other end.
        read_fd, write_fd = os.pipe()
        output = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(read_fd, "rb")
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=write_fd,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            transport.close()
            raise WorkerStartError(f"{argv[0]} cannot be started: {error}.") from error
        except BaseException:
            transport.close()
            raise
        finally:
            os.close(write_fd)
        worker = cls(process, output)
        worker._pump.add_done_callback(lambda _: transport.close())
        return worker

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    def listen(self, sink: EventSink) -> None:
        """Hand every line from now on to `sink`."""
        self._sink = sink

    def send(self, line: Mapping[str, Any]) -> None:
        """Write one line to its stdin; a worker that is gone does not mind."""
        stdin = self._process.stdin
        if stdin is None or not self.alive:
            return
        with suppress(OSError, RuntimeError):
            stdin.write(json.dumps(line, default=str, separators=(",", ":")).encode() + b"\n")

    def kill(self) -> None:
        """End it at once, and whatever it started."""
        # Before the child has called setsid there is no group yet.
        with suppress(ProcessLookupError):
            self._process.kill()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, once it has ended and its last line was heard."""
        code = await asyncio.shield(self._end)
        self.kill()
        await asyncio.wait({self._pump}, timeout=1.0)
        self._pump.cancel()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    async def aclose(self) -> None:
        """End it, whatever it does."""
        self.kill()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.wait(), _KILL_BOUND_S)

    async def _read_lines(self) -> None:
        while True:
            try:
                line = await self._output.readline()
            except ValueError:
                logger.warning(
                    "The worker wrote a line of more than %d bytes; it is left out.", _MAX_LINE_BYTES
                )
                continue
            if not line:
                return
            self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            logger.debug("The worker wrote a line that is no progress.")
            return
        if event.get("event") == "ready":
            self.ready.set()
        if self._sink is not None:
            try:
                self._sink(event)
            except Exception:
                logger.exception("A line of the worker could not be dealt with.")
