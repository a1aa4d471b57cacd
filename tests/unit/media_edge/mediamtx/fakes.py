"""A control plane and a media server in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from livedub.supervision.signing import verify
from media_edge.mediamtx.relay.control_plane_client import ControlPlane
from media_edge.mediamtx.relay.publishers import MediaServerError, Publisher

KEY = bytes(range(32))
SETTINGS = {
    "RELAY_ID": "media-1",
    "RELAY_API_URL": "https://api.test",
    "RELAY_SIGNING_KEY": KEY.hex(),
    "RELAY_PLAY_BASE_URL": "rtmp://media-1:1935",
    "RELAY_PUBLISH_BASE_URL": "rtmp://media-1:1935",
}

Reply = Callable[[httpx.Request], httpx.Response]


@dataclass
class FakeApi:
    """Answers by `reply`; keeps what was asked, checks every signature."""

    reply: Reply
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    nonces: list[str] = field(default_factory=list)

    def control_plane(self, timeout_s: float = 1.0) -> ControlPlane:
        return ControlPlane(
            "https://api.test/stage", KEY, timeout_s=timeout_s, transport=httpx.MockTransport(self._handle)
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path.startswith("/stage/v1/")
        path = request.url.path.removeprefix("/stage")
        now_ms = int(time.time() * 1000)
        signed = verify(KEY, request.headers, request.content, method="POST", path=path, now_ms=now_ms)
        self.nonces.append(signed.nonce)
        self.asked.append((path, json.loads(request.content)))
        return self.reply(request)


def permit(stream_id: str = "demo", generation: int | None = None) -> httpx.Response:
    return httpx.Response(200, json={"allowed": True, "stream_id": stream_id, "generation": generation})


def refusal(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "message": code.lower(), "remedy": ""})


@dataclass
class FakeServer:
    """A media server; `broken` makes its API fail."""

    present: list[Publisher] = field(default_factory=list)
    kicked: list[Publisher] = field(default_factory=list)
    broken: bool = False

    async def published(self) -> list[Publisher]:
        if self.broken:
            raise MediaServerError("broken, says the test.")
        return list(self.present)

    async def publishers_of(self, path: str) -> list[Publisher]:
        return [publisher for publisher in await self.published() if publisher.path == path]

    async def source_id(self, connection: str) -> str:
        return f"boot.{connection}"

    async def kick(self, publisher: Publisher) -> bool:
        if publisher not in self.present:
            return False
        self.present.remove(publisher)
        self.kicked.append(publisher)
        return True

    async def close(self) -> None:
        pass
