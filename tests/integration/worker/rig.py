"""A worker process between real servers, without STS: what its media path does on its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livedub.verify.report import verify_recordings
from local.media_servers.base import MediaServer, MediaServerOptions
from local.media_servers.nginx_rtmp import NginxRtmp
from local.ports import free_port, free_ports
from local.processes import ChildProcess, ProcessSpec, Supervisor
from local.publisher import publisher_argv

STREAM_ID = "rig"
REPOSITORY = Path(__file__).resolve().parents[3]
BOUND_S = 40.0


@dataclass
class WorkerProcess:
    """A worker and what it said."""

    child: ChildProcess
    progress: list[dict[str, Any]]
    messages: list[str]
    news: asyncio.Condition

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first progress line, past ones included, that meets the condition."""
        async with asyncio.timeout(BOUND_S), self.news:
            while True:
                found = next((line for line in self.progress if condition(line)), None)
                if found is not None:
                    return found
                await self.news.wait()

    async def until_state(self, state: str) -> None:
        await self.until(lambda line: line.get("state") == state)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.child.wait(), BOUND_S)

    def said(self, text: str) -> list[str]:
        return [message for message in self.messages if text in message]


@dataclass
class WorkerRig:
    """Folders, processes and servers of one test."""

    folder: Path
    supervisor: Supervisor
    server: MediaServer
    _names: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def second_server(self, rtmp_port: int | None = None) -> MediaServer:
        """Another media server; not started."""
        self._names += 1
        (http_port,) = free_ports(1)
        options = MediaServerOptions(
            self.folder / f"server-{self._names}", rtmp_port or free_port(), http_port
        )
        return NginxRtmp(options, self.supervisor)

    async def worker(self, *, delay_ms: int = 2_000, **settings: str | int) -> WorkerProcess:
        """Start a worker; keyword arguments are WORKER_ settings in lower case."""
        env = {
            "WORKER_STREAM_ID": STREAM_ID,
            "WORKER_INPUT_URL": self.server.play_url(STREAM_ID, "in"),
            "WORKER_OUTPUT_URL": self.server.publish_url(STREAM_ID, "out"),
            "WORKER_DELAY_MS": str(delay_ms),
            "WORKER_STS_BUDGET_MS": "500",
            "WORKER_SEPARATION": "off",
            "WORKER_STATE_DIR": str(self.folder / "state"),
            "WORKER_EVENTS_PATH": str(self.events_path),
            "WORKER_GRACE_MS": "1500",
            # Nobody listens there: fragments keep their original audio.
            "STS_SERVICE_URL": f"http://127.0.0.1:{free_port()}",
            **{f"WORKER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        progress: list[dict[str, Any]] = []
        messages: list[str] = []
        news = asyncio.Condition()

        def hear_progress(line: str) -> None:
            progress.append(json.loads(line))
            task = asyncio.create_task(_notify(news))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def hear_log(line: str) -> None:
            messages.append(str(json.loads(line)["message"]) if line.startswith("{") else line)

        self._names += 1
        argv = [sys.executable, "-m", "media_edge.worker", "run"]
        spec = ProcessSpec(f"worker-{self._names}", argv, env=env, cwd=REPOSITORY, stop_timeout_s=15)
        child = await self.supervisor.start(spec, on_stdout=hear_progress, on_stderr=hear_log)
        return WorkerProcess(child, progress, messages, news)

    async def publish(self, clip: Path, *, seconds: float | None = None) -> ChildProcess:
        argv = publisher_argv(clip, self.server.publish_url(STREAM_ID, "in"), seconds=seconds)
        self._names += 1
        return await self.supervisor.start(ProcessSpec(f"publisher-{self._names}", argv, stop_timeout_s=5))

    async def record(self, **sources: str) -> ChildProcess:
        """Record URLs by name, into `<name>.flv`."""
        targets = [part for name, url in sources.items() for part in (url, str(self.recording(name)))]
        argv = [sys.executable, "-m", "local.recorder", "--wait-s", "60", "--return-s", "30", *targets]
        self._names += 1
        return await self.supervisor.start(ProcessSpec(f"recorder-{self._names}", argv, cwd=REPOSITORY))

    async def record_both(self) -> ChildProcess:
        return await self.record(
            **{"in": self.server.play_url(STREAM_ID, "in"), "out": self.server.play_url(STREAM_ID, "out")}
        )

    @property
    def events_path(self) -> Path:
        return self.folder / "events.jsonl"

    def recording(self, name: str) -> Path:
        return self.folder / f"{name}.flv"

    def report(self) -> dict[str, Any]:
        return verify_recordings(self.recording("in"), self.recording("out"), self.events_path)


async def _notify(news: asyncio.Condition) -> None:
    async with news:
        news.notify_all()


@asynccontextmanager
async def worker_rig(folder: Path) -> AsyncIterator[WorkerRig]:
    """A rig with a running media server; everything is stopped at the end."""
    rtmp_port, http_port = free_ports(2)
    async with Supervisor(folder / "logs") as supervisor:
        server = NginxRtmp(MediaServerOptions(folder / "server", rtmp_port, http_port), supervisor)
        await server.start()
        try:
            yield WorkerRig(folder, supervisor, server)
        finally:
            await supervisor.stop_all()
            await server.stop()
