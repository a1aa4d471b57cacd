"""nginx-rtmp's statistics (/stat, XML) and control (/control), version 1.1.4 and later.

nginx numbers its connections from 1 after every start, so a source id is made of the process and the number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as ET  # the document comes from the server beside us

from media_edge.mediamtx.relay.loopback_client import LoopbackHttp
from media_edge.mediamtx.relay.publishers import MediaServerError, Publisher, stream_path

_APPLICATION = "live"
_SAME_START_S = 3


class NginxServer:
    """See MediaServerPort."""

    def __init__(self, http: LoopbackHttp, *, boot_mark: Callable[[int], str] | None = None) -> None:
        """`boot_mark` tells one process of a pid from an earlier one; None reads /proc."""
        self._http = http
        self._boot_mark = boot_mark or process_start
        self._started: tuple[int, int] | None = None
        self._last_boot = ""

    async def published(self) -> list[Publisher]:
        """See MediaServerPort."""
        return self._publishers(await self._stat())

    async def publishers_of(self, path: str) -> list[Publisher]:
        """See MediaServerPort."""
        return [publisher for publisher in await self.published() if publisher.path == path]

    async def source_id(self, connection: str) -> str:
        """See MediaServerPort."""
        try:
            boot = self._boot(await self._stat())
        except MediaServerError:
            boot = self._last_boot  # nginx says goodbye to its publishers while it stops
            if not boot:
                raise
        return f"{boot}.{connection}"

    async def kick(self, publisher: Publisher) -> bool:
        """See MediaServerPort."""
        # The slash stays as it is: nginx-rtmp compares the argument without decoding it.
        name = publisher.path.removeprefix(f"{_APPLICATION}/")
        query = f"app={_APPLICATION}&name={name}&clientid={quote(publisher.connection, safe='')}"
        status, body = await self._http.request("GET", f"/control/drop/publisher?{query}")
        if status != HTTPStatus.OK:
            raise MediaServerError(
                f"nginx answered {status} when told to drop the publisher of {publisher.path}."
            )
        return body.strip() not in (b"", b"0")

    async def close(self) -> None:
        """See MediaServerPort."""
        await self._http.close()

    async def _stat(self) -> ET.Element:
        status, body = await self._http.request("GET", "/stat")
        try:
            if status == HTTPStatus.OK:
                return ET.fromstring(body)  # noqa: S314 - see the import
        except ET.ParseError:
            pass
        raise MediaServerError(f"nginx answered {status} to GET /stat, and no statistics.")

    def _publishers(self, stat: ET.Element) -> list[Publisher]:
        boot = self._boot(stat)
        found: list[Publisher] = []
        for application in stat.iter("application"):
            if application.findtext("name") != _APPLICATION:
                continue
            for stream in application.iterfind("live/stream"):
                path = stream_path(f"{_APPLICATION}/{stream.findtext('name') or ''}")
                client = next(
                    (it for it in stream.iterfind("client") if it.find("publishing") is not None), None
                )
                if path is not None and client is not None:
                    number = client.findtext("id") or "0"
                    found.append(Publisher(path, f"{boot}.{number}", number))
        return found

    def _boot(self, stat: ET.Element) -> str:
        try:
            pid, up_s = int(stat.findtext("pid") or ""), int(stat.findtext("uptime") or "")
        except ValueError:
            raise MediaServerError("nginx's statistics name no process.") from None
        # Another process may have had this pid: its start tells. Uptime in whole seconds only tells it roughly.
        started = int(time.time()) - up_s
        if (
            self._started is None
            or self._started[0] != pid
            or abs(self._started[1] - started) > _SAME_START_S
        ):
            self._started = (pid, started)
        self._last_boot = f"{pid}-{self._boot_mark(pid) or self._started[1]}"
        return self._last_boot


def process_start(pid: int) -> str:
    """When a process started, in the kernel's ticks (proc(5), stat field 22); empty when /proc hides it."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
