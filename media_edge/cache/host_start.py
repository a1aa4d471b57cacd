"""The parts of a media-cache host, started one after the other."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from cryptography import x509

from livedub.errors import LivedubError
from livedub.media_cache.tls_material import TlsMaterial
from media_edge.cache.caddy_program import caddy_program
from media_edge.cache.children import Child, ChildError
from media_edge.cache.host_paths import HostPaths
from media_edge.cache.host_settings import HostSettings
from media_edge.cache.housekeeping import clean_up_every
from media_edge.cache.own_catalogue import own_catalogue
from media_edge.cache.served_certificate import served_certificate
from media_edge.cache.upload_settings import UploadSettings

CADDYFILE = Path(__file__).with_name("Caddyfile")
_READY_TIMEOUT_S = 30.0
_POLL_S = 0.05
_CADDY_STOP_S = 15.0
_UPLOAD_STOP_MARGIN_S = 5.0
_CLEANUP_WRITER = "livedub-cleanup"


class HostPart(Protocol):
    """What must not end by itself."""

    async def ended(self) -> None:
        """Wait until it ends."""
        ...

    def end(self) -> ChildError:
        """How it ended."""
        ...


class HostStart:
    """Starts the parts in order, each once the one before it serves; `stack` ends them the other way round."""

    def __init__(
        self,
        host: HostSettings,
        upload: UploadSettings,
        paths: HostPaths,
        material: TlsMaterial,
        stack: AsyncExitStack,
    ) -> None:
        self._host = host
        self._upload = upload
        self._paths = paths
        self._material = material
        self._stack = stack
        self._port = host.port
        self._database_url = upload.database_url.get_secret_value()
        # The clean-up's own, so that no writer's token need be known, and so that the figures tell it apart.
        self._cleanup_token = secrets.token_urlsafe(32)
        self.parts: list[HostPart] = []

    async def run(self) -> None:
        """Start all of them.

        Raises:
            LivedubError: see `run_host`.
        """
        program = await asyncio.to_thread(caddy_program, self._host.caddy)
        if not self._database_url and self._host.catalogue_dir is not None:
            await self._start_catalogue(self._host.catalogue_dir.absolute())
        self._port = self._port or _free_port(self._host.bind)
        environment = self._environment()
        service = await self._child(
            "the upload service",
            (sys.executable, "-m", "media_edge.cache", "serve"),
            environment,
            stop_s=self._upload.drain_timeout_s + _UPLOAD_STOP_MARGIN_S,
        )
        await _until(service, lambda: _is_healthy(self._paths.upload_socket))
        caddy = await self._child(
            "Caddy",
            (program, "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"),
            {**environment, "GOGC": "400", "GOMEMLIMIT": "1GiB"},
            stop_s=_CADDY_STOP_S,
        )
        address, leaf = _reachable(self._host.bind), self._material.leaf
        await _until(caddy, lambda: _serves(leaf, address, self._port))
        if self._host.cleanup_every_s and self._database_url:
            self._start_clean_up(environment)

    def exports(self) -> dict[str, str]:
        """The variables of a consumer."""
        name = self._host.public_host or _reachable(self._host.bind)
        token = self._upload.upload_token.get_secret_value()
        return {
            "TTS_MEDIA_CACHE_BASE_URL": f"https://{_bracketed(name)}:{self._port}",
            **({"TTS_MEDIA_CACHE_UPLOAD_TOKEN": token} if token else {}),
            # Empty where a public authority signed: the machine's own authorities are meant then.
            "TTS_MEDIA_CACHE_CA_BUNDLE": base64.b64encode(self._material.ca_pem).decode("ascii"),
        }

    async def _start_catalogue(self, folder: Path) -> None:
        catalogue = await self._stack.enter_async_context(own_catalogue(folder))
        self.parts.append(catalogue)
        self._database_url = catalogue.url
        # A Unix socket, so there is no password in it.
        sys.stderr.write(f"catalogue in {folder}, DATABASE_URL={shlex.quote(catalogue.url)}\n")

    async def _child(
        self, name: str, argv: tuple[str, ...], environment: Mapping[str, str], *, stop_s: float
    ) -> Child:
        child = await Child.start(name, argv, environment)
        self._stack.push_async_callback(child.stop, stop_s)
        self.parts.append(child)
        return child

    def _start_clean_up(self, environment: Mapping[str, str]) -> None:
        token = "" if self._upload.auth_disabled else self._cleanup_token
        consumer = {**self.exports(), "TTS_MEDIA_CACHE_UPLOAD_TOKEN": token}
        every_s, data_dir = self._host.cleanup_every_s, self._paths.data_dir
        task = asyncio.create_task(clean_up_every(every_s, data_dir, {**environment, **consumer}))
        self._stack.push_async_callback(_cancelled, task)

    def _environment(self) -> Mapping[str, str]:
        host, upload, paths = self._host, self._upload, self._paths
        tokens = upload.upload_tokens.get_secret_value()
        if not upload.auth_disabled:
            tokens = ",".join(filter(None, (tokens, f"{_CLEANUP_WRITER}={self._cleanup_token}")))
        ours = {
            "MEDIA_BIND": host.bind,
            "MEDIA_PORT": str(self._port),
            "MEDIA_HTTPS_ADDRESS": f"{_bracketed(_reachable(host.bind))}:{self._port}",
            "MEDIA_TLS_CERT_HOST_PATH": str(paths.tls_dir.parent),
            "MEDIA_DATA_DIR": str(paths.data_dir),
            "MEDIA_SOCKET": str(paths.upload_socket),
            "MEDIA_CADDY_ADMIN_SOCKET": str(paths.admin_socket),
            "MEDIA_CADDY_METRICS_HOST": host.caddy_metrics_host,
            "MEDIA_CADDY_METRICS_PORT": str(host.caddy_metrics_port or _free_port(host.caddy_metrics_host)),
            "MEDIA_READ_METRICS": host.read_metrics,
            "MEDIA_MAX_BODY_BYTES": str(upload.max_body_bytes),
            "MEDIA_UPLOAD_TOKEN": upload.upload_token.get_secret_value(),
            "MEDIA_UPLOAD_TOKENS": tokens,
            "DATABASE_URL": self._database_url,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONSAFEPATH": "1",
        }
        return {**os.environ, **ours}


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _until(child: Child, reached: Callable[[], bool]) -> None:
    """Wait until `reached`, asked in a thread.

    Raises:
        ChildError: the child ended first.
        LivedubError: it took longer than the bound.
    """
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            while not await asyncio.to_thread(reached):
                if not child.running:
                    await asyncio.sleep(_POLL_S)
                    raise child.end()
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise LivedubError(f"{child.name} does not serve after {_READY_TIMEOUT_S:.0f} s.") from None


def _is_healthy(upload_socket: Path) -> bool:
    """Whether the service itself answers: its socket takes connections from before it is ready to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(upload_socket))
            probe.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return probe.recv(64).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


def _serves(leaf: x509.Certificate, address: str, port: int) -> bool:
    try:
        served = served_certificate(address, port)
    except OSError:
        return False
    # Somebody else's server on this port would be healthy too.
    return served == leaf


def _reachable(bind: str) -> str:
    """An address that reaches `bind` from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 - compared, not bound


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _free_port(bind: str) -> int:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((bind, 0))
        return int(probe.getsockname()[1])
