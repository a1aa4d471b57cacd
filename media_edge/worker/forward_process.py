"""Keeps the forwarder running beside the worker, as a child process whose end costs a log line."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence

from livedub.timeline.clock import NS_PER_S

logger = logging.getLogger(__name__)

_RESTART_PAUSE_NS = 10 * NS_PER_S
_STOP_BOUND_S = 3.0
_USELESS_TO_RESTART = frozenset({0, 10})

FORWARD_ARGV = (sys.executable, "-m", "media_edge.worker", "forward")


class ForwardProcess:
    """Starts the child, starts it again when it ends, stops it with the worker."""

    def __init__(
        self,
        argv: Sequence[str] = FORWARD_ARGV,
        *,
        environment: Mapping[str, str],
        restart_pause_ns: int = _RESTART_PAUSE_NS,
    ) -> None:
        self._argv = argv
        # The child must not outlive a worker that is killed.
        self._environment = {**environment, "WORKER_DIE_WITH_PARENT": "true"}
        self._restart_pause_s = restart_pause_ns / NS_PER_S
        self._task: asyncio.Task[None] | None = None
        self.starts = 0

    def start(self) -> None:
        """Keep it running from now on."""
        self._task = asyncio.create_task(self._keep(), name="forwarder")

    async def aclose(self) -> None:
        """End the child, by SIGTERM first."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _keep(self) -> None:
        while True:
            code = await self._run_once()
            if code in _USELESS_TO_RESTART:
                logger.error("The forwarder ended with code %d and stays off; `out` is not touched.", code)
                return
            logger.warning(
                "The forwarder ended with code %d; it starts again in %.0f s, `out` is not touched.",
                code,
                self._restart_pause_s,
            )
            await asyncio.sleep(self._restart_pause_s)

    async def _run_once(self) -> int:
        try:
            child = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env=dict(self._environment),
            )
        except OSError as error:
            logger.error("The forwarder cannot be started: %s.", error)
            return os.EX_OSERR
        self.starts += 1
        try:
            return await child.wait()
        finally:
            await asyncio.shield(_end(child))


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _STOP_BOUND_S)
    except TimeoutError:
        child.kill()
        await child.wait()
