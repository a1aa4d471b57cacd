"""The emulator as a process: one port for clients and workers, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from livedub.errors import ConfigurationError
from local.runpod.account import Account
from local.runpod.account_api import account_routes
from local.runpod.client_api import client_routes
from local.runpod.endpoint import Endpoint
from local.runpod.limits import Limits
from local.runpod.worker_api import worker_routes

log = logging.getLogger(__name__)

DEFAULT_ENDPOINT_ID = "livedub-sts"
_HOST = "127.0.0.1"
_BACKLOG = 512
_KEEP_ALIVE_S = 75
_DRAIN_S = 3


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """What is emulated, and where; port 0 takes a free one. An empty key lets everybody in."""

    port: int = 0
    endpoints: Sequence[str] = (DEFAULT_ENDPOINT_ID,)
    key: str = field(default="", repr=False)
    ready_file: Path | None = None
    limits: Limits = field(default_factory=Limits)


class _Server(uvicorn.Server):
    """Ends every long poll on a signal: else the drain would wait for each of them."""

    def __init__(self, config: uvicorn.Config, endpoints: Mapping[str, Endpoint]) -> None:
        super().__init__(config)
        self._endpoints = endpoints
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.close()


def create_app(
    endpoints: MutableMapping[str, Endpoint],
    key: str = "",
    *,
    new_endpoint: Callable[[], Endpoint] | None = None,
) -> Starlette:
    """Both APIs of these endpoints, and the account's, which adds to them and takes away what it has added."""
    account = Account(endpoints, new_endpoint or (lambda: Endpoint(Limits())))
    return Starlette(
        routes=[
            *account_routes(account, key),
            *client_routes(endpoints, key),
            *worker_routes(endpoints, key),
        ]
    )


def serve(options: EmulatorOptions) -> None:
    """Run until SIGTERM or SIGINT; says {"event": "ready", "url": ...} on stdout and into the ready file.

    Raises:
        ConfigurationError: the port is taken.
    """
    listener = _listen(options.port)
    with listener:
        asyncio.run(_serve(options, listener))


async def _serve(options: EmulatorOptions, listener: socket.socket) -> None:
    endpoints = {name: Endpoint(options.limits) for name in options.endpoints}
    config = uvicorn.Config(
        create_app(endpoints, options.key, new_endpoint=lambda: Endpoint(options.limits)),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    server = _Server(config, endpoints)
    # uvicorn takes these only once it serves, and raises them again at the end for whoever had them before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    # Connections queue up in the listener from here on: who reads the line may connect at once.
    url = f"http://{_HOST}:{listener.getsockname()[1]}"
    ready = json.dumps({"event": "ready", "url": url, "endpoints": list(endpoints)})
    if options.ready_file is not None:
        options.ready_file.write_text(ready + "\n", encoding="utf-8")
    sys.stdout.write(ready + "\n")
    sys.stdout.flush()
    await server.serve(sockets=[listener])


def _listen(port: int) -> socket.socket:
    """A listening socket that names TCP: only then does asyncio set TCP_NODELAY on what it accepts."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"the RunPod emulator cannot listen on {_HOST}:{port}: {error.strerror}.",
            remedy="Stop what holds the port, or give --port 0.",
        ) from error
    return listener
