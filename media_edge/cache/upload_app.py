"""The upload service as a raw ASGI application: PUT and DELETE of objects, and two probes.

PUT    /media/<shard>/<hash>.<variant>   201 new, 204 replaced; 400, 401, 404, 408, 413, 422, 503, 507
DELETE /media/<shard>/<hash>.<variant>   204, 404 where there was none; 401
GET    /health                           200 as long as the service answers
GET    /ready                            200 when an upload would succeed, else 503 with the reasons

A small body costs one visit to a thread: stage, hash, force to disk, catalogue row, publish. The row comes before the
object: a clean-up that runs at the same time holds the row's lock until it has deleted the object, so whichever of
the two is later, row and object end up both there or both gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from livedub.errors import LivedubError
from livedub.media_cache.catalogue_port import Catalogue
from media_edge.cache.blob_store import BlobStore, DiskFullError
from media_edge.cache.io_threads import IoThreads
from media_edge.cache.readiness import Readiness
from media_edge.cache.request_body import ClientGoneError, Receive, RequestBody
from media_edge.cache.row_writer import RowWriter
from media_edge.cache.upload import CatalogueError, Upload
from media_edge.cache.upload_metrics import UploadMetrics
from media_edge.cache.upload_request import (
    ALLOWED_ON_PROBES,
    RefusedError,
    UploadHead,
    raw_path,
    read_head,
    too_large,
)
from media_edge.cache.upload_settings import UploadSettings

Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_FLUSH_BYTES = 1024 * 1024
"""A body up to this stays in memory until it is whole; a longer one goes to its stage in such pieces."""
_FLUSH_BYTES_WHEN_TIGHT = 64 * 1024
_PROBES = ("/health", "/ready")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; its body is JSON or empty."""

    status: HTTPStatus
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class UploadApp:
    """One upload service. It owns the store and the catalogue it is given and closes them when its lifespan ends."""

    def __init__(
        self,
        settings: UploadSettings,
        store: BlobStore,
        *,
        metrics: UploadMetrics,
        catalogue: Catalogue | None = None,
    ) -> None:
        self._settings = settings
        self._tokens = settings.tokens()
        self._store = store
        self._catalogue = catalogue
        self._rows = RowWriter(catalogue) if catalogue is not None else None
        self._metrics = metrics
        self._readiness = Readiness(store, catalogue, min_free_bytes=settings.min_free_bytes)
        self._io = IoThreads(settings.io_threads, "upload")
        # Of their own: an upload may wait for the lock of a row whose clean-up waits for a deletion here.
        self._deletions = IoThreads(2, "delete")
        self._uploads = 0
        self._buffered_bytes = 0
        metrics.watch_uploads(lambda: self._uploads)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one scope of the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        started_s = time.perf_counter()
        body = RequestBody(
            receive, asyncio.get_running_loop().time() + self._settings.body_deadline_ms / 1_000
        )
        try:
            answer = await self._answer(scope, body)
        except ClientGoneError:
            self._metrics.aborted()
            return
        self._metrics.answered(str(scope["method"]), answer.status, time.perf_counter() - started_s)
        await _send(send, answer, head_only=scope["method"] == "HEAD", close=not body.ended)

    async def _answer(self, scope: Mapping[str, Any], body: RequestBody) -> Answer:
        try:
            return await self._serve(scope, body)
        except (RefusedError, DiskFullError, CatalogueError, OSError) as error:
            answer = self._failed(error)
        await body.drain(self._settings.drain_bytes)
        return answer

    async def _serve(self, scope: Mapping[str, Any], body: RequestBody) -> Answer:
        if raw_path(scope) in _PROBES:
            return await self._probe(scope, body)
        head = read_head(
            scope,
            self._tokens.current() if self._tokens is not None else None,
            max_body_bytes=self._settings.max_body_bytes,
            require_metadata=self._settings.require_metadata,
        )
        if head.method == "DELETE":
            return await self._delete(head, body)
        return await self._put(head, body)

    def _failed(self, error: Exception) -> Answer:
        """The answer that tells of an error, and the line for the operator."""
        match error:
            case RefusedError():
                if error.status is HTTPStatus.UNAUTHORIZED:
                    log.info("refused a write without a valid token")
                return Answer(error.status, {"code": error.code, "message": error.message}, error.headers)
            case TimeoutError():
                bound = f"The body did not arrive within {self._settings.body_deadline_ms} ms."
                return _failure(HTTPStatus.REQUEST_TIMEOUT, "BODY_TOO_SLOW", bound)
            case DiskFullError():
                log.error("the volume under MEDIA_DATA_DIR is full")
                return _failure(HTTPStatus.INSUFFICIENT_STORAGE, "DISK_FULL", error.message)
            case CatalogueError():
                self._metrics.catalogue_failed()
                log.error("the catalogue took no row: %s", error)
                text = "The catalogue took no row, so nothing was stored."
                return _failure(HTTPStatus.SERVICE_UNAVAILABLE, "CATALOGUE_DOWN", text, retry=True)
            case _:
                log.error("disk: %s", error)
                return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, "DISK_FAILED", "The disk failed.")

    async def _put(self, head: UploadHead, body: RequestBody) -> Answer:
        if self._uploads >= self._settings.max_uploads:
            self._metrics.refused_busy()
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "BUSY",
                "Too many uploads are under way.",
                headers={"Retry-After": "1"},
            )
        self._uploads += 1
        upload = Upload(self._store, head, self._rows)
        try:
            pieces = await self._receive_into(upload, head, body)
            created = await self._within_commit_deadline(upload, pieces)
        finally:
            self._uploads -= 1
            if upload.open:
                # In a thread: one may still write to it.
                self._io.call(upload.discard)
        self._metrics.stored(head.writer, upload.size_bytes, created=created)
        return Answer(HTTPStatus.CREATED if created else HTTPStatus.NO_CONTENT)

    async def _receive_into(self, upload: Upload, head: UploadHead, body: RequestBody) -> list[bytes]:
        """Read the body to its end; what is not yet staged of it is returned."""
        pieces: list[bytes] = []
        held = received = 0
        try:
            async with body.before_deadline():
                while not body.ended:
                    piece = await body.piece()
                    received += len(piece)
                    if received > self._settings.max_body_bytes:
                        raise too_large(self._settings.max_body_bytes)
                    pieces.append(piece)
                    held += len(piece)
                    self._buffered_bytes += len(piece)
                    if held >= self._flush_bytes():
                        await self._io.call(upload.write, pieces)
                        self._buffered_bytes -= held
                        pieces, held = [], 0
        finally:
            self._buffered_bytes -= held
        if head.content_length is not None and received != head.content_length:
            raise ClientGoneError("The body is shorter than announced.")
        return pieces

    def _flush_bytes(self) -> int:
        tight = self._buffered_bytes * 2 > self._settings.buffer_bytes
        return _FLUSH_BYTES_WHEN_TIGHT if tight else _FLUSH_BYTES

    async def _within_commit_deadline(self, upload: Upload, pieces: list[bytes]) -> bool:
        # A thread cannot be interrupted: past the deadline it goes on alone, and nobody was told that it succeeded.
        committed = self._io.call(upload.commit, pieces)
        overdue = asyncio.get_running_loop().call_later(
            self._settings.commit_deadline_ms / 1_000, _give_up, committed
        )
        try:
            return await committed
        except TimeoutError:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "COMMIT_TOO_SLOW",
                "Disk or catalogue did not answer in time.",
                headers={"Retry-After": "1"},
            ) from None
        finally:
            overdue.cancel()

    async def _delete(self, head: UploadHead, body: RequestBody) -> Answer:
        await body.drain(self._settings.drain_bytes)
        existed = await self._deletions.call(self._delete_and_forget, head)
        self._metrics.deleted(existed=existed)
        if existed:
            return Answer(HTTPStatus.NO_CONTENT)
        return _failure(HTTPStatus.NOT_FOUND, "NO_SUCH_OBJECT", "There is no such object.")

    def _delete_and_forget(self, head: UploadHead) -> bool:
        existed = self._store.delete(head.path)
        if self._catalogue is not None:
            try:
                self._catalogue.forget(head.path.hash, head.path.variant)
            except LivedubError as error:
                # The object is gone, which is what was asked; the clean-up takes the row.
                self._metrics.catalogue_failed()
                log.warning("the catalogue kept the row of a deleted object: %s", error)
        return existed

    async def _probe(self, scope: Mapping[str, Any], body: RequestBody) -> Answer:
        await body.drain(self._settings.drain_bytes)
        if scope["method"] not in ("GET", "HEAD"):
            raise RefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                f"{scope['method']} is not served here.",
                headers={"Allow": ALLOWED_ON_PROBES},
            )
        if raw_path(scope) == "/health":
            return Answer(HTTPStatus.OK, {"status": "ok"})
        found = await self._readiness.look()
        used = {} if found.used_percent is None else {"volume_used_percent": found.used_percent}
        if found.reasons:
            refused = {"status": "not ready", "reasons": list(found.reasons), **used}
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, refused)
        return Answer(HTTPStatus.OK, {"status": "ready", **used})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await asyncio.get_running_loop().run_in_executor(None, self.close)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def close(self) -> None:
        """Wait for what threads still do, then let go of store and catalogue."""
        for threads in (self._io, self._deletions):
            threads.close()
        self._readiness.close()
        if self._catalogue is not None:
            self._catalogue.close()
        self._store.close()


def _give_up(committed: asyncio.Future[Any]) -> None:
    if not committed.done():
        committed.set_exception(TimeoutError())


def _failure(status: HTTPStatus, code: str, message: str, *, retry: bool = False) -> Answer:
    return Answer(status, {"code": code, "message": message}, {"Retry-After": "1"} if retry else {})


async def _send(send: Send, answer: Answer, *, head_only: bool, close: bool) -> None:
    payload = b"" if answer.body is None else json.dumps(answer.body).encode()
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.status is not HTTPStatus.NO_CONTENT:
        headers.append((b"content-length", str(len(payload)).encode()))
    if payload:
        headers.append((b"content-type", b"application/json"))
    if close:
        # What is left of the body would be taken for the next request.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head_only else payload})
