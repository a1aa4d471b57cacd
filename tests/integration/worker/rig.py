"""A worker process between real servers, without STS: what its media path does on its own."""

from __future__ import annotations

import asyncio
import json
import os
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
from local.processes import ChildProcess, ProcessSpec, Supervisor, http_ready
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
class SupervisedWorker:
    """A worker under the test's own command: settings and orders go in on its stdin."""

    process: asyncio.subprocess.Process
    heard: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    def tell(self, line: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line).encode() + b"\n")

    def change(self, **settings: Any) -> None:
        self.tell({"command": "settings", "settings": settings})

    async def until(self, condition: Callable[[dict[str, Any]], bool], *, after: int = 0) -> dict[str, Any]:
        """The first line that meets the condition, of those after the first `after` ones."""
        async with asyncio.timeout(BOUND_S), self._news:
            while True:
                found = next((line for line in self.heard[after:] if condition(line)), None)
                if found is not None:
                    return found
                await self._news.wait()

    async def until_output(self, name: str, state: str) -> None:
        await self.until(
            lambda line: line["event"] == "output" and (line["output"], line["state"]) == (name, state)
        )

    async def until_sent_ms(self, ms: int, name: str = "out") -> None:
        """Until so much more than now has left through an output."""
        after = len(self.heard)

        def sent(line: dict[str, Any]) -> int:
            return (line.get("outputs", {}).get(name) or {}).get("sent_media_ms") or 0

        first = sent(await self.until(lambda line: sent(line) > 0, after=after))
        await self.until(lambda line: sent(line) >= first + ms, after=after)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), BOUND_S)

    def said(self, text: str) -> list[str]:
        return [line for line in self.log if text in line]

    async def listen(self) -> None:
        """Read what it says until it ends."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        await asyncio.gather(self._hear(self.process.stdout), self._note(self.process.stderr))

    async def _hear(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.heard.append(json.loads(line))
            await _notify(self._news)

    async def _note(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.log.append(line.decode("utf-8", "replace"))


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

    @asynccontextmanager
    async def supervised(self, **settings: Any) -> AsyncIterator[SupervisedWorker]:
        """A worker whose settings can change; keyword arguments are its settings by field name."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "STS_"))
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "media_edge.worker", "run", "--supervised"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=REPOSITORY,
            env={**clean, "WORKER_SEPARATION": "off"},
            limit=1024 * 1024,
        )
        worker = SupervisedWorker(process)
        listening = asyncio.create_task(worker.listen())
        try:
            given = {
                "stream_id": STREAM_ID,
                "input_url": self.server.play_url(STREAM_ID, "in"),
                "output_url": self.server.publish_url(STREAM_ID, "out"),
                "delay_ms": 3_000,
                "sts_budget_ms": 500,
                "separation": "off",
                "grace_ms": 1_500,
                "events_path": str(self.events_path),
                **settings,
            }
            worker.tell({"settings": given, "timeline": None})
            yield worker
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await asyncio.wait({listening}, timeout=5)
            listening.cancel()

    async def sts(self, script: str = "") -> str:
        """The real service with mock engines; returns its address."""
        port = free_port()
        env = {
            "STS_PROFILE": "mock",
            "STS_MOCK_SCRIPT": script,
            "STS_MOCK_DELAY_MS": "100",
            "STS_API_PORT": str(port),
        }
        argv = [sys.executable, "-m", "gpu_handler", "serve"]
        url = f"http://127.0.0.1:{port}"
        await self.supervisor.start(
            ProcessSpec("sts", argv, env=env, cwd=REPOSITORY), ready=http_ready(f"{url}/health")
        )
        return url

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
