"""Calls an ASGI application as a server would, with bodies that arrive as the test says."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

HANG = object()
"""In place of a piece of body: nothing comes any more."""
GONE = object()
"""In place of a piece of body: the client goes away."""


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return json.loads(self.body)["code"]


async def call(
    app: Any,
    method: str,
    path: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    pieces: Sequence[object] = (b"",),
) -> Response | None:
    """The response, None where none was sent."""
    left = list(pieces)
    read: list[object] = []
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not left or left[0] is GONE:
            return {"type": "http.disconnect"}
        if left[0] is HANG:
            await asyncio.Event().wait()
        piece = left.pop(0)
        read.append(piece)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Any):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1"),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    await app(scope, receive, send)
    if not sent:
        return None
    start, *bodies = sent
    return Response(
        start["status"],
        {name.decode(): value.decode("latin-1") for name, value in start["headers"]},
        b"".join(message["body"] for message in bodies),
    )


@asynccontextmanager
async def lifespan(app: Any):
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await asyncio.wait_for(from_app.get(), 10))["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        assert (await asyncio.wait_for(from_app.get(), 10))["type"] == "lifespan.shutdown.complete"
        await task
