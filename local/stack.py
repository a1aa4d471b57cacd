"""The whole of livedub on one machine, as processes: media server, STS service, one worker per stream."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from livedub.errors import LivedubError
from local.media_servers.base import MediaServer, MediaServerOptions
from local.media_servers.select import select_media_server
from local.ports import free_port, free_ports
from local.processes import ChildProcess, Supervisor, http_ready
from local.python_child import python_spec

WorkerEvent = dict[str, Any]
EventCallback = Callable[[WorkerEvent], None]

_STS_READY_TIMEOUT_S = 180.0
_STOP_S = 3.0
"""A worker or service that is stopped from outside is not waited for: nobody watches what it would play out."""
_STS_NICENESS = 10
"""On one machine the models would take every core; media must not wait for them, they may wait for media."""
_CONFIGURATION_ERROR = 2
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What runs and where.

    Ports of 0 are chosen free. `sts_url` names a service that runs already; empty starts one with `profile`.
    `grace_ms` is how long a worker keeps `out` going without a publisher.
    """

    source: str = "es"
    target: str = "en"
    voice: str = ""
    delay_ms: int = 8_000
    profile: Literal["cpu", "mock"] = "cpu"
    sts_url: str = ""
    server: str = "auto"
    bind: str = "127.0.0.1"
    rtmp_port: int = 0
    http_port: int = 0
    grace_ms: int = 10_000
    worker_env: Mapping[str, str] = field(default_factory=dict)


class Stack:
    """An async context manager: inside it the media server serves and the STS service is ready.

    `run_dir` holds what the processes keep (nginx wants a path without spaces), `log_dir` their output.
    """

    def __init__(self, options: StackOptions, *, run_dir: Path, log_dir: Path) -> None:
        self.options = options
        self.supervisor = Supervisor(log_dir)
        self._run_dir = run_dir
        self._exit = AsyncExitStack()
        self._generations: dict[str, int] = {}
        self.sts: ChildProcess | None = None
        self.sts_url = options.sts_url
        self.server: MediaServer = select_media_server(
            self._server_options(), self.supervisor, kind=options.server
        )

    async def __aenter__(self) -> Stack:
        async with AsyncExitStack() as starting:
            await starting.enter_async_context(self.supervisor)
            starting.push_async_callback(self.server.stop)
            await self.server.start()
            if not self.sts_url:
                self.sts = await self._start_sts()
            self._exit = starting.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def start_worker(
        self, stream_id: str, on_event: EventCallback, *, events_path: Path
    ) -> ChildProcess:
        """Start the worker of a stream; `on_event` hears every JSON line it prints."""
        generation = self._generations.get(stream_id, 0) + 1
        self._generations[stream_id] = generation
        options = self.options
        env = {
            **options.worker_env,
            "WORKER_STREAM_ID": stream_id,
            "WORKER_GENERATION": str(generation),
            "WORKER_INPUT_URL": self.server.play_url(stream_id, "in"),
            "WORKER_OUTPUT_URL": self.server.publish_url(stream_id, "out"),
            "STS_SERVICE_URL": self.sts_url,
            "WORKER_SOURCE_LANGUAGE": options.source,
            "WORKER_TARGET_LANGUAGE": options.target,
            "WORKER_VOICE": options.voice,
            "WORKER_DELAY_MS": str(options.delay_ms),
            "WORKER_GRACE_MS": str(options.grace_ms),
            "WORKER_STATE_DIR": str(self._run_dir / "state"),
            "WORKER_EVENTS_PATH": str(events_path),
            "WORKER_DIE_WITH_PARENT": "true",
        }
        spec = python_spec(f"worker-{stream_id}", "media_edge.worker", "run", env=env, stop_timeout_s=_STOP_S)
        return await self.supervisor.start(spec, on_stdout=lambda line: _hear(line, on_event))

    def _server_options(self) -> MediaServerOptions:
        options = self.options
        free = free_ports(2)
        return MediaServerOptions(
            run_dir=self._run_dir / "media",
            rtmp_port=options.rtmp_port or free[0],
            http_port=options.http_port or free[1],
            bind=options.bind,
            idle_publisher_s=max(60, (options.grace_ms + options.delay_ms) // 1000 + 30),
        )

    async def _start_sts(self) -> ChildProcess:
        port = free_port()
        self.sts_url = f"http://127.0.0.1:{port}"
        env = {"STS_PROFILE": self.options.profile}
        arguments = ("serve", "--port", str(port), "--die-with-parent")
        spec = python_spec(
            "sts", "gpu_handler", *arguments, env=env, stop_timeout_s=_STOP_S, niceness=_STS_NICENESS
        )
        return await self.supervisor.start(
            spec, ready=http_ready(f"{self.sts_url}/health"), ready_timeout_s=_STS_READY_TIMEOUT_S
        )


def _hear(line: str, on_event: EventCallback) -> None:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        log.warning("a worker printed something else than JSON: %s", line[:200])
        return
    if isinstance(event, dict):
        on_event(event)


@dataclass(slots=True)
class _Run:
    """One stream's worker, and how its last starts went."""

    task: asyncio.Task[str]
    left: bool = False
    failed: bool = False


class WorkerKeeper:
    """Runs a worker for every published `in`: it looks at the server's paths, starts and restarts.

    Stands in for the hooks and the supervisor that production has. A worker ends by itself when its publisher
    stays away; one that ends while its stream is published is started again after a growing pause, but not after
    exit code 2, which says that a restart cannot help.
    """

    def __init__(
        self,
        stack: Stack,
        on_event: Callable[[str, WorkerEvent], None],
        *,
        events_dir: Path,
        poll_s: float = 0.5,
    ) -> None:
        self._stack = stack
        self._on_event = on_event
        self._events_dir = events_dir
        self._poll_s = poll_s
        self._runs: dict[str, _Run] = {}

    async def run(self) -> None:
        """Look and start until cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._poll_s)
        finally:
            tasks = [run.task for run in self._runs.values()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _look(self) -> None:
        try:
            paths = await self._stack.server.paths()
        except LivedubError as error:
            log.warning("%s", error)
            return
        published = {path.stream_id for path in paths if path.name == "in"}
        for stream_id, run in list(self._runs.items()):
            run.left = stream_id not in published
            if run.task.done() and not run.failed:
                self._settle(stream_id, run)
            if run.task.done() and (run.left or not run.failed):
                del self._runs[stream_id]
        for stream_id in published - self._runs.keys():
            task = asyncio.create_task(self._keep(stream_id), name=f"keep {stream_id}")
            self._runs[stream_id] = _Run(task)

    def _settle(self, stream_id: str, run: _Run) -> None:
        """Note whether a stream's worker is beyond help; then it rests until its publisher has left."""
        error = run.task.exception()
        detail = str(error) if error is not None else run.task.result()
        if detail:
            run.failed = True
            self._on_event(stream_id, {"event": "worker_failed", "detail": detail})

    async def _keep(self, stream_id: str) -> str:
        """Run workers while the stream is published; return why no further one would help, empty when all is well."""
        pause_s = _FIRST_PAUSE_S
        while True:
            child = await self._stack.start_worker(
                stream_id,
                lambda event: self._on_event(stream_id, event),
                events_path=self._events_dir / stream_id / "events.jsonl",
            )
            code = await child.wait()
            await self._stack.supervisor.stop(child)
            self._on_event(stream_id, {"event": "worker_ended", "exit_code": code})
            if self._runs[stream_id].left:
                return ""
            if code == _CONFIGURATION_ERROR:
                return child.describe_end()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
