"""The answers nginx-rtmp wants before it lets a publisher in: a loopback server for `on_publish` and its kin.

It checks the path (the name becomes a file name below the HLS folder) and makes the folder that nginx does not make
itself. Who may come in is the relay's to say (`relay_url`): it gets every call as nginx made it, and a relay that
does not answer lets nobody in. Without a relay `out` is for this machine alone, and `hook_url` is told as MediaMTX's
hook does (media_edge/mediamtx): a hook is a hint, so a receiver that fails keeps no publisher out.
"""

from __future__ import annotations

import http.client
import ipaddress
import logging
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from livedub.errors import InvalidInputError
from local.media_servers.base import APPLICATION, StreamPath

_MAX_FORM_BYTES = 8192
_TIMEOUT_S = 5.0
_RELAY_TIMEOUT_S = 9.0
"""More than the relay takes to decide (RELAY_AUTH_TIMEOUT_MS), less than nginx waits (10 s)."""

log = logging.getLogger(__name__)


class NginxHooks:
    """The hook server; listens from `start` to `stop` in a thread of its own.

    A thread, because nginx blocks the publisher until it is answered, whatever our event loop does meanwhile.
    """

    def __init__(
        self, hls_dir: Path, *, trusted: frozenset[str], hook_url: str | None, relay_url: str | None = None
    ) -> None:
        """`trusted`: addresses besides the loopback that may publish `out` where no relay decides."""
        self._hls_dir = hls_dir
        self._trusted = trusted
        self._hook_url = hook_url
        self._relay_url = relay_url
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen on a free loopback port and return it."""
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_S

            def do_POST(self) -> None:
                status = hooks.answer(self._body())
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _body(self) -> bytes:
                length = self.headers.get("Content-Length", "")
                if not length.isdigit() or int(length) > _MAX_FORM_BYTES:
                    return b""
                return self.rfile.read(int(length))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                log.debug(format, *args)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="nginx hooks", daemon=True
        )
        self._thread.start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening; harmless when it does not listen."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_TIMEOUT_S)
        self._server = self._thread = None

    def answer(self, body: bytes) -> HTTPStatus:
        """The status for one call (a form); anything but 2xx makes nginx refuse the client."""
        # The first of each: nginx's own fields come before the client's query, which may name them once more.
        form = {key: values[0] for key, values in parse_qs(body.decode("ascii", errors="replace")).items()}
        call, name = form.get("call", ""), form.get("name", "")
        try:
            path = StreamPath.parse(name)
        except InvalidInputError as error:
            log.warning("refused %s: %s", call or "a call without a name", error)
            return HTTPStatus.FORBIDDEN
        if form.get("app") != APPLICATION or not self._admitted(path, form, body):
            log.warning("refused %s of %s from %s", call, path.path, form.get("addr"))
            return HTTPStatus.FORBIDDEN
        if call == "publish":
            folder = self._hls_dir / path.stream_id
            folder.mkdir(parents=True, exist_ok=True)
            # Else a player that comes before the first part is complete plays what was on before.
            (folder / f"{path.name}.m3u8").unlink(missing_ok=True)
        if self._hook_url and not self._relay_url and path.name == "in" and call != "play":
            self._tell(self._hook_url, path, form)
        return HTTPStatus.OK

    def _admitted(self, path: StreamPath, form: dict[str, str], body: bytes) -> bool:
        if self._relay_url:
            status = self._post(f"{self._relay_url}/nginx", body)
            return status is not None and 200 <= status < 300
        return form.get("call") == "play" or self._may_publish(path, form.get("addr", ""))

    def _may_publish(self, path: StreamPath, address: str) -> bool:
        if path.name == "in" or address in self._trusted:
            return True
        try:
            return ipaddress.ip_address(address).is_loopback
        except ValueError:
            return address.startswith("unix:")

    def _tell(self, hook_url: str, path: StreamPath, form: dict[str, str]) -> None:
        fields = {
            "event": "ready" if form.get("call") == "publish" else "not_ready",
            "path": path.path,
            "query": form.get("args", ""),
            "source_type": "rtmpConn",
            "source_id": form.get("clientid", ""),
        }
        status = self._post(hook_url, urlencode(fields).encode())
        if status is not None and not 200 <= status < 300:
            log.warning("the hook %s answered %d to %s", hook_url, status, path.path)

    def _post(self, receiver: str, body: bytes) -> int | None:
        """The status a form is answered with; None when nobody answers."""
        url = urlsplit(receiver)
        timeout_s = _RELAY_TIMEOUT_S if self._relay_url else _TIMEOUT_S
        connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=timeout_s)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", url.path or "/", body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            log.warning("%s does not answer: %s", receiver, error)
            return None
        finally:
            connection.close()
