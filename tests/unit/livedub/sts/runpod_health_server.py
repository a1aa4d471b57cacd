"""A RunPod endpoint of which only /health and /run exist, on a port of its own, answering what the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENDPOINT_ID = "abc123"
KEY = "key-of-the-endpoint"


class HealthServer:
    """`health` is the next answers' body, `status` their status; `jobs` what was handed in."""

    def __init__(self) -> None:
        self.health: Any = {"workers": {"idle": 0}, "jobs": {"inQueue": 0}}
        self.status = 200
        self.jobs: list[Any] = []
        self.keys: set[str] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(f"/v2/{ENDPOINT_ID}/health", server.health)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                server.jobs.append(json.loads(body))
                self._answer(f"/v2/{ENDPOINT_ID}/run", {"id": "j1", "status": "IN_QUEUE"})

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

            def _answer(self, path: str, document: Any) -> None:
                server.keys.add(self.headers["authorization"])
                body = json.dumps(document).encode()
                self.send_response(server.status if self.path == path else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v2"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@contextmanager
def health_server() -> Iterator[HealthServer]:
    """One that serves while the block runs."""
    server = HealthServer()
    try:
        yield server
    finally:
        server.stop()
