"""`python -m media_edge.mediamtx.relay`: one relay, set up by RELAY_* variables, until SIGTERM."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from contextlib import ExitStack

import uvicorn

from livedub.errors import ConfigurationError, LivedubError
from livedub.observability import configure_logging
from media_edge.mediamtx.relay.relay_app import Relay
from media_edge.mediamtx.relay.settings import RelaySettings

_BACKLOG = 256
_MOST_CONNECTIONS = 1_024
_KEEP_ALIVE_S = 30
_SETTINGS_WRONG = 2

log = logging.getLogger("media_edge.mediamtx.relay")


def main() -> int:
    """Serve; 0 after SIGTERM, 2 when the settings are wrong."""
    try:
        settings = RelaySettings.load()
        configure_logging(
            style=settings.log_style,
            level=settings.log_level,
            secrets=[settings.signing_key.get_secret_value()],
            fields={"relay_id": settings.relay_id},
        )
        with ExitStack() as stack:
            listeners = [stack.enter_context(_listen("RELAY", settings.host, settings.port))]
            if settings.kick_host:
                listeners.append(
                    stack.enter_context(_listen("RELAY_KICK", settings.kick_host, settings.kick_port))
                )
            serve(settings, listeners)
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return _SETTINGS_WRONG
    return 0


def serve(settings: RelaySettings, listeners: list[socket.socket]) -> None:
    """Serve until SIGTERM or SIGINT: then nothing more is taken, and waiting hooks get their time to leave."""
    relay = Relay(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            relay.app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            backlog=_BACKLOG,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.auth_timeout_ms // 1_000 + 1,
        )
    )
    # uvicorn drains on these, then raises them again for whoever had them before: nobody must die of it then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    address = f"http://{settings.host}:{listeners[0].getsockname()[1]}"
    log.info("listening on %s for %s, forwarding to %s", address, settings.server, settings.api_url)
    sys.stdout.write(json.dumps({"event": "ready", "address": address}) + "\n")
    sys.stdout.flush()
    asyncio.run(server.serve(sockets=listeners))
    log.info("stopped")


def _listen(name: str, host: str, port: int) -> socket.socket:
    """A listening socket; a connection that comes before the server runs waits in its backlog.

    Raises:
        ConfigurationError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(
            f"{name}_HOST and {name}_PORT: the relay cannot listen on {host}:{port} ({error}).",
            remedy="Choose another address or port.",
        ) from None
    listener.setblocking(False)  # noqa: FBT003 - positional only
    return listener


if __name__ == "__main__":
    sys.exit(main())
