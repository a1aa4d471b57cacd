"""A media-cache host as a process, and clients that speak to it byte by byte."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from livedub.media_cache.key import Variant, object_path
from livedub.media_cache.tls_material import self_signed, write_material

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "tok-0123456789abcdef"  # noqa: S105 - of these tests alone
_START_S = 60.0
_STOP_S = 30.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


def path_of(name: str, variant: Variant = Variant.ALAW) -> str:
    """The path of a key that `name` stands for."""
    return object_path(hashlib.sha256(name.encode()).hexdigest(), variant)


def auth(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def wait_until(reached: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := reached():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {timeout_s} s")


class _Process:
    """A child of the test whose stdout lines can be waited for."""

    def __init__(self, arguments: list[str], env: Mapping[str, str], log: IO[bytes]) -> None:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "TTS_MEDIA_"))
        }
        clean.pop("DATABASE_URL", None)
        paths = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "media_edge.cache", *arguments],
            env={**clean, "PYTHONPATH": paths, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)

    def line(self) -> str | None:
        """The next line of stdout; None at its end."""
        return self._lines.get(timeout=_START_S)

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(5)
            if self.process.stdout:
                self.process.stdout.close()


class MediaHost:
    """`python -m media_edge.cache up` on a free port; a context manager."""

    def __init__(self, folder: Path, *, data_dir: Path | None = None, **env: str) -> None:
        self.folder = folder
        self.data_dir = data_dir or folder / "data"
        self.tls_path = folder / "host"
        self.run_dir = folder / "run"
        self.log = folder / "host.log"
        self.env = {"MEDIA_UPLOAD_TOKEN": TOKEN, "XDG_DATA_HOME": str(folder / "caddy-data"), **env}
        self.variables: dict[str, str] = {}
        self._process: _Process | None = None

    def new_certificate(self) -> bytes:
        """Write another key and certificate; its DER."""
        material = self_signed(["127.0.0.1"], ["localhost"])
        write_material(self.tls_path / "tls", material)
        return ssl.PEM_cert_to_DER_cert(material.fullchain_pem.decode())

    def __enter__(self) -> MediaHost:
        if not (self.tls_path / "tls" / "fullchain.pem").exists():
            self.new_certificate()
        arguments = ["up", "--port", "0", "--data-dir", str(self.data_dir), "--tls-path", str(self.tls_path)]
        with self.log.open("ab") as log:
            self._process = _Process([*arguments, "--run-dir", str(self.run_dir)], self.env, log)
        try:
            while "TTS_MEDIA_CACHE_CA_BUNDLE" not in self.variables:
                line = self._process.line()
                assert line is not None, self.log.read_text()
                match = re.fullmatch(r"export (\w+)=(\S+)", line)
                assert match, line
                self.variables[match[1]] = match[2]
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self._process
        return self._process.end(number)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.process.pid

    @property
    def port(self) -> int:
        return int(self.variables["TTS_MEDIA_CACHE_BASE_URL"].rpartition(":")[2])

    def children(self) -> dict[str, int]:
        """Process ids of Caddy and of the upload service."""
        pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        found: dict[str, int] = {}
        for pid in map(int, pids):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found["caddy" if command[0].endswith(b"caddy") else "upload"] = pid
        return found

    def context(self) -> ssl.SSLContext:
        """What a consumer trusts."""
        pem = base64.b64decode(self.variables["TTS_MEDIA_CACHE_CA_BUNDLE"]).decode()
        return ssl.create_default_context(cadata=pem)

    def connect(self, timeout_s: float = 30.0) -> ssl.SSLSocket:
        return self.connect_trusting(self.context(), timeout_s)

    def connect_trusting(self, context: ssl.SSLContext, timeout_s: float = 30.0) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return context.wrap_socket(plain, server_hostname="127.0.0.1")
        except BaseException:
            plain.close()
            raise

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.context())
        try:
            return exchange(connection, method, path, body, headers)
        finally:
            connection.close()

    def put(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("PUT", path, body, {**auth(), **(headers or {})})

    def file(self, path: str) -> Path:
        return self.data_dir / path.removeprefix("/")

    def objects(self) -> list[Path]:
        return [file for file in (self.data_dir / "media").rglob("*") if file.is_file()]


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    if isinstance(body, bytes):
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
    elif body is not None:
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(body, encode_chunked=True)
    else:
        connection.endheaders()
    answer = connection.getresponse()
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def raw(connection: socket.socket, data: bytes) -> Reply:
    """Send bytes as they are and read one response."""
    connection.sendall(data)
    return read_reply(connection)


def read_reply(connection: socket.socket) -> Reply:
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        body = answer.read()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)
    finally:
        answer.close()


class UploadService:
    """`python -m media_edge.cache serve` alone on its socket; a context manager that may be killed."""

    def __init__(self, folder: Path, data_dir: Path, **env: str) -> None:
        self.socket = folder / "u.sock"
        self.data_dir = data_dir
        self.log = folder / "upload.log"
        self.env = {
            "MEDIA_UPLOAD_TOKEN": TOKEN,
            "MEDIA_SOCKET": str(self.socket),
            "MEDIA_DATA_DIR": str(data_dir),
            **env,
        }
        self._process: _Process | None = None

    def __enter__(self) -> UploadService:
        with self.log.open("ab") as log:
            self._process = _Process(["serve"], self.env, log)
        line = self._process.line()
        if line is None or '"ready"' not in line:
            self._process.end(signal.SIGKILL)
            raise AssertionError(self.log.read_text())
        wait_until(self._answers, "the upload service answers")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self._process
        return self._process.end(number)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.process.pid

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/health").status == 200
        except OSError:
            return False

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(30)
        connection.connect(str(self.socket))
        return connection

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or auth()).items()]
        with self.connect() as connection:
            return raw(connection, "\r\n".join([*lines, "", ""]).encode() + body)
