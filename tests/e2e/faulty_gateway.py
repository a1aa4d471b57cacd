"""An HTTP forwarder whose faults a test chooses: requests that are lost, answers that are remembered."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_TIMEOUT_S = 70.0
"""A long poll of a queue lasts 20 s."""
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as they were passed on."""

    method: str
    path: str
    target: str
    body: bytes = field(repr=False)
    status: int
    answer: bytes = field(repr=False)


class FaultyGateway:
    """Passes every request on to `url`, unless `lose` says that this one gets lost; a context manager.

    A lost request is answered 503, without ever arriving. `heard` is called after each exchange, in the thread that
    served it.
    """

    def __init__(self, url: str, *, heard: Callable[[Exchange], None] | None = None) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._heard = heard
        self._lost: list[str] = []
        self.lost: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> FaultyGateway:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def lose(self, *suffixes: str) -> None:
        """From now on lose requests whose path ends so; none: lose nothing."""
        self._lost = list(suffixes)

    def _is_lost(self, path: str) -> bool:
        gone = any(path.endswith(suffix) for suffix in self._lost)
        if gone:
            self.lost.append(path)
        return gone

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = _TIMEOUT_S

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if gateway._is_lost(self.path):
                    self._answer(503, {}, b"")
                    return
                connection = http.client.HTTPConnection(*gateway._target, timeout=_TIMEOUT_S)
                try:
                    headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
                    connection.request(self.command, self.path, body, headers)
                    response = connection.getresponse()
                    answer = response.read()
                    kept = {k: v for k, v in response.getheaders() if k.lower() not in _HOP_BY_HOP}
                except (OSError, http.client.HTTPException):
                    self._answer(502, {}, b"")
                    return
                finally:
                    connection.close()
                self._answer(response.status, kept, answer)
                if gateway._heard is not None:
                    target = self.headers.get("X-Amz-Target", "")
                    gateway._heard(Exchange(self.command, self.path, target, body, response.status, answer))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _pass_on  # noqa: N815

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() != "content-length":
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:  # who asked is gone, or the wire is cut
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing: a test's output is its assertion."""

        return Handler
