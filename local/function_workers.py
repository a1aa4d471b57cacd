"""Processes that run one Lambda function's handler, one call at a time each, as Lambda's environments do.

A worker loads `handler` out of the function's folder, as Lambda loads it. It ends when its end of the pipe is closed,
so also when we are killed.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import multiprocessing
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

log = logging.getLogger(__name__)

_CONTEXT = multiprocessing.get_context("spawn")
_STOP_S = 3.0


class FunctionFailedError(Exception):
    """The handler raised, or its process ended."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """What Lambda tells a function about a call."""

    function_name: str
    aws_request_id: str
    memory_limit_in_mb: int = 512
    remaining_ms: int = 29_000

    @property
    def invoked_function_arn(self) -> str:
        """As in an account of moto's."""
        return f"arn:aws:lambda:us-east-1:123456789012:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Until API Gateway gives up."""
        return self.remaining_ms


class FunctionWorkers:
    """Some workers for one function; an async context manager.

    Args:
        folder: with the function's `handler.py`.
        count: calls that may run at once.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="function")
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers: list[_Worker] = []

    async def __aenter__(self) -> FunctionWorkers:
        for _ in range(self._count):
            self._idle.put_nowait(self._start())
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(wait=True)

    async def call(self, event: Mapping[str, Any]) -> bytes:
        """What the handler answers, as JSON. Waits for a worker that is free.

        A call that is cancelled runs on, and holds its worker until it is done.

        Raises:
            FunctionFailedError: it raised, or its process ended.
        """
        worker = await self._idle.get()
        running = asyncio.get_running_loop().run_in_executor(self._threads, worker.call, json.dumps(event))
        running.add_done_callback(lambda _: self._give_back(worker))
        return await asyncio.shield(running)

    def _give_back(self, worker: _Worker) -> None:
        if not worker.alive:
            self._workers.remove(worker)
            worker.stop()
            worker = self._start()
        self._idle.put_nowait(worker)

    def _start(self) -> _Worker:
        worker = _Worker(self._folder)
        self._workers.append(worker)
        return worker


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self, folder: Path) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, str(folder)), daemon=True)
        self._process.start()
        # Only the child may hold its end, or neither of us would notice when the other is gone.
        theirs.close()
        self._broken = False

    @property
    def alive(self) -> bool:
        """Whether it can take another call."""
        return not self._broken and self._process.is_alive()

    def call(self, event: str) -> bytes:
        """Ask and wait. Raises FunctionFailedError."""
        try:
            self._pipe.send_bytes(event.encode())
            raised, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._broken = True
            raise FunctionFailedError("the function's process ended") from error
        if raised:
            raise FunctionFailedError(answer.decode(errors="replace"))
        return answer

    def stop(self) -> None:
        """End the process, whatever it does. Idempotent."""
        self._process.terminate()
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_STOP_S)
        self._pipe.close()


def _serve(pipe: Connection, folder: str) -> None:
    """The child: load the handler, then answer until nobody asks any more."""
    # Ctrl-C in a terminal goes to all of us; the parent decides when we end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.insert(0, folder)
    handler = importlib.import_module("handler").handler
    name = Path(folder).name
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            event = json.loads(pipe.recv_bytes())
            try:
                answer = json.dumps(handler(event, CallContext(name, str(uuid4())))).encode()
            except Exception as error:
                log.exception("the handler of %s raised", name)
                pipe.send((True, f"{type(error).__name__}: {error}".encode()))
            else:
                pipe.send((False, answer))
