"""The media library on one machine: catalogue, storage, queue, API and a worker, as they are elsewhere.

Postgres and Redis listen on Unix sockets, the storage and the one HTTP address on the loopback. Files, catalogue and
queue stay in one folder for the next run.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from livedub.database.embedded_postgres import postgres_server
from livedub.library.api.routes import OPENAPI_PATH
from local.media_front import DEFAULT_PORT, supervised_media_front
from local.object_store import DEFAULT_PORT as DEFAULT_OBJECTS_PORT
from local.object_store import ObjectStore, external_object_store, supervised_object_store
from local.ports import free_port
from local.processes import ChildProcess, Supervisor, http_ready
from local.python_child import ROOT, python_spec
from local.redis_server import redis_server

_API_READY_S = 90.0
_API_STOP_S = 5.0
_WORKER_STOP_S = 20.0
"""SIGTERM lets it finish, or give back, the job at hand."""
_NICENESS = 10
"""Encoding takes every core there is; live media must not wait for it."""


@dataclass(frozen=True, slots=True)
class LibraryOptions:
    """Where the library is. Ports of 0 are chosen free.

    Attributes:
        folder: of its data; made where there is none.
        port: of its HTTP address: files below /media/, the API below /api/ and at /graphql.
        objects_port: of the S3 server.
        s3_url: a storage that runs already; empty starts one.
        api_processes: requests that the API works on at once.
    """

    folder: Path
    port: int = DEFAULT_PORT
    objects_port: int = DEFAULT_OBJECTS_PORT
    api_processes: int = 2
    s3_url: str = ""


@dataclass(frozen=True, slots=True)
class Library:
    """A library that runs.

    Attributes:
        url: its HTTP address.
        api_token: opens its API.
        store: its storage.
        environment: what makes a process use it: storage, catalogue, queue and secrets.
    """

    url: str
    api_token: str = field(repr=False)
    store: ObjectStore = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)


class LibraryStack:
    """An async context manager that gives a Library.

    Args:
        supervisor: owns its processes, and stays longer than the block.
        options: where it is.
        run_dir: what its processes keep for this run alone.
    """

    def __init__(self, supervisor: Supervisor, options: LibraryOptions, run_dir: Path) -> None:
        self._supervisor = supervisor
        self._options = options
        self._run_dir = run_dir
        self._exit = AsyncExitStack()
        self._library: Library | None = None

    @property
    def library(self) -> Library:
        """The running library; only inside the context."""
        if self._library is None:
            raise RuntimeError("LibraryStack is used outside its context")
        return self._library

    async def __aenter__(self) -> Library:
        async with AsyncExitStack() as starting:
            folder = self._options.folder
            # A taken port shows before anything else has cost time.
            store = await starting.enter_async_context(self._storage())
            servers = await starting.enter_async_context(_OnOneThread())
            database_url = await servers.enter(postgres_server(folder / "catalogue"))
            broker_url = await servers.enter(redis_server(folder / "queue"))
            token = secrets.token_urlsafe(32)
            environment = {
                **store.environment,
                "DATABASE_URL": database_url,
                "LIVEDUB_EXECUTOR": "celery",
                "LIBRARY_BROKER_URL": broker_url,
                "LIBRARY_API_TOKEN": token,
                "LIBRARY_CALLBACK_SECRET": secrets.token_urlsafe(32),
            }
            api_url = await self._start_api(environment, starting)
            url = await starting.enter_async_context(
                supervised_media_front(
                    self._supervisor, self._run_dir, store, api_url=api_url, port=self._options.port
                )
            )
            self._library = Library(url, token, store, {**environment, "LIBRARY_API_URL": url})
            self._exit = starting.pop_all()
        return self.library

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def start_worker(self, environment: Mapping[str, str | None]) -> ChildProcess:
        """Start a worker for jobs; `environment` says where it finds the speech service. It takes jobs once it is up."""
        child = await self._supervisor.start(
            python_spec(
                "library-worker",
                "media_edge.library",
                "celery",
                env={**environment, **self.library.environment},
                stop_timeout_s=_WORKER_STOP_S,
                niceness=_NICENESS,
            )
        )
        self._exit.push_async_callback(self._supervisor.stop, child)
        return child

    def _storage(self) -> AbstractAsyncContextManager[ObjectStore]:
        options = self._options
        if options.s3_url:
            return external_object_store(options.s3_url)
        return supervised_object_store(
            self._supervisor, options.folder / "objects", port=options.objects_port
        )

    async def _start_api(self, environment: Mapping[str, str], starting: AsyncExitStack) -> str:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        child = await self._supervisor.start(
            python_spec(
                "library-api",
                "local.function_front",
                *(str(ROOT / "functions" / "library_api"), "--port", str(port)),
                *("--workers", str(self._options.api_processes)),
                env=environment,
                stop_timeout_s=_API_STOP_S,
            ),
            ready=http_ready(f"{url}{OPENAPI_PATH}"),
            ready_timeout_s=_API_READY_S,
        )
        starting.push_async_callback(self._supervisor.stop, child)
        return url


class _OnOneThread:
    """Context managers that are entered and left on one thread of their own, because their servers end with it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="servers")
        self._entered = ExitStack()

    async def __aenter__(self) -> _OnOneThread:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._entered.close)
        finally:
            self._thread.shutdown()

    async def enter(self, manager: AbstractContextManager[str]) -> str:
        """Enter one; what it gives."""
        entering = asyncio.get_running_loop().run_in_executor(
            self._thread, self._entered.enter_context, manager
        )
        # Whoever is cancelled meanwhile still leaves what was being entered: the same thread does both, in turn.
        return await entering
