"""A media cache of a few lines, that can also misbehave on the wire."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Received:
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; False closes the connection."""


@dataclass
class FakeCache:
    """Keeps objects; `misbehave` goes first, and the store answers where it returns None."""

    objects: dict[str, bytes] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    behaviour: Behaviour | None = None
    connections: int = 0
    resets: int = 0
    """So many connections are cut off as soon as they are accepted."""
    url: str = ""

    async def answer(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        self.received.append(request)
        if self.behaviour is not None:
            return await self.behaviour(request, writer)
        return await self.serve(request, writer)

    async def serve(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        held = self.objects.get(request.path)
        if request.method == "PUT":
            self.objects[request.path] = request.body
            await respond(writer, 201 if held is None else 204)
        elif request.method == "DELETE":
            await respond(writer, 404 if self.objects.pop(request.path, None) is None else 204)
        elif held is None:
            await respond(writer, 404, head=request.method == "HEAD")
        else:
            await respond(writer, 200, held, head=request.method == "HEAD")
        return True


async def respond(
    writer: asyncio.StreamWriter, status: int, body: bytes = b"", *, head: bool = False
) -> None:
    length = "" if status == 204 else f"content-length: {len(body)}\r\n"
    writer.write(f"HTTP/1.1 {status} X\r\n{length}\r\n".encode() + (b"" if head else body))
    await writer.drain()


async def _read(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return None
    method, path, _ = request_line.split(" ")
    return Received(connection, method, path, headers, body)


@asynccontextmanager
async def running(cache: FakeCache, tls: ssl.SSLContext | None = None):
    """The cache on a free port of the loopback; every connection is ended on the way out."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        cache.connections += 1
        number = cache.connections
        try:
            while (request := await _read(reader, number)) is not None:
                if not await cache.answer(request, writer):
                    return
        finally:
            tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if cache.resets:
            cache.resets -= 1
            writer.transport.abort()
            return
        if tls is not None:
            await writer.start_tls(tls)
        await connected(reader, writer)

    # A server that cuts connections off must get hold of them before their handshake.
    by_hand = cache.resets > 0
    server = await asyncio.start_server(
        accepted if by_hand else connected, "127.0.0.1", 0, ssl=None if by_hand else tls
    )
    host, port = server.sockets[0].getsockname()[:2]
    cache.url = f"{'https' if tls else 'http'}://{host}:{port}"
    try:
        yield cache
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
