"""MediaMTX's control API (v1.19.0 and later).

MediaMTX decides about one path at a time and waits for our answer meanwhile: /v3/paths/list would not be answered
while an auth request is, so `publishers_of` asks the lists of connections instead. Read in its source, v1.20.1:
internal/core/path_manager.go (doFindPathConf) and internal/servers/rtmp/server.go.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

from media_edge.mediamtx.relay.loopback_client import LoopbackHttp
from media_edge.mediamtx.relay.publishers import MediaServerError, Publisher, stream_path

_PAGE_SIZE = 500
_MOST_PAGES = 20
_LISTS = {
    "rtmpConn": "rtmpconns",
    "rtmpsConn": "rtmpsconns",
    "rtspSession": "rtspsessions",
    "rtspsSession": "rtspssessions",
    "srtConn": "srtconns",
    "webRTCSession": "webrtcsessions",
}
"""The list in which a source of each type is found and kicked."""


class MediaMtxServer:
    """See MediaServerPort. A connection's id is a UUID: unique over restarts by itself."""

    def __init__(self, http: LoopbackHttp) -> None:
        self._http = http

    async def published(self) -> list[Publisher]:
        """See MediaServerPort."""
        found: list[Publisher] = []
        for item in await self._items("paths"):
            path = stream_path(str(item.get("name", "")))
            source = item.get("source")
            # `online` since v1.19.3; `ready` before, when the two were one.
            if path is None or not item.get("online", item.get("ready")) or not isinstance(source, dict):
                continue
            known = cast("dict[str, Any]", source)
            kind, connection = str(known.get("type", "")), str(known.get("id", ""))
            if kind in _LISTS and connection:
                found.append(Publisher(path, connection, connection, kind))
        return found

    async def publishers_of(self, path: str) -> list[Publisher]:
        """See MediaServerPort."""
        lists = await asyncio.gather(*(self._items(name, missing_ok=True) for name in _LISTS.values()))
        return [
            Publisher(path, str(item.get("id", "")), str(item.get("id", "")), kind)
            for kind, items in zip(_LISTS, lists, strict=True)
            for item in items
            if item.get("state") == "publish" and item.get("path") == path
        ]

    async def source_id(self, connection: str) -> str:
        """See MediaServerPort."""
        return connection

    async def kick(self, publisher: Publisher) -> bool:
        """See MediaServerPort."""
        url = f"/v3/{_LISTS[publisher.kind]}/kick/{quote(publisher.connection, safe='')}"
        status, _ = await self._http.request("POST", url)
        if status == HTTPStatus.NOT_FOUND:
            return False
        if status != HTTPStatus.OK:
            raise MediaServerError(
                f"MediaMTX answered {status} when told to kick the publisher of {publisher.path}."
            )
        return True

    async def close(self) -> None:
        """See MediaServerPort."""
        await self._http.close()

    async def _items(self, name: str, *, missing_ok: bool = False) -> list[dict[str, Any]]:
        """Every item of a list; the list of a protocol that is switched off is missing."""
        items: list[dict[str, Any]] = []
        for page in range(_MOST_PAGES):
            url = f"/v3/{name}/list?itemsPerPage={_PAGE_SIZE}&page={page}"
            status, body = await self._http.request("GET", url)
            if status == HTTPStatus.NOT_FOUND and missing_ok:
                return []
            if status != HTTPStatus.OK:
                raise MediaServerError(
                    f"MediaMTX answered {status} to GET {url}.",
                    remedy="It asks this relay about its API's users.",
                )
            answer = _object(body, url)
            items.extend(answer.get("items") or [])
            if page + 1 >= int(answer.get("pageCount") or 0):
                return items
        raise MediaServerError(f"MediaMTX lists more than {_PAGE_SIZE * _MOST_PAGES} {name}.")


def _object(body: bytes, url: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise MediaServerError(f"MediaMTX answered GET {url} with something that is no JSON object.")
    return cast("dict[str, Any]", answer)
