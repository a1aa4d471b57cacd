"""MediaMTX, the media server of production, where its binary is on PATH."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from typing_extensions import override

from livedub.errors import ConfigurationError, InvalidInputError, MissingPrerequisiteError
from local.loopback_client import LoopbackError, http_request
from local.media_servers.base import APPLICATION, MediaServer, MediaServerOptions, StreamPath
from local.ports import free_ports, require_free
from local.processes import ChildProcess, ProcessSpec, Supervisor, tcp_ready

PINNED_VERSION = (1, 20, 1)
MINIMUM_VERSION = (1, 19, 0)

_CONFIG_DIR = Path(__file__).parents[2] / "media_edge" / "mediamtx"
_REQUEST_TIMEOUT_S = 3.0
_VERSION_TIMEOUT_S = 10.0

_HOOKS_RENAMED_IN = (1, 19, 3)
_OLD_HOOK_NAMES = {"runOnAvailable": "runOnReady", "runOnUnavailable": "runOnNotReady"}
_NEW_HOOKS = ("runOnOnline", "runOnOffline")

_KICK_LISTS = {
    "rtmpConn": "rtmpconns",
    "rtspSession": "rtspsessions",
    "srtConn": "srtconns",
    "webRTCSession": "webrtcsessions",
}

Version = tuple[int, int, int]


def find_mediamtx() -> str | None:
    """The binary, None where it is not on PATH."""
    return shutil.which("mediamtx")


def parse_version(text: str) -> Version:
    """Read what `mediamtx --version` prints.

    Raises:
        ConfigurationError: no version in it, or one older than MINIMUM_VERSION.
    """
    match = re.search(r"v?(\d+)\.(\d+)\.(\d+)", text)
    version = tuple(int(part) for part in match.groups()) if match else (0, 0, 0)
    if version < MINIMUM_VERSION:
        wanted = ".".join(str(part) for part in PINNED_VERSION)
        raise ConfigurationError(
            f"The mediamtx on PATH is of version {text.strip()!r}, too old for mediamtx.yml.",
            remedy=f"Install v{wanted}, or take it off PATH to use nginx.",
        )
    return version[0], version[1], version[2]


def render_config(text: str, version: Version) -> str:
    """The configuration in the words of `version`: MediaMTX refuses a file with a key it does not know."""
    if version >= _HOOKS_RENAMED_IN:
        return text
    lines = [line for line in text.splitlines() if line.strip().partition(":")[0] not in _NEW_HOOKS]
    older = "\n".join(lines) + "\n"
    for new, old in _OLD_HOOK_NAMES.items():
        older = re.sub(rf"(?m)^(\s*){new}:", rf"\g<1>{old}:", older)
    return older


class MediaMtx(MediaServer):
    """One MediaMTX process on media_edge/mediamtx/mediamtx.yml, its addresses set by environment."""

    kind = "mediamtx"

    def __init__(self, options: MediaServerOptions, supervisor: Supervisor) -> None:
        super().__init__(options, supervisor)
        self._api_port = self._metrics_port = self._rtsp_port = 0
        self._child: ChildProcess | None = None

    @override
    async def start(self) -> None:
        binary = find_mediamtx()
        if binary is None:
            raise MissingPrerequisiteError("mediamtx is not on PATH.", remedy="Install it, or use nginx.")
        for port in (self.options.rtmp_port, self.options.http_port):
            require_free(self.options.bind, port, needed_by="mediamtx")
        version = parse_version(await _version_text(binary))
        self.options.run_dir.mkdir(parents=True, exist_ok=True)
        config = self.options.run_dir.resolve() / "mediamtx.yml"
        config.write_text(render_config((_CONFIG_DIR / "mediamtx.yml").read_text(), version))
        self._api_port, self._metrics_port, self._rtsp_port = free_ports(3)
        self._child = await self._supervisor.start(
            ProcessSpec("mediamtx", (binary, str(config)), env=self._environment(), stop_timeout_s=5),
            # The API listens last. It is not asked: it would ask the relay, which may not have started yet.
            ready=tcp_ready("127.0.0.1", self._api_port),
            ready_timeout_s=10,
        )

    @override
    async def stop(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            await self._supervisor.stop(child)

    @override
    async def paths(self) -> list[StreamPath]:
        return online_paths(await self._path_items())

    @override
    async def kick(self, path: StreamPath) -> bool:
        for item in await self._path_items():
            source = item.get("source") or {}
            kind = _KICK_LISTS.get(source.get("type", ""))
            if item.get("name") == path.path and kind is not None:
                with suppress(LoopbackError):  # it left by itself in between
                    url = self._api(f"/v3/{kind}/kick/{source['id']}")
                    await http_request("POST", url, timeout_s=_REQUEST_TIMEOUT_S)
                    return True
        return False

    @property
    @override
    def control_url(self) -> str:
        return self._api("")

    @override
    def hls_url(self, stream_id: str, name: str = "out") -> str:
        return f"{self.watch_url(stream_id, name)}index.m3u8"

    @override
    def watch_url(self, stream_id: str, name: str = "out") -> str:
        path = StreamPath.parse(f"{stream_id}/{name}")
        return f"http://{self.host}:{self.options.http_port}/{path.path}/"

    def rtsp_url(self, stream_id: str, name: str = "in") -> str:
        """The RTSP URL of a path."""
        path = StreamPath.parse(f"{stream_id}/{name}")
        return f"rtsp://{self.host}:{self._rtsp_port}/{path.path}"

    def _environment(self) -> dict[str, str]:
        bind = self.options.bind
        environment = {
            "MTX_RTMPADDRESS": f"{bind}:{self.options.rtmp_port}",
            "MTX_HLSADDRESS": f"{bind}:{self.options.http_port}",
            "MTX_RTSPADDRESS": f"{bind}:{self._rtsp_port}",
            "MTX_APIADDRESS": f"127.0.0.1:{self._api_port}",
            "MTX_METRICSADDRESS": f"127.0.0.1:{self._metrics_port}",
            "MTX_READTIMEOUT": f"{self.options.idle_publisher_s}s",
            "LIVEDUB_MEDIAMTX_HOOK": str(_CONFIG_DIR / "hook.py"),
        }
        relay_url = self.options.relay_url
        if relay_url:
            environment["MTX_AUTHHTTPADDRESS"] = f"{relay_url}/auth"
        else:
            environment["MTX_AUTHMETHOD"] = "internal"
        hook_url = f"{relay_url}/hook" if relay_url else self.options.hook_url
        if hook_url:
            environment["LIVEDUB_HOOK_URL"] = hook_url
        return environment

    def _api(self, path: str) -> str:
        return f"http://127.0.0.1:{self._api_port}{path}"

    async def _path_items(self) -> list[dict[str, Any]]:
        url = self._api("/v3/paths/list?itemsPerPage=1000")
        return json.loads(await http_request("GET", url, timeout_s=_REQUEST_TIMEOUT_S))["items"]


def online_paths(items: list[dict[str, Any]]) -> list[StreamPath]:
    """The paths of an API answer that somebody publishes (`online`; before v1.19.3 it was called `ready`)."""
    found: list[StreamPath] = []
    for item in items:
        application, _, playpath = str(item.get("name", "")).partition("/")
        if application == APPLICATION and item.get("online", item.get("ready")):
            with suppress(InvalidInputError):
                found.append(StreamPath.parse(playpath))
    return sorted(found)


async def _version_text(binary: str) -> str:
    process = await asyncio.create_subprocess_exec(
        binary, "--version", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _VERSION_TIMEOUT_S)
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        raise
    return output.decode(errors="replace")
