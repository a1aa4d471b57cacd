"""Loopback TCP ports for servers that a test or a stack starts."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from livedub.errors import ConfigurationError


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return `count` distinct TCP ports nobody listens on now.

    The kernel hands out ephemeral ports in a rotating order, so another process is unlikely to be given the same
    one before the caller binds it; a server that still finds it taken fails loudly at its own bind.
    """
    with ExitStack() as held:
        ports: list[int] = []
        for _ in range(count):
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind((host, 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def free_port(host: str = "127.0.0.1") -> int:
    """Return one TCP port nobody listens on now."""
    return free_ports(1, host)[0]


def require_free(host: str, port: int, *, needed_by: str) -> None:
    """Check that `port` can be bound.

    Raises:
        ConfigurationError: something else listens there, or `host` is no address of this machine.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # What a server's own listener does; without it a port that was closed a moment ago looks taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"{needed_by} cannot listen on {host}:{port}: {error.strerror}.",
                remedy="Stop what holds the port (ss -ltnp shows it) or choose another address or port.",
            ) from error
