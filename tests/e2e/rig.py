"""A live stream through everything: publisher, media server, STS, worker, recorders, all real processes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livedub.verify.report import verify_recordings
from local.media_servers.base import MediaServer, MediaServerOptions
from local.media_servers.nginx_rtmp import NginxRtmp
from local.ports import free_ports
from local.processes import ChildProcess, ProcessSpec, Supervisor, http_ready, line_ready
from local.publisher import publisher_argv

STREAM_ID = "e2e"
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Rig:
    """One stream's processes; `async with` it, then start what the test needs."""

    folder: Path
    delay_ms: int = 4_000
    supervisor: Supervisor = field(init=False)
    server: MediaServer = field(init=False)
    progress: list[dict[str, Any]] = field(default_factory=list)
    log_lines: list[dict[str, Any]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _sts_port: int = 0
    _workers: int = 0

    async def __aenter__(self) -> Rig:
        self.supervisor = await Supervisor(self.folder / "logs").__aenter__()
        rtmp_port, http_port, self._sts_port = free_ports(3)
        options = MediaServerOptions(self.folder / "server", rtmp_port, http_port)
        self.server = NginxRtmp(options, self.supervisor)
        try:
            await self.server.start()
        except BaseException:
            await self.supervisor.stop_all()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.supervisor.stop_all()
        await self.server.stop()

    @property
    def input_url(self) -> str:
        return self.server.play_url(STREAM_ID, "in")

    @property
    def output_url(self) -> str:
        return self.server.publish_url(STREAM_ID, "out")

    @property
    def events_path(self) -> Path:
        return self.folder / "events.jsonl"

    def recording(self, name: str) -> Path:
        return self.folder / f"{name}.flv"

    async def start_sts(self, script: str = "", *, delay_ms: int = 200) -> ChildProcess:
        """The real service with the mock engines, which answer every fragment with its own audio or a fault."""
        env = {
            "STS_PROFILE": "mock",
            "STS_MOCK_SCRIPT": script,
            "STS_MOCK_DELAY_MS": str(delay_ms),
            "STS_API_PORT": str(self._sts_port),
        }
        argv = [sys.executable, "-m", "gpu_handler", "serve"]
        spec = ProcessSpec("sts", argv, env=env, cwd=REPOSITORY)
        return await self.supervisor.start(
            spec, ready=http_ready(f"http://127.0.0.1:{self._sts_port}/health")
        )

    async def start_worker(self, **settings: str | int) -> ChildProcess:
        """A worker for the stream; keyword arguments are WORKER_ settings in lower case."""
        self._workers += 1
        env = {
            "WORKER_STREAM_ID": STREAM_ID,
            "WORKER_INPUT_URL": self.input_url,
            "WORKER_OUTPUT_URL": self.output_url,
            "STS_SERVICE_URL": f"http://127.0.0.1:{self._sts_port}",
            "WORKER_SOURCE_LANGUAGE": "es",
            "WORKER_TARGET_LANGUAGE": "en",
            "WORKER_DELAY_MS": str(self.delay_ms),
            "WORKER_STS_BUDGET_MS": "1000",
            "WORKER_SEPARATION": "off",
            "WORKER_STATE_DIR": str(self.folder / "state"),
            "WORKER_EVENTS_PATH": str(self.events_path),
            "WORKER_GRACE_MS": "8000",
            "WORKER_LOG_FORMAT": "json",
            **{f"WORKER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        argv = [sys.executable, "-m", "media_edge.worker", "run"]
        spec = ProcessSpec(f"worker-{self._workers}", argv, env=env, cwd=REPOSITORY, stop_timeout_s=20)
        return await self.supervisor.start(spec, on_stdout=self._hear_progress, on_stderr=self._hear_log)

    async def publish(self, clip: Path, *, rate: float = 1.0, seconds: float | None = None) -> ChildProcess:
        argv = publisher_argv(clip, self.server.publish_url(STREAM_ID, "in"), rate=rate, seconds=seconds)
        return await self.supervisor.start(ProcessSpec("publisher", argv, stop_timeout_s=5))

    async def record(self, *names: str) -> ChildProcess:
        """Record `in`, `out` (default both) from now on."""
        chosen = names or ("in", "out")
        targets = [
            part
            for name in chosen
            for part in (self.server.play_url(STREAM_ID, name), str(self.recording(name)))
        ]
        argv = [sys.executable, "-m", "local.recorder", "--wait-s", "60", "--return-s", "20", *targets]
        spec = ProcessSpec("-".join(("recorder", *chosen)), argv, cwd=REPOSITORY)
        return await self.supervisor.start(spec)

    async def until_line(self, process: ChildProcess, pattern: str, timeout_s: float = 60.0) -> str:
        return await asyncio.wait_for(process.line(pattern), timeout_s)

    async def until_progress(
        self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 60.0
    ) -> dict[str, Any]:
        """Wait for a progress line that meets the condition; one already heard counts."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        while True:
            for line in self.progress[seen:]:
                if condition(line):
                    return line
            seen = len(self.progress)
            self._changed.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no such progress line; the last was {self.progress[-1:]}")
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue

    def report(self) -> dict[str, Any]:
        return verify_recordings(self.recording("in"), self.recording("out"), self.events_path)

    def fragment_events(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.events_path.read_text().splitlines()]
        return [line for line in lines if line["event"] == "fragment"]

    def said(self, text: str) -> list[str]:
        """Log messages of the worker that contain `text`, whatever its case."""
        messages = [str(line.get("message", "")) for line in self.log_lines]
        return [message for message in messages if text.lower() in message.lower()]

    def _hear_progress(self, line: str) -> None:
        self.progress.append(json.loads(line))
        self._changed.set()

    def _hear_log(self, line: str) -> None:
        try:
            self.log_lines.append(json.loads(line))
        except ValueError:
            self.log_lines.append({"message": line})


def clip_cache() -> Path:
    """Where generated clips are kept between test runs."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "livedub" / "clips"


__all__ = ["REPOSITORY", "STREAM_ID", "Rig", "clip_cache", "line_ready"]
