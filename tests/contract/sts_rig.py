"""An STS service on a real port inside the test's event loop, with a pipeline the test controls."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass, field

import uvicorn

from gpu_handler.dispatcher import Dispatcher, FragmentPipeline, OnPartial
from gpu_handler.http_connection import BoundedConnection
from gpu_handler.http_service import BodyLimits, create_app
from gpu_handler.service_metrics import ServiceMetrics
from livedub.sts.contract import Dub, Health, PartialKind, StsPartial, StsRequest, StsResult, Transcript
from tests.unit.livedub.sts.exchanges import dub, success

LANGUAGES = {"es": ("en", "fr"), "en": ("es",)}
BOUND_S = 60.0


class ScriptedPipeline:
    """Answers at once unless `gate` is closed; counts and records what happens to it."""

    def __init__(self) -> None:
        self.requests: list[StsRequest] = []
        self.received_s: list[float | None] = []
        self.cancelled = asyncio.Event()
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self.most_running = 0
        self.loaded = False
        self.closed = False
        self.failure: Exception | None = None
        self.answer: Callable[[StsRequest], StsResult] = answer_for

    def load(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.loaded = True

    def health(self) -> Health:
        return Health(ready=self.loaded, models={"asr": "fake"}, languages=LANGUAGES)

    async def process(
        self, request: StsRequest, on_partial: OnPartial | None = None, *, received_s: float | None = None
    ) -> StsResult:
        self.requests.append(request)
        self.received_s.append(received_s)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.started.set()
        try:
            if self.failure is not None:
                raise self.failure
            result = self.answer(request)
            if on_partial is not None:
                await on_partial(text_partial(result))
            await self.gate.wait()
            if on_partial is not None:
                for one in result.dubs:
                    await on_partial(
                        StsPartial(kind=PartialKind.AUDIO, fragment_id=result.fragment_id, dubs=(one,))
                    )
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        else:
            return result
        finally:
            self.running -= 1

    def close(self) -> None:
        self.closed = True


def answer_for(request: StsRequest) -> StsResult:
    dubs = (dub(target.language, request.audio.duration_ms) for target in request.config.targets)
    return success(*dubs, fragment_id=request.fragment_id)


def text_partial(result: StsResult) -> StsPartial:
    return StsPartial(
        kind=PartialKind.TEXT,
        fragment_id=result.fragment_id,
        transcript=result.transcript or Transcript(text="", language="es"),
        dubs=tuple(Dub(language=one.language, translated_text=one.translated_text) for one in result.dubs),
    )


@dataclass(slots=True)
class Clock:
    """Time that passes only when told."""

    now_ns: int = 0
    per_call_ns: int = field(default=0)

    def __call__(self) -> int:
        self.now_ns += self.per_call_ns
        return self.now_ns


class WatchedMetrics(ServiceMetrics):
    """Lets a test wait until the service is as busy as it wants it."""

    def __init__(self) -> None:
        super().__init__()
        self._busy = (0, 0)
        self._changed = asyncio.Event()

    def load(self, *, waiting: int, running: int) -> None:
        super().load(waiting=waiting, running=running)
        self._busy = (waiting, running)
        self._changed.set()

    async def reach(self, *, waiting: int, running: int) -> None:
        while self._busy != (waiting, running):
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), BOUND_S)


@dataclass(frozen=True, slots=True)
class RunningService:
    url: str
    port: int
    dispatcher: Dispatcher
    metrics: WatchedMetrics


@contextlib.asynccontextmanager
async def service(
    pipeline: FragmentPipeline,
    *,
    api_keys: Sequence[str] = (),
    max_concurrency: int = 2,
    queue_size: int = 2,
    limits: BodyLimits | None = None,
    clock_ns: Callable[[], int] | None = None,
    load: bool = True,
    connection: type[BoundedConnection] = BoundedConnection,
) -> AsyncIterator[RunningService]:
    clock = {"clock_ns": clock_ns} if clock_ns else {}
    metrics = WatchedMetrics()
    dispatcher = Dispatcher(
        pipeline, max_concurrency=max_concurrency, queue_size=queue_size, metrics=metrics, **clock
    )
    if load:
        await dispatcher.load()
    app = create_app(dispatcher, api_keys=api_keys, limits=limits)
    async with listening(app, connection) as port:
        yield RunningService(f"http://127.0.0.1:{port}", port, dispatcher, metrics)
        await dispatcher.close()


class _Server(uvicorn.Server):
    """Leaves pytest its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def listening(
    app: object, connection: type[BoundedConnection] = BoundedConnection
) -> AsyncIterator[int]:
    """Serve an ASGI app on a free loopback port; ends bounded whatever the app does."""
    server = _Server(
        uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType] - any ASGI callable
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http=connection,
            loop="asyncio",
            timeout_graceful_shutdown=1,
        )
    )
    # asyncio switches Nagle's algorithm off only on sockets that name their protocol.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await asyncio.wait_for(serving, BOUND_S)
