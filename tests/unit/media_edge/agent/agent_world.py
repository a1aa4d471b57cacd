"""An agent in a world of memory: queue, state machine, rows, relay and workers, on virtual time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from livedub.supervision.contract import WorkClaim, WorkItem, WorkMessage, WorkReport
from livedub.supervision.lease import acquire
from livedub.supervision.memory_stream_store import MemoryStreamStore
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Media, Source, StreamRecord
from livedub.supervision.store_errors import StoreUnavailableError
from media_edge.worker.agent.agent import Agent
from media_edge.worker.agent.metrics import AgentMetrics
from media_edge.worker.agent.ports import CallTimeoutError, QueuedMessage, TokenRefusedError
from media_edge.worker.agent.tools import Tools
from media_edge.worker.agent.worker_process import EventSink, WorkerStartError

EPOCH_MS = 1_700_000_000_000
HEARTBEAT_S = 12
POLICY = SupervisionPolicy(heartbeat_s=HEARTBEAT_S)
AGENT = "host-1"
DELAY_S = 4.0


def now_s() -> float:
    return asyncio.get_running_loop().time()


def now_ms() -> int:
    return EPOCH_MS + int(now_s() * 1_000)


class Wires:
    """`Calls` on virtual time, with an endpoint that can be cut, hang, or lose the answers of what it has done."""

    def __init__(self) -> None:
        self.hang = False
        self.refuse = False
        self.refuse_only = ""
        self.lose_answers_of = ""
        self.names: list[str] = []

    async def __call__(self, doing: str, call: Callable[[], Any], timeout_s: float) -> Any:
        self.names.append(doing)
        await asyncio.sleep(0.01)
        if self.refuse or (self.refuse_only and self.refuse_only in doing):
            raise StoreUnavailableError("cut")
        if self.lose_answers_of and self.lose_answers_of in doing:
            call()
        if self.hang or (self.lose_answers_of and self.lose_answers_of in doing):
            await asyncio.sleep(timeout_s)
            raise CallTimeoutError(doing)
        return call()


class Queue:
    def __init__(self) -> None:
        self.waiting: list[QueuedMessage] = []
        self.deleted: list[QueuedMessage] = []
        self.given_back: list[QueuedMessage] = []
        self.polls: list[int] = []

    def put(self, body: str) -> QueuedMessage:
        message = QueuedMessage(body, f"receipt-{len(self.waiting) + len(self.deleted)}")
        self.waiting.append(message)
        return message

    def receive(self, count: int, wait_s: int) -> list[QueuedMessage]:
        self.polls.append(count)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def delete(self, message: QueuedMessage) -> None:
        self.deleted.append(message)

    def give_back(self, message: QueuedMessage) -> None:
        self.given_back.append(message)


class StateMachine:
    """Task tokens: claiming one makes the supervising task's token appear in the row."""

    def __init__(self, store: MemoryStreamStore) -> None:
        self._store = store
        self.live: set[str] = set()
        self.claims: list[str] = []
        self.reports: list[tuple[float, str, WorkReport]] = []
        self.beats: list[tuple[float, str]] = []
        self.supervises = True

    def succeed(self, token: str, output: WorkClaim | WorkReport) -> None:
        self._use(token)
        self.live.discard(token)
        if isinstance(output, WorkReport):
            self.reports.append((now_s(), token, output))
            return
        self.claims.append(output.agent_id)
        if self.supervises:
            stream_id = token.split("/")[1]
            self.new_task(stream_id, token.replace("claim", "task"))

    def heartbeat(self, token: str) -> None:
        self._use(token)
        self.beats.append((now_s(), token))

    def new_task(self, stream_id: str, token: str) -> None:
        self.live.add(token)

        def write(record: StreamRecord | None) -> StreamRecord:
            assert record is not None
            return replace(record, lease=replace(record.lease, task_token=token))

        self._store.update(stream_id, write)

    def _use(self, token: str) -> None:
        if token not in self.live:
            raise TokenRefusedError("InvalidToken")


class Kicker:
    def __init__(self) -> None:
        self.kicks: list[tuple[float, str, str, str]] = []

    def kick(self, url: str, path: str, token: str) -> None:
        self.kicks.append((now_s(), url, path, token))


class FakeWorker:
    """Behaves as `run --supervised` does, without media."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.lines: list[Mapping[str, Any]] = []
        """But leases, which come all the time."""
        self.leases_ms: list[int] = []
        self.state = "waiting"
        self.output_ms: int | None = None
        self.wedged = self.mute = self.deaf = False
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.killed_at_s: float | None = None
        self._sink: EventSink | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    @property
    def settings(self) -> dict[str, Any]:
        return self.lines[0]["settings"]

    @property
    def token(self) -> str:
        return self.settings["output_url"].split("token=")[1]

    def listen(self, sink: EventSink) -> None:
        self._sink = sink

    def send(self, line: Mapping[str, Any]) -> None:
        if line.get("command") == "lease":
            self.leases_ms.append(line["valid_ms"])
        else:
            self.lines.append(line)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif line.get("command") == "drain" and not self.deaf:
            asyncio.get_running_loop().call_later(DELAY_S, self.exit, 0)
        elif line.get("command") == "stop" and not self.deaf:
            self.exit(8)

    def tell(self, event: Mapping[str, Any]) -> None:
        assert self._sink is not None
        self._sink(event)

    def exit(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)
        if self._task is not None:
            self._task.cancel()

    def kill(self) -> None:
        if self.alive:
            self.killed_at_s = now_s()
        self.exit(-9)

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    async def _run(self) -> None:
        await asyncio.sleep(0.5)
        told = ""
        while True:
            if not self.mute:
                if self.state != told:
                    told = self.state
                    self.tell({"event": "state", "state": told})
                self.tell({"event": "progress", "output_media_ms": self.output_ms, "cpu_percent": 20.0})
            await asyncio.sleep(1.0)
            if self.state == "live" and not self.wedged:
                self.output_ms = (self.output_ms or 0) + 1_000


class Pool:
    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []
        self.fails = False

    async def take(self) -> FakeWorker:
        if self.fails:
            raise WorkerStartError("no program")
        self.workers.append(FakeWorker(100 + len(self.workers)))
        return self.workers[-1]


class World:
    def __init__(self, *, slots: int = 2, drain_timeout_s: float = 20.0) -> None:
        self.store = MemoryStreamStore()
        self.wires = Wires()
        self.queue = Queue()
        self.machine = StateMachine(self.store)
        self.kicker = Kicker()
        self.pool = Pool()
        self.metrics = AgentMetrics()
        self.shared: dict[str, str] = {}
        self.tools = Tools(
            agent_id=AGENT,
            store=self.store,
            tokens=self.machine,
            kicker=self.kicker,
            workers=self.pool,
            calls=self.wires,
            metrics=self.metrics,
            policy=POLICY,
            drain_timeout_s=drain_timeout_s,
            shared=lambda: self.shared,
            now_ms=now_ms,
            jitter=lambda seconds: seconds,
        )
        self.agent = Agent(self.queue, self.tools, slots=slots, poll_wait_s=1)

    def row(self, stream_id: str = "stadium") -> StreamRecord:
        record = self.store.load(stream_id)
        assert record is not None
        return record

    def change(self, rule: Callable[[StreamRecord], StreamRecord], stream_id: str = "stadium") -> None:
        def apply(record: StreamRecord | None) -> StreamRecord:
            assert record is not None
            return rule(record)

        self.store.update(stream_id, apply)

    def publish(self, stream_id: str = "stadium", **fields: Any) -> QueuedMessage:
        """A publisher comes and the state machine queues the work."""
        media = Media("relay-1", "rtmp://media:1935", "rtmp://media:1936/", "http://media:9996/v1/kick")
        base = self.store.load(stream_id) or StreamRecord(
            stream_id, media=media, source=Source("s1", now_ms()), **fields
        )
        record, _ = acquire(base, execution="run-1", adopt_from="", now_ms=now_ms(), policy=POLICY)
        self.store.update(stream_id, lambda _: record)
        return self.enqueue(stream_id)

    def enqueue(self, stream_id: str = "stadium") -> QueuedMessage:
        generation = self.row(stream_id).lease.generation
        token = f"claim/{stream_id}/{generation}"
        self.machine.live.add(token)
        work = WorkItem(
            stream_id=stream_id, generation=generation, execution="run-1", heartbeat_s=HEARTBEAT_S
        )
        return self.queue.put(WorkMessage(claim_token=token, work=work).model_dump_json())

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[asyncio.Task[None], None]:
        task = asyncio.create_task(self.agent.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def started(self, count: int = 1) -> FakeWorker:
        """Wait until `count` workers were told what to do; the last of them is live from now on."""
        await until(lambda: len(self.pool.workers) >= count and bool(self.pool.workers[-1].lines))
        worker = self.pool.workers[-1]
        worker.state, worker.output_ms = "live", 0
        return worker


async def until(condition: Callable[[], bool], bound_s: float = 120.0) -> float:
    """Wait on virtual time; returns when it came true."""
    end = now_s() + bound_s
    while not condition():
        assert now_s() < end, "it never happened"
        await asyncio.sleep(0.02)
    return now_s()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
