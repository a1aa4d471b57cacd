"""nginx with the RTMP module (Debian: nginx-light, libnginx-mod-rtmp), where no MediaMTX is at hand."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from string import Template
from xml.etree import ElementTree as ET  # the document comes from the server we started

from typing_extensions import override

from livedub.errors import InvalidInputError, MissingPrerequisiteError
from local.loopback_client import http_request
from local.media_servers.base import APPLICATION, MediaServer, MediaServerOptions, StreamPath
from local.media_servers.nginx_hooks import NginxHooks
from local.ports import free_port, require_free
from local.processes import ChildProcess, ProcessSpec, Supervisor, http_ready

RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")

_TEMPLATE = Path(__file__).with_name("nginx.conf.template")
_PAGE = Path(__file__).with_name("watch.html")
_REQUEST_TIMEOUT_S = 3.0
_PART_LIFETIME_S = 60.0
_CLEAN_PERIOD_S = 5.0

log = logging.getLogger(__name__)


def find_nginx() -> str:
    """The nginx binary.

    Raises:
        MissingPrerequisiteError: nginx or its RTMP module is not installed.
    """
    # Debian installs it where only root's PATH looks.
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None or not RTMP_MODULE.exists():
        raise MissingPrerequisiteError(
            "No media server: neither mediamtx nor nginx with its RTMP module is installed.",
            remedy="Run make setup, or apt-get install nginx-light libnginx-mod-rtmp.",
        )
    return nginx


class NginxRtmp(MediaServer):
    """One nginx process, with the hook server and the cleaning of HLS parts that it needs around it."""

    kind = "nginx-rtmp"

    def __init__(self, options: MediaServerOptions, supervisor: Supervisor) -> None:
        super().__init__(options, supervisor)
        self._run_dir = options.run_dir.resolve()
        self._hls_dir = self._run_dir / "hls"
        trusted = frozenset({options.bind})
        self._hooks = NginxHooks(
            self._hls_dir, trusted=trusted, hook_url=options.hook_url, relay_url=options.relay_url
        )
        self._control_port = 0
        self._child: ChildProcess | None = None
        self._cleaner: asyncio.Task[None] | None = None

    @override
    async def start(self) -> None:
        nginx = find_nginx()
        for port in (self.options.rtmp_port, self.options.http_port):
            require_free(self.options.bind, port, needed_by="nginx")
        self._control_port = free_port()
        try:
            config = self._render(self._hooks.start())
            spec = ProcessSpec(
                "nginx", (nginx, "-p", str(self._run_dir), "-c", str(config)), stop_timeout_s=5
            )
            self._child = await self._supervisor.start(
                spec, ready=http_ready(self._control("/stat")), ready_timeout_s=10
            )
        except BaseException:
            self._hooks.stop()
            raise
        self._cleaner = asyncio.create_task(self._clean_forever(), name="HLS cleaner")

    @override
    async def stop(self) -> None:
        if self._cleaner is not None:
            self._cleaner.cancel()
            with suppress(asyncio.CancelledError):
                await self._cleaner
            self._cleaner = None
        if self._child is not None:
            child, self._child = self._child, None
            await self._supervisor.stop(child)
        self._hooks.stop()

    @override
    async def paths(self) -> list[StreamPath]:
        text = await http_request("GET", self._control("/stat"), timeout_s=_REQUEST_TIMEOUT_S)
        return published_paths(text)

    @override
    async def kick(self, path: StreamPath) -> bool:
        # The slash stays as it is: nginx-rtmp compares the argument without decoding it.
        query = f"app={APPLICATION}&name={path.playpath}"
        url = self._control(f"/control/drop/publisher?{query}")
        return (await http_request("GET", url, timeout_s=_REQUEST_TIMEOUT_S)).strip() not in ("", "0")

    @property
    @override
    def control_url(self) -> str:
        return self._control("")

    @override
    def hls_url(self, stream_id: str, name: str = "out") -> str:
        path = StreamPath.parse(f"{stream_id}/{name}")
        return f"http://{self.host}:{self.options.http_port}/hls/{path.playpath}.m3u8"

    @override
    def watch_url(self, stream_id: str, name: str = "out") -> str:
        path = StreamPath.parse(f"{stream_id}/{name}")
        return f"http://{self.host}:{self.options.http_port}/watch.html?stream={path.playpath}"

    def _control(self, path: str) -> str:
        return f"http://127.0.0.1:{self._control_port}{path}"

    def _render(self, hook_port: int) -> Path:
        www_dir = self._run_dir / "www"
        for folder in (self._hls_dir, www_dir, self._run_dir / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_PAGE, www_dir / _PAGE.name)
        hooks_url = f"http://127.0.0.1:{hook_port}/"
        values = {
            "rtmp_module": RTMP_MODULE,
            "bind": self.options.bind,
            "rtmp_port": self.options.rtmp_port,
            "http_port": self.options.http_port,
            "control_port": self._control_port,
            "hooks_url": hooks_url,
            # Players are asked about where somebody decides about them; HLS is served to everybody.
            "on_play": f"on_play {hooks_url};" if self.options.relay_url else "",
            "idle_publisher_s": self.options.idle_publisher_s,
            "hls_dir": _nginx_path(self._hls_dir),
            "www_dir": _nginx_path(www_dir),
        }
        config = self._run_dir / "nginx.conf"
        config.write_text(Template(_TEMPLATE.read_text()).substitute(values))
        return config

    async def _clean_forever(self) -> None:
        while True:
            await asyncio.sleep(_CLEAN_PERIOD_S)
            remove_old_parts(self._hls_dir, older_than_s=_PART_LIFETIME_S)


def published_paths(stat_xml: str) -> list[StreamPath]:
    """The paths with a publisher in nginx-rtmp's statistics (an idle or foreign one is left out)."""
    found: list[StreamPath] = []
    for application in ET.fromstring(stat_xml).iter("application"):  # noqa: S314 - see the import
        if application.findtext("name") != APPLICATION:
            continue
        for stream in application.iterfind("live/stream"):
            if stream.find("publishing") is None:
                continue
            with suppress(InvalidInputError):
                found.append(StreamPath.parse(stream.findtext("name") or ""))
    return sorted(found)


def remove_old_parts(hls_dir: Path, *, older_than_s: float) -> None:
    """Delete parts and playlists nobody has written for `older_than_s`.

    nginx rewrites a live playlist with every part and forgets parts after 12 s, so age alone tells.
    """
    oldest = time.time() - older_than_s
    for file in hls_dir.glob("*/*"):
        with suppress(FileNotFoundError):
            if file.suffix in (".ts", ".m3u8") and file.stat().st_mtime < oldest:
                file.unlink()


def _nginx_path(path: Path) -> str:
    if any(character in str(path) for character in "\"'\\;{}$ \t\n"):
        raise InvalidInputError(
            f"nginx cannot be given the folder {str(path)!r}.",
            remedy="Choose a run folder without spaces, quotes and ;{}$.",
        )
    return str(path)
