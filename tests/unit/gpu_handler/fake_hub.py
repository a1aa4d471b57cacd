"""The part of the Hugging Face Hub's HTTP interface that a download needs, and plain files, on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(ThreadingHTTPServer):
    """Serves `files` as one repository at `COMMIT`, and `plain` by path; counts what is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.plain: dict[str, bytes] = {}
        self.repository = "someone/model"
        self.commit = COMMIT
        self.cut_after: int | None = None
        """A download sends that many bytes and drops the connection; once."""
        self.ranges: list[str] = []
        self.downloads: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep test output clean."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        hub = self.server
        api = f"/api/models/{hub.repository}"
        if path.startswith(f"{api}/revision/"):
            siblings = [{"rfilename": name} for name in hub.files]
            self._json({"id": hub.repository, "sha": hub.commit, "siblings": siblings})
        elif path.startswith(f"{api}/tree/"):
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}  # noqa: S324
                    for name, data in hub.files.items()
                ]
            )
        elif path.startswith(f"/{hub.repository}/resolve/"):
            self._file(hub.files.get(path.split("/", 5)[5]), path, body=body)
        else:
            self._file(hub.plain.get(path), path, body=body)

    def _json(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _file(self, data: bytes | None, path: str, *, body: bool) -> None:
        if data is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.server.commit)
        self.end_headers()
        if not body:
            return
        self.server.downloads.append(path)
        if asked:
            self.server.ranges.append(asked)
        cut, self.server.cut_after = self.server.cut_after, None
        if cut is None:
            self.wfile.write(data[start:])
        else:
            self.wfile.write(data[start : start + cut])
            self.close_connection = True


@contextmanager
def running_hub() -> Generator[FakeHub]:
    """A hub on a free port for the length of the block."""
    hub = FakeHub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join(10)
        hub.server_close()
