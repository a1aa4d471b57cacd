"""Supervised streams with everything real: local AWS, media server, relay, agents, workers, STS with mock engines."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from typing_extensions import override

from livedub.supervision.overview import StreamDetail
from livedub.supervision.stream_api_client import StreamApi
from livedub.verify.json_lines import read_json_lines
from livedub.verify.report import verify_recordings
from local.loopback_client import http_request
from local.media_servers.base import StreamPath
from local.processes import ChildProcess, ProcessSpec
from local.publisher import publisher_argv
from local.recorder import arrivals_path
from local.stack import Stack, StackOptions
from tests.e2e.cuttable_proxy import CuttableProxy
from tests.e2e.faulty_gateway import Exchange, FaultyGateway
from tests.e2e.rig import REPOSITORY

DELAY_MS = 3_000
HEARTBEAT_S = 6
REPORT_PERIOD_S = 3
GRACE_MS = 1_500
GOP_MS = 2_000

_FUNCTIONS = {
    "LIVEDUB_HEARTBEAT_S": str(HEARTBEAT_S),
    "LIVEDUB_CLOCK_SKEW_S": "1",
    "LIVEDUB_GRACE_S": "10",
    "LIVEDUB_UNKNOWN_STREAMS": "accept",
}
_NO_BUDGET = {"LIVEDUB_RESTART_BUDGET": "100", "LIVEDUB_RESTART_WINDOW_S": "5", "LIVEDUB_BACKOFF_MAX_S": "1"}
"""Where many faults in a row are the point: neither spent nor waited for."""
_WORKERS = {
    "WORKER_STS_BUDGET_MS": "1000",
    "WORKER_SEPARATION": "off",
    "WORKER_LOG_FORMAT": "json",
    "WORKER_NO_INPUT_TIMEOUT_MS": "20000",
    "STS_MOCK_DELAY_MS": "100",
}
_POLL_S = 0.1

Event = dict[str, Any]


class FaultyStack(Stack):
    """A stack whose relay and agents reach AWS through a wire that can be cut and a gateway that loses requests."""

    heard: Callable[[Exchange], None] | None = None

    @override
    async def __aenter__(self) -> FaultyStack:
        self._proxies = AsyncExitStack()
        try:
            await super().__aenter__()
        except BaseException:
            await self._proxies.aclose()
            raise
        return self

    @override
    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self._proxies.aclose()

    @override
    async def _start_control_plane(self) -> None:
        await super()._start_control_plane()
        self.gateway = self._proxies.enter_context(FaultyGateway(self.control.endpoint, heard=self.heard))
        self.wire = await self._proxies.enter_async_context(CuttableProxy(self.gateway.port))

    @override
    def relay_env(self) -> dict[str, str]:
        env = super().relay_env()
        return {**env, "RELAY_API_URL": self._through(env["RELAY_API_URL"])}

    @override
    def agent_env(self, agent_id: str) -> dict[str, str | None]:
        return {**super().agent_env(agent_id), "AWS_ENDPOINT_URL": self._through(self.control.endpoint)}

    def _through(self, url: str) -> str:
        return url.replace(self.control.endpoint, f"http://127.0.0.1:{self.wire.port}")


@dataclass(frozen=True, slots=True)
class Gap:
    """A pause in what a listener of `out` got: how long by the wall clock, and the step of the timestamps over it."""

    wall_ms: float
    pts_step_ms: float


class SupervisedRig:
    """One stack for many streams; an async context manager. Everything waits with a bound."""

    def __init__(
        self, folder: Path, *, agents: int = 1, delay_ms: int = DELAY_MS, restart_budget: bool = True
    ) -> None:
        self.folder = folder
        self.delay_ms = delay_ms
        self.events: list[Event] = []
        self.queue_messages: list[str] = []
        options = StackOptions(
            delay_ms=delay_ms,
            profile="mock",
            server="nginx-rtmp",
            grace_ms=GRACE_MS,
            report_period_s=REPORT_PERIOD_S,
            worker_env=_WORKERS,
            function_env=_FUNCTIONS if restart_budget else {**_FUNCTIONS, **_NO_BUDGET},
        )
        self._changed = asyncio.Event()
        self.stack = FaultyStack(
            options,
            run_dir=folder / "run",
            log_dir=folder / "logs",
            events_dir=folder / "events",
            on_event=self._hear,
            agents=0,
        )
        self._agents = agents
        self._api: StreamApi | None = None

    async def __aenter__(self) -> SupervisedRig:
        (self.folder / "run").mkdir(parents=True)
        self.stack.heard = self._keep_queue_messages
        await self.stack.__aenter__()
        access = self.stack.control.access
        self._api = StreamApi(access.url, access.token)
        try:
            await self.agents_running(self._agents)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._api is not None:
            self._api.close()
        await self.stack.__aexit__()

    # --- agents and workers

    @property
    def agents(self) -> list[ChildProcess]:
        """Those that run."""
        return [agent for agent in self.stack.agents if agent.returncode is None]

    async def agents_running(self, count: int) -> None:
        """See to it that so many agents run."""
        while len(self.agents) < count:
            await self.stack.start_agent()

    async def stop_agents(self) -> None:
        """Stop every agent as its host's end would."""
        for agent in self.agents:
            await self.stack.supervisor.stop(agent)

    def agent_of(self, stream_id: str) -> ChildProcess:
        """The agent that runs a stream."""
        wanted = self.last("worker_started", stream_id)["agent_id"]
        return next(agent for agent in self.agents if agent.name == wanted)

    def worker_pid(self, stream_id: str) -> int:
        """The process that dubs a stream."""
        return int(self.last("worker_started", stream_id)["pid"])

    # --- streams

    async def detail(self, stream_id: str) -> StreamDetail:
        """The stream as the API shows it."""
        assert self._api is not None
        return await asyncio.to_thread(self._api.stream, stream_id)

    async def ask(self, call: Callable[[StreamApi], StreamDetail]) -> StreamDetail:
        """Ask the API something."""
        assert self._api is not None
        return await asyncio.to_thread(call, self._api)

    async def until_state(self, stream_id: str, *states: str, timeout_s: float = 60.0) -> StreamDetail:
        """Wait until the stream is in one of `states`."""
        deadline = time.monotonic() + timeout_s
        detail: StreamDetail | None = None
        while time.monotonic() < deadline:
            known = await self.ask_list()
            if stream_id in known:
                detail = await self.detail(stream_id)
                if detail.stream.state in states:
                    return detail
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"{stream_id} is not {' or '.join(states)} within {timeout_s} s but {detail}")

    async def ask_list(self) -> set[str]:
        """The ids of the streams that exist."""
        assert self._api is not None
        return {stream.stream_id for stream in (await asyncio.to_thread(self._api.streams)).streams}

    async def until_published(
        self, stream_id: str, name: str = "out", *, gone: bool = False, timeout_s: float = 60.0
    ) -> float:
        """Wait until a path has a publisher (or none); return when that was seen, monotonic seconds."""
        path = StreamPath(stream_id, name)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if (path in await self.stack.server.paths()) is not gone:
                return time.monotonic()
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"{path.path} is {'still' if gone else 'not'} published after {timeout_s} s")

    async def publishers(self, stream_id: str, name: str) -> list[str]:
        """nginx's numbers of the connections that publish a path."""
        text = await http_request("GET", f"{self.stack.server.control_url}/stat", timeout_s=3)
        return [
            client.findtext("id") or ""
            for stream in ET.fromstring(text).iter("stream")  # noqa: S314 - of the server we started
            if stream.findtext("name") == f"{stream_id}/{name}"
            for client in stream.iterfind("client")
            if client.find("publishing") is not None
        ]

    # --- what a fault hits

    def function_pids(self) -> list[int]:
        """The processes in which Lambda functions run at the moment."""
        aws = next(child for child in self.stack.supervisor.children if child.name == "aws")
        return [pid for pid in _descendants(aws.pid) if b"awslambdaric" in _command_line(pid)]

    async def until_queue_is_empty(self, sqs: Any, *, timeout_s: float = 60.0) -> None:
        """Wait until nobody has a message of the work queue before them."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self.stack.control.deployed.work_queue_url
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            answer = await asyncio.to_thread(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=names)
            if not any(int(answer["Attributes"][name]) for name in names):
                return
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"the work queue still has messages after {timeout_s} s")

    # --- publisher and recorders

    async def publish(
        self, stream_id: str, clip: Path, *, seconds: float, name: str = "in", query: str = ""
    ) -> ChildProcess:
        """Publish a clip at real-time pace."""
        url = self.stack.server.publish_url(stream_id, name) + (f"?{query}" if query else "")
        spec = ProcessSpec(
            f"publisher-{stream_id}", publisher_argv(clip, url, seconds=seconds, loop=True), stop_timeout_s=5
        )
        return await self.stack.supervisor.start(spec)

    async def record(self, stream_id: str) -> ChildProcess:
        """Record `in` and `out` from now on."""
        targets = [
            part
            for name in ("in", "out")
            for part in (self.stack.server.play_url(stream_id, name), str(self.recording(stream_id, name)))
        ]
        argv = [sys.executable, "-m", "local.recorder", "--wait-s", "60", "--return-s", "40", *targets]
        return await self.stack.supervisor.start(ProcessSpec(f"recorder-{stream_id}", argv, cwd=REPOSITORY))

    def recording(self, stream_id: str, name: str) -> Path:
        """Where a path is recorded."""
        return self.folder / f"{stream_id}-{name}.flv"

    def arrivals(self, stream_id: str, kind: str = "video", name: str = "out") -> list[Event]:
        """Packets of one kind that a listener of a path got."""
        lines = read_json_lines(arrivals_path(self.recording(stream_id, name)))
        return [line for _, line in lines if line["kind"] == kind]

    def longest_gap(self, stream_id: str) -> Gap:
        """The longest pause in what a listener of `out` got."""
        packets = self.arrivals(stream_id)
        steps = list(itertools.pairwise(packets))
        before, after = max(steps, key=lambda step: step[1]["utc_ns"] - step[0]["utc_ns"])
        return Gap((after["utc_ns"] - before["utc_ns"]) / 1e6, (after["dts_ns"] - before["dts_ns"]) / 1e6)

    def report(self, stream_id: str) -> dict[str, Any]:
        """What the verifier says of the recordings."""
        return verify_recordings(
            self.recording(stream_id, "in"),
            self.recording(stream_id, "out"),
            self.stack.events_path(stream_id),
        )

    # --- what was said

    def last(self, kind: str, stream_id: str) -> Event:
        """The latest event of a kind about a stream."""
        return next(
            event
            for event in reversed(self.events)
            if event.get("event") == kind and event.get("stream_id") == stream_id
        )

    async def until_event(
        self, stream_id: str, condition: Callable[[Event], bool], *, timeout_s: float = 60.0, since: int = 0
    ) -> Event:
        """Wait for an event about a stream; those heard from index `since` on count."""
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self.events[since:]:
                if event.get("stream_id") == stream_id and condition(event):
                    return event
            since = len(self.events)
            self._changed.clear()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{stream_id}: no such event in {timeout_s} s; last {self.events[-3:]}")
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError:
                continue

    async def until_fragment(self, stream_id: str, *, generation: int = 0, timeout_s: float = 60.0) -> Event:
        """Wait until a worker of that generation, or a later one, has aired something."""
        return await self.until_event(
            stream_id,
            lambda event: event["event"] == "fragment" and event.get("generation", 0) >= generation,
            timeout_s=timeout_s,
        )

    async def on_air(self, stream_id: str, *, media_ms: int = 2_000, since: int = 0) -> Event:
        """Wait until so much has been sent: the output is up and listeners have got something."""
        return await self.until_event(
            stream_id,
            lambda event: event["event"] == "progress" and (event.get("output_media_ms") or 0) >= media_ms,
            timeout_s=60.0,
            since=since,
        )

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def _keep_queue_messages(self, exchange: Exchange) -> None:
        if exchange.target.endswith("ReceiveMessage") and exchange.status == 200:
            messages = json.loads(exchange.answer).get("Messages") or []
            self.queue_messages += [message["Body"] for message in messages]


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(deeper for child in children for deeper in _descendants(child))]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(process: ChildProcess | int) -> None:
    """SIGKILL, as a host that dies would do it."""
    with suppress(ProcessLookupError):
        os.kill(process if isinstance(process, int) else process.pid, signal.SIGKILL)
