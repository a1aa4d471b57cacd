"""Child processes of `up`: started in a group of their own, dead with us, stopped within a bound."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from livedub.errors import LivedubError, MissingPrerequisiteError

_KEPT_LINES = 12
_KILL_BOUND_S = 5.0
_LONGEST_LINE_BYTES = 256 * 1024


class ChildError(LivedubError):
    """A child ended by itself; the message carries its last lines."""


class Child:
    """One running child, whose output goes on to our standard error."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self._pump = asyncio.create_task(self._forward(), name=f"{name} output")

    @classmethod
    async def start(cls, name: str, argv: Sequence[str], env: Mapping[str, str]) -> Child:
        """Start it. The kernel kills it when we die, however we die (setpriv, between fork and exec).

        Raises:
            MissingPrerequisiteError: setpriv or the program is not installed.
        """
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise MissingPrerequisiteError(f"{name} needs setpriv.", remedy="Install util-linux.")
        process = await asyncio.create_subprocess_exec(
            *(setpriv, "--pdeathsig", "KILL", "--", *argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(env),
            limit=_LONGEST_LINE_BYTES,
            # A Ctrl-C in the terminal reaches us alone: we decide who ends first.
            start_new_session=True,
        )
        return cls(name, process)

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.returncode is None

    @property
    def failed(self) -> bool:
        """Whether it ended with anything but 0."""
        return bool(self._process.returncode)

    async def ended(self) -> None:
        """Wait until it ends."""
        await self._process.wait()

    def end(self) -> ChildError:
        """How it ended."""
        code = self._process.returncode
        how = (
            f"was ended by {signal.Signals(-code).name}"
            if code is not None and code < 0
            else f"ended with {code}"
        )
        return ChildError(f"{self.name} {how}: {' | '.join(self._tail) or 'it said nothing'}")

    async def stop(self, timeout_s: float) -> None:
        """SIGTERM, and SIGKILL for what is left of its group after `timeout_s`."""
        try:
            if self.running:
                with suppress(ProcessLookupError):
                    self._process.terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), timeout_s)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _KILL_BOUND_S)
        await asyncio.wait({self._pump}, timeout=_KILL_BOUND_S)
        self._pump.cancel()

    async def _forward(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        with suppress(ValueError):  # a line over the limit; what follows it is of no use
            while line := await output.readline():
                text = line.decode(errors="replace").rstrip()
                self._tail.append(text)
                sys.stderr.write(f"{text}\n")
