"""The whole of livedub on one machine, as processes: AWS, media server with relay, STS service, agent with workers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from livedub.errors import ConfigurationError
from local.control_plane import ControlPlane, find_control_plane, start_control_plane
from local.library_stack import Library, LibraryOptions, LibraryStack
from local.media_cache import MediaCache, start_media_cache
from local.media_servers.base import MediaServer, MediaServerOptions
from local.media_servers.select import select_media_server
from local.ports import free_port, free_ports
from local.processes import ChildProcess, Supervisor, http_ready, line_ready
from local.python_child import python_spec
from local.runpod.child import Emulator, start_emulator, start_worker

AgentEvent = dict[str, Any]
EventCallback = Callable[[AgentEvent], None]

_STS_READY_TIMEOUT_S = 180.0
_AGENT_READY_TIMEOUT_S = 90.0
_RELAY_READY_TIMEOUT_S = 30.0
_STOP_S = 3.0
"""Whatever is stopped from outside is not waited for: nobody watches what it would play out."""
_STS_NICENESS = 10
"""On one machine the models would take every core; media must not wait for them, they may wait for media."""

CACHE_FOLDER = "media-cache"
"""Where the speech of a run's media cache stays for the next one, beside its results."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What runs and where.

    Ports of 0 are chosen free. `sts_url` names a service that runs already; empty starts one with `profile`: `sts`
    says whether it is reached over HTTP or through an emulated RunPod queue.
    `media_cache` starts a host that keeps generated speech, for the workers: no service reaches it from RunPod either.
    `library` runs the media library beside; live streams leave their recordings there.
    `on` names a local AWS that runs already, with what `make deploy-local` put there; empty starts a fresh one.
    Languages, voice, delay and `grace_ms` are what streams get that have no settings of their own.
    """

    source: str = "es"
    target: str = "en"
    voice: str = ""
    delay_ms: int = 8_000
    profile: Literal["cpu", "mock"] = "cpu"
    sts: Literal["http", "runpod"] = "http"
    sts_url: str = ""
    media_cache: bool = False
    library: LibraryOptions | None = None
    server: str = "auto"
    bind: str = "127.0.0.1"
    rtmp_port: int = 0
    http_port: int = 0
    grace_ms: int = 10_000
    on: str = ""
    slots: int = 4
    report_period_s: int = 10
    worker_env: Mapping[str, str] = field(default_factory=dict[str, str])
    function_env: Mapping[str, str] = field(default_factory=dict[str, str])


class Stack:
    """An async context manager: inside it streams are dubbed as soon as somebody publishes them.

    `run_dir` holds what the processes keep (nginx wants a path without spaces), `log_dir` their output,
    `events_dir` each stream's event log. `on_event` hears every line the agents print: what became
    of a stream and each progress line of its worker. `cache_dir` is where speech is kept, in `run_dir` where None.
    """

    def __init__(
        self,
        options: StackOptions,
        *,
        run_dir: Path,
        log_dir: Path,
        events_dir: Path,
        on_event: EventCallback,
        agents: int = 1,
        cache_dir: Path | None = None,
    ) -> None:
        self.options = options
        self.supervisor = Supervisor(log_dir)
        self.agents: list[ChildProcess] = []
        self.relay: ChildProcess | None = None
        self.sts: ChildProcess | None = None
        self.emulator: Emulator | None = None
        self.media_cache: MediaCache | None = None
        self.library: Library | None = None
        self.sts_url = options.sts_url
        self._wanted_agents = agents
        self._run_dir = run_dir
        self._cache_dir = cache_dir or run_dir / "cache"
        self._events_dir = events_dir
        self._on_event = on_event
        if options.sts == "runpod" and options.sts_url:
            raise ConfigurationError(
                f"--sts runpod starts a service, --sts-url (STS_SERVICE_URL) names {options.sts_url}, which runs already.",
                remedy="Give one of them.",
            )
        self._exit = AsyncExitStack()
        self._library_stack: LibraryStack | None = None
        self._control: ControlPlane | None = None
        self.relay_port = free_port()
        self.server: MediaServer = select_media_server(
            self._server_options(), self.supervisor, kind=options.server
        )

    @property
    def control(self) -> ControlPlane:
        """The control plane; only inside the context."""
        if self._control is None:
            raise RuntimeError("Stack is used outside its context")
        return self._control

    async def __aenter__(self) -> Stack:
        async with AsyncExitStack() as starting:
            await starting.enter_async_context(self.supervisor)
            starting.push_async_callback(self.server.stop)
            # What takes long goes side by side; a wrong port shows before either has cost anything.
            await self.server.start()
            await _together(
                self._start_control_plane(),
                self._start_sts(),
                self._start_media_cache(),
                self._start_library(starting),
            )
            await self._start_library_worker()
            self.relay = await self.start_relay()
            for _ in range(self._wanted_agents):
                await self.start_agent()
            self._exit = starting.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def start_relay(self) -> ChildProcess:
        """Start the relay beside the media server, whose hooks and questions it carries."""
        spec = python_spec("relay", "media_edge.mediamtx.relay", env=self.relay_env(), stop_timeout_s=_STOP_S)
        return await self.supervisor.start(
            spec,
            ready=http_ready(f"http://127.0.0.1:{self.relay_port}/health"),
            ready_timeout_s=_RELAY_READY_TIMEOUT_S,
        )

    def relay_env(self) -> dict[str, str]:
        """The relay's settings."""
        base_url = self.server.rtmp_base_url
        return {
            "RELAY_ID": "local",
            "RELAY_HOST": "127.0.0.1",
            "RELAY_PORT": str(self.relay_port),
            "RELAY_API_URL": self.control.access.url,
            "RELAY_SIGNING_KEY": self.control.relay_key,
            "RELAY_SERVER": "mediamtx" if self.server.kind == "mediamtx" else "nginx",
            "RELAY_SERVER_API_URL": self.server.control_url,
            "RELAY_PLAY_BASE_URL": base_url,
            "RELAY_PUBLISH_BASE_URL": base_url,
            "RELAY_KICK_URL": f"http://127.0.0.1:{self.relay_port}/v1/kick",
            "RELAY_REPORT_PERIOD_S": str(self.options.report_period_s),
        }

    async def start_agent(self) -> ChildProcess:
        """Start one more agent and wait until it takes work."""
        agent_id = f"agent-{len(self.agents) + 1}"
        spec = python_spec(
            agent_id, "media_edge.worker", "agent", env=self.agent_env(agent_id), stop_timeout_s=_STOP_S
        )
        agent = await self.supervisor.start(
            spec,
            ready=line_ready(r'"event": ?"ready"'),
            ready_timeout_s=_AGENT_READY_TIMEOUT_S,
            on_stdout=self._hear,
        )
        self.agents.append(agent)
        return agent

    def events_path(self, stream_id: str) -> Path:
        """The event log of a stream, all its workers in one."""
        return self._events_dir / f"{stream_id}.jsonl"

    def agent_env(self, agent_id: str) -> dict[str, str | None]:
        """An agent's settings, and those its workers inherit from it."""
        options = self.options
        return {
            "WORKER_SOURCE_LANGUAGE": options.source,
            "WORKER_TARGET_LANGUAGE": options.target,
            "WORKER_VOICE": options.voice,
            "WORKER_DELAY_MS": str(options.delay_ms),
            "WORKER_GRACE_MS": str(options.grace_ms),
            "STS_SERVICE_URL": self.sts_url,
            **(self.emulator.client_environment if self.emulator else {}),
            **(self.media_cache.consumer_environment if self.media_cache else {}),
            **(self.library.environment if self.library else {}),
            **self._spool_env(),
            **options.worker_env,
            **self.control.environment,
            "AGENT_ID": agent_id,
            "AGENT_SLOTS": str(options.slots),
            "AGENT_WORK_QUEUE_URL": self.control.deployed.work_queue_url,
            "AGENT_STREAMS_TABLE": self.control.deployed.streams_table,
            "AGENT_EVENTS_DIR": str(self._events_dir),
        }

    def _spool_env(self) -> dict[str, str]:
        # Beside the library's own data: what a run that was killed left is uploaded by the next one.
        library = self.options.library
        return {"AGENT_LIBRARY_SPOOL": str(library.folder.resolve() / "live")} if library else {}

    def _server_options(self) -> MediaServerOptions:
        options = self.options
        free = free_ports(2)
        return MediaServerOptions(
            run_dir=self._run_dir / "media",
            rtmp_port=options.rtmp_port or free[0],
            http_port=options.http_port or free[1],
            bind=options.bind,
            idle_publisher_s=max(60, (options.grace_ms + options.delay_ms) // 1000 + 30),
            relay_url=f"http://127.0.0.1:{self.relay_port}",
        )

    async def _start_control_plane(self) -> None:
        options = self.options
        if options.on:
            self._control = await find_control_plane(options.on)
        else:
            self._control = await start_control_plane(self.supervisor, function_env=options.function_env)

    async def _start_media_cache(self) -> None:
        if self.options.media_cache:
            self.media_cache = await start_media_cache(self.supervisor, self._cache_dir)

    async def _start_library(self, starting: AsyncExitStack) -> None:
        if self.options.library is not None:
            stack = LibraryStack(self.supervisor, self.options.library, self._run_dir / "library")
            self.library = await starting.enter_async_context(stack)
            self._library_stack = stack

    async def _start_library_worker(self) -> None:
        # Only now it is known where the speech service is.
        if self._library_stack is not None:
            found = {"STS_SERVICE_URL": self.sts_url}
            client = self.emulator.client_environment if self.emulator else {}
            await self._library_stack.start_worker({**found, **client})

    async def _start_sts(self) -> None:
        if self.sts_url:
            return
        if self.options.sts == "runpod":
            await self._start_sts_on_runpod()
        else:
            await self._start_sts_over_http()

    async def _start_sts_on_runpod(self) -> None:
        self.emulator = await start_emulator(self.supervisor, self._run_dir / "runpod")
        self.sts = await start_worker(
            self.supervisor,
            self.emulator,
            settings={"STS_PROFILE": self.options.profile},
            niceness=_STS_NICENESS,
        )
        self.sts_url = f"runpod://{self.emulator.endpoint_id}"

    async def _start_sts_over_http(self) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        arguments = ("serve", "--port", str(port), "--die-with-parent")
        spec = python_spec(
            "sts",
            "gpu_handler",
            *arguments,
            env={"STS_PROFILE": self.options.profile},
            stop_timeout_s=_STOP_S,
            niceness=_STS_NICENESS,
        )
        self.sts = await self.supervisor.start(
            spec, ready=http_ready(f"{url}/health"), ready_timeout_s=_STS_READY_TIMEOUT_S
        )
        self.sts_url = url

    def _hear(self, line: str) -> None:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            log.warning("an agent printed something else than JSON: %s", line[:200])
            return
        if isinstance(event, dict):
            self._on_event(event)


async def _together(*work: Awaitable[None]) -> None:
    """Do several things at once; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
