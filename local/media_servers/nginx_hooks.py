"""The answers nginx-rtmp wants before it lets a publisher in: a loopback server for `on_publish` and its kin.

It checks the path (the name becomes a file name below the HLS folder), keeps `out` for this machine, makes the
folder that nginx does not make itself, and tells `hook_url` as MediaMTX's hook does (media_edge/mediamtx).
A hook is a hint: a receiver that fails keeps no publisher out.
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

log = logging.getLogger(__name__)


class NginxHooks:
    """The hook server; listens from `start` to `stop` in a thread of its own.

    A thread, because nginx blocks the publisher until it is answered, whatever our event loop does meanwhile.
    """

    def __init__(self, hls_dir: Path, *, trusted: frozenset[str], hook_url: str | None) -> None:
        """`trusted`: addresses besides the loopback that may publish `out`."""
        self._hls_dir = hls_dir
        self._trusted = trusted
        self._hook_url = hook_url
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen on a free loopback port and return it."""
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_S

            def do_POST(self) -> None:
                status = hooks.answer(self._form())
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _form(self) -> dict[str, str]:
                length = self.headers.get("Content-Length", "")
                if not length.isdigit() or int(length) > _MAX_FORM_BYTES:
                    return {}
                body = self.rfile.read(int(length)).decode("ascii", errors="replace")
                return {key: values[0] for key, values in parse_qs(body).items()}

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

    def answer(self, form: dict[str, str]) -> HTTPStatus:
        """The status for one call; anything but 2xx makes nginx refuse the publisher."""
        call, name = form.get("call", ""), form.get("name", "")
        try:
            path = StreamPath.parse(name)
        except InvalidInputError as error:
            log.warning("refused %s: %s", call or "a call without a name", error)
            return HTTPStatus.FORBIDDEN
        if form.get("app") != APPLICATION or not self._may_publish(path, form.get("addr", "")):
            log.warning("refused %s of %s from %s", call, path.path, form.get("addr"))
            return HTTPStatus.FORBIDDEN
        if call == "publish":
            folder = self._hls_dir / path.stream_id
            folder.mkdir(parents=True, exist_ok=True)
            # Else a player that comes before the first part is complete plays what was on before.
            (folder / f"{path.name}.m3u8").unlink(missing_ok=True)
        if self._hook_url and path.name == "in":
            self._tell(self._hook_url, path, form)
        return HTTPStatus.OK

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
        url = urlsplit(hook_url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=_TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", url.path or "/", urlencode(fields), headers)
            status = connection.getresponse().status
            if not 200 <= status < 300:
                log.warning("the hook %s answered %d to %s", hook_url, status, fields)
        except (OSError, http.client.HTTPException) as error:
            log.warning("the hook %s does not answer: %s", hook_url, error)
        finally:
            connection.close()
