"""The STS service as a process: opens its port, loads models behind it, drains on SIGTERM, dies with its parent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import uvicorn
from starlette.applications import Starlette

from gpu_handler.dispatcher import Dispatcher
from gpu_handler.exit_codes import AddressError, ExitCode, exit_code_for
from gpu_handler.http_connection import BoundedConnection
from gpu_handler.http_service import create_app
from gpu_handler.pipeline import Pipeline
from gpu_handler.service_metrics import ServiceMetrics
from gpu_handler.settings import StsSettings
from livedub.errors import LivedubError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.policy_connection import connect_cache_policy

logger = logging.getLogger(__name__)

_BACKLOG = 128
_KEEP_ALIVE_S = 75
"""Longer than any client of ours keeps an idle connection: the client closes first and never meets a dead one."""
_SPARE_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class DrainLimits:
    """How long a stopping service may take: for fragments under way, then for engines to stop."""

    fragments_s: int = 8
    engines_s: float = 4.0


class StsServer:
    """One service process. `run` blocks until it is told to stop and returns the exit code."""

    def __init__(
        self,
        settings: StsSettings,
        *,
        media_cache: MediaCacheSettings | None = None,
        drain: DrainLimits | None = None,
    ) -> None:
        self._settings = settings
        self._cache_policy = connect_cache_policy(media_cache) if media_cache else None
        self._drain = drain or DrainLimits()
        self._exit_code = ExitCode.DONE
        pipeline = Pipeline.from_settings(settings, cache_policy=self._cache_policy)
        metrics = ServiceMetrics()
        metrics.watch_stages(lambda: pipeline.counts)
        if (policy := self._cache_policy) is not None:
            metrics.watch_media_cache(lambda: asdict(policy.counts))
        self._dispatcher = Dispatcher(
            pipeline,
            max_concurrency=settings.max_concurrency,
            queue_size=settings.queue_size,
            metrics=metrics,
        )
        app = create_app(self._dispatcher, api_keys=settings.api_keys, lifespan=self._lifespan)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                ws="none",
                http=BoundedConnection,
                loop="asyncio",  # the same everywhere, whatever else is installed
                limit_concurrency=2 * (settings.max_concurrency + settings.queue_size) + _SPARE_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=self._drain.fragments_s,
            )
        )
        self._url = ""

    def run(self) -> ExitCode:
        """Serve until SIGTERM or SIGINT.

        Raises:
            AddressError: the address cannot be listened on.
        """
        listener = _listen(self._settings.api_host, self._settings.api_port)
        host, port = listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        # uvicorn drains on these, then raises them again for whoever had them before: nobody must die of it then. And
        # none that comes before uvicorn listens for them may be lost.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._server.handle_exit)
        with listener:
            self._server.run(sockets=[listener])
        return self._exit_code

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        logger.info("listening on %s, loading models", self._url)
        loading = asyncio.create_task(self._load(), name="load models")
        connecting = asyncio.create_task(self._connect_cache(), name="connect to the media cache")
        try:
            yield
        finally:
            logger.info("stopping")
            # A thread inside an engine cannot be interrupted, and Python waits for threads: this bounds the wait.
            watchdog = threading.Timer(self._drain.engines_s, self._give_up)
            watchdog.daemon = True
            watchdog.start()
            connecting.cancel()
            await asyncio.wait({loading, connecting})
            await self._dispatcher.close()
            if self._cache_policy is not None:
                await self._cache_policy.aclose()

    async def _load(self) -> None:
        try:
            await self._dispatcher.load()
        except LivedubError as error:
            logger.error("%s", error)
            self._stop(exit_code_for(error))
        except Exception:
            logger.exception("loading models failed")
            self._stop(ExitCode.CRASHED)
        else:
            models = ", ".join(sorted(set(self._dispatcher.health.models.values())))
            sys.stdout.write(f"STS ready on {self._url}: {models}\n")
            sys.stdout.flush()

    async def _connect_cache(self) -> None:
        if self._cache_policy is not None:
            await self._cache_policy.warm_up()

    def _stop(self, exit_code: ExitCode) -> None:
        self._exit_code = exit_code
        self._server.should_exit = True

    def _give_up(self) -> None:
        logger.warning("an engine did not stop within %g s; leaving it behind", self._drain.engines_s)
        logging.shutdown()
        os._exit(self._exit_code)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket that names TCP: only then does asyncio set TCP_NODELAY on what it accepts.

    Without it an answer's head and body, written apart, lie 40 ms apart (Nagle's algorithm against delayed ACKs).
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise AddressError(
            f"cannot listen on {host}:{port} (STS_API_HOST, STS_API_PORT): {error.strerror or error}.",
            remedy="Stop what listens there, or choose another address.",
        ) from error
    return listener
