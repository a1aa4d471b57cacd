"""Prometheus figures on a registry of their own, served over HTTP from a thread where that is asked for."""

from __future__ import annotations

from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server


class ServedMetrics:
    """Base of a process's figures; without `serve` they cost next to nothing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._server: WSGIServer | None = None

    def serve(self, host: str, port: int) -> int:
        """Open the endpoint; returns its port.

        Raises:
            OSError: the port is taken.
        """
        self._server, _ = start_http_server(port, addr=host, registry=self.registry)
        return int(self._server.server_port)

    def close(self) -> None:
        """Close the endpoint; safe to call without one, and twice."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
