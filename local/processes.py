"""Named child processes that never outlive us: start, wait until ready, read their lines, stop in order.

Each child leads its own process group, so that a Ctrl-C in the terminal reaches only us and we decide the order
of the end. The kernel kills a child when we die, even of SIGKILL (PR_SET_PDEATHSIG, set by util-linux's setpriv
between fork and exec; a preexec_fn could deadlock beside threads). The kernel sends that signal when the THREAD
that forked ends, so a supervisor belongs into the main thread's event loop.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from livedub.errors import LivedubError, MissingPrerequisiteError
from local.loopback_client import http_status

LineCallback = Callable[[str], None]
Probe = Callable[["ChildProcess"], Awaitable[None]]

_KEPT_LINES = 200
_TAIL_LINES = 12
_MAX_LINE_BYTES = 1024 * 1024
_POLL_S = 0.05
_KILL_BOUND_S = 5.0
_PUMP_BOUND_S = 2.0


class ProcessError(LivedubError):
    """A child process could not start, was not ready in time or ended by itself."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run.

    `env` is laid over our own environment, None takes a variable away; `stop_timeout_s` is what SIGTERM is given.
    `secret_stdout` keeps stdout out of the log and of messages: only its callback hears it.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    cwd: Path | None = None
    stop_timeout_s: float = 10.0
    secret_stdout: bool = False


@dataclass(slots=True)
class _Output:
    """Our end of a child's stdout or stderr.

    The pipes are our own: asyncio's keep `Process.wait` from returning while a grandchild holds their other end.
    """

    name: str
    reader: asyncio.StreamReader
    transport: asyncio.BaseTransport
    write_fd: int

    @classmethod
    async def open(cls, name: str) -> _Output:
        read_fd, write_fd = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb")
        )
        return cls(name, reader, transport, write_fd)


class ChildProcess:
    """A running child; made by `Supervisor.start`."""

    def __init__(
        self,
        spec: ProcessSpec,
        process: asyncio.subprocess.Process,
        log: BinaryIO,
        outputs: Sequence[tuple[_Output, LineCallback | None]],
    ) -> None:
        self.spec = spec
        self._process = process
        self._log = log
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self._watchers: list[tuple[re.Pattern[str], asyncio.Future[str]]] = []
        self._pumps = [
            asyncio.create_task(self._pump(output, callback), name=f"{spec.name} {output.name}")
            for output, callback in outputs
        ]
        self._ended = asyncio.create_task(process.wait(), name=f"{spec.name} end")

    @property
    def name(self) -> str:
        """The name given in the spec."""
        return self.spec.name

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end, its last lines included, and return the exit code."""
        code = await asyncio.shield(self._ended)
        await self._finish_pumps()
        return code

    async def line(self, pattern: str) -> str:
        """Wait for a line on stdout or stderr that matches `pattern` (re.search); one lately heard counts."""
        expression = re.compile(pattern)
        heard = next((line for line in self._tail if expression.search(line)), None)
        if heard is not None:
            return heard
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        watcher = (expression, found)
        self._watchers.append(watcher)
        try:
            return await found
        finally:
            self._watchers.remove(watcher)

    def describe_end(self) -> str:
        """One sentence on how it ended, then its last lines."""
        code = self.returncode
        if code is None:
            ended = f"{self.name} is still running"
        elif code < 0:
            ended = f"{self.name} was ended by {signal.Signals(-code).name}"
        else:
            ended = f"{self.name} exited with code {code}"
        tail = "\n".join(f"  {line}" for line in list(self._tail)[-_TAIL_LINES:]) or "  (it wrote nothing)"
        return f"{ended}; its last lines ({self._log.name}):\n{tail}\n"

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL for the whole group after the spec's bound; returns the exit code.

        A cancellation while waiting kills at once: nothing stays behind.
        """
        try:
            if self.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.terminate()
                await asyncio.wait({self._ended}, timeout=self.spec.stop_timeout_s)
        finally:
            self._kill_group()
        await asyncio.wait({self._ended}, timeout=_KILL_BOUND_S)
        await self._finish_pumps()
        self._log.close()
        if self.returncode is None:
            raise ProcessError(f"{self.name} (pid {self.pid}) does not end even by SIGKILL.")
        return self.returncode

    def _kill_group(self) -> None:
        # Also after a clean exit: what the child itself started and forgot is in its group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _finish_pumps(self) -> None:
        # A grandchild that inherited the pipes may hold them open, so the wait is bounded.
        _, pending = await asyncio.wait(self._pumps, timeout=_PUMP_BOUND_S)
        for pump in pending:
            pump.cancel()

    async def _pump(self, output: _Output, callback: LineCallback | None) -> None:
        rest = b""
        kept = not (self.spec.secret_stdout and output.name == "stdout")
        try:
            while data := await output.reader.read(65536):
                if kept and not self._log.closed:
                    self._log.write(data)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._hear(line, callback, kept=kept)
                rest = rest[-_MAX_LINE_BYTES:]
            if rest:
                self._hear(rest, callback, kept=kept)
        finally:
            output.transport.close()

    def _hear(self, raw: bytes, callback: LineCallback | None, *, kept: bool) -> None:
        line = raw.decode(errors="replace").rstrip("\r")
        if kept and line.strip():
            self._tail.append(line)
        for pattern, found in self._watchers:
            if not found.done() and pattern.search(line):
                found.set_result(line)
        if callback is not None:
            callback(line)


class Supervisor:
    """Starts children and ends them in reverse order; an async context manager."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._children: list[ChildProcess] = []

    async def __aenter__(self) -> Supervisor:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_all()

    @property
    def children(self) -> tuple[ChildProcess, ...]:
        """What was started and not stopped, in start order."""
        return tuple(self._children)

    async def start(
        self,
        spec: ProcessSpec,
        *,
        ready: Probe | None = None,
        ready_timeout_s: float = 30.0,
        on_stdout: LineCallback | None = None,
        on_stderr: LineCallback | None = None,
    ) -> ChildProcess:
        """Start a child and wait until `ready` returns; a child that fails is stopped before the error leaves.

        Raises:
            MissingPrerequisiteError: the program is not installed.
            ProcessError: it ended, or was not ready within `ready_timeout_s`; carries its last lines.
        """
        child = await self._spawn(spec, on_stdout, on_stderr)
        self._children.append(child)
        if ready is None:
            return child
        try:
            await self._await_ready(child, ready, ready_timeout_s)
        except BaseException:
            await self.stop(child)
            raise
        return child

    async def stop(self, child: ChildProcess) -> int:
        """Stop one child and forget it."""
        try:
            return await child.stop()
        finally:
            if child in self._children:
                self._children.remove(child)

    async def stop_all(self) -> None:
        """Stop every child, the last started first.

        Raises:
            ProcessError: a child survived SIGKILL; the others are stopped all the same.
        """
        errors: list[ProcessError] = []
        try:
            while self._children:
                try:
                    await self.stop(self._children[-1])
                except ProcessError as error:  # noqa: PERF203 - one that stays must not keep the others
                    errors.append(error)
        finally:
            for child in self._children:  # only when we were cancelled
                child._kill_group()  # noqa: SLF001 - the two classes are one unit
        if errors:
            raise errors[0]

    async def until_one_ends(self) -> NoReturn:
        """Wait until cancelled, or until a child that runs now has ended.

        Raises:
            ProcessError: one ended; says how.
        """
        ends = {asyncio.create_task(child.wait(), name=child.name): child for child in self._children}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            raise ProcessError(ends[done.pop()].describe_end())
        finally:
            for task in ends:
                task.cancel()
            await asyncio.wait(ends)

    async def _spawn(
        self, spec: ProcessSpec, on_stdout: LineCallback | None, on_stderr: LineCallback | None
    ) -> ChildProcess:
        program = shutil.which(spec.argv[0])
        setpriv = shutil.which("setpriv")
        missing = spec.argv[0] if program is None else "setpriv (package util-linux)"
        if program is None or setpriv is None:
            raise MissingPrerequisiteError(
                f"{spec.name} needs {missing}, which is not installed.", remedy="Run make setup."
            )
        log = (self._log_dir / f"{spec.name}.log").open("ab", buffering=0)
        stdout, stderr = await _Output.open("stdout"), await _Output.open("stderr")
        try:
            process = await asyncio.create_subprocess_exec(
                *(setpriv, "--pdeathsig", "KILL", "--", program, *spec.argv[1:]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout.write_fd,
                stderr=stderr.write_fd,
                env={name: value for name, value in {**os.environ, **spec.env}.items() if value is not None},
                cwd=spec.cwd,
                start_new_session=True,
            )
        except BaseException:
            log.close()
            for output in (stdout, stderr):
                output.transport.close()
            raise
        finally:
            for output in (stdout, stderr):
                os.close(output.write_fd)
        return ChildProcess(spec, process, log, ((stdout, on_stdout), (stderr, on_stderr)))

    async def _await_ready(self, child: ChildProcess, ready: Probe, timeout_s: float) -> None:
        probe = asyncio.ensure_future(ready(child))
        end = asyncio.ensure_future(child.wait())
        try:
            await asyncio.wait({probe, end}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if probe.done():
                probe.result()
            elif end.done():
                raise ProcessError(f"{child.name} ended before it was ready: {child.describe_end()}")
            else:
                raise ProcessError(
                    f"{child.name} was not ready within {timeout_s:.0f} s: {child.describe_end()}"
                )
        finally:
            probe.cancel()
            end.cancel()


def tcp_ready(host: str, port: int) -> Probe:
    """Ready when something accepts connections at `host:port`."""

    async def probe(_child: ChildProcess) -> None:
        while True:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 1.0)
            except (OSError, TimeoutError):
                await asyncio.sleep(_POLL_S)
                continue
            writer.close()
            return

    return probe


def http_ready(url: str) -> Probe:
    """Ready when GET `url` answers 200."""

    async def probe(_child: ChildProcess) -> None:
        while await http_status(url, timeout_s=2.0) != 200:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(_POLL_S)

    return probe


def line_ready(pattern: str) -> Probe:
    """Ready when a line of output matches `pattern`."""

    async def probe(child: ChildProcess) -> None:
        await child.line(pattern)

    return probe
