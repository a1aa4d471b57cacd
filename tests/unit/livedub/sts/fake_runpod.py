"""RunPod's client API behind httpx's transport interface, as the test tells it to behave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from livedub.sts.contract import StsPartial, StsRequest, StsResult
from livedub.sts.runpod_client import RunpodSts

BASE = "http://127.0.0.1:9/v2"


def wrapped(result: StsResult) -> dict[str, Any]:
    """A final result as workers send it."""
    return {"status": result.status.value, "result": result.model_dump(mode="json")}


def bare(piece: StsResult | StsPartial) -> dict[str, Any]:
    return piece.model_dump(mode="json")


@dataclass
class FakeJob:
    id: str
    route: str
    document: dict[str, Any]
    status: str = "IN_QUEUE"
    output: list[Any] = field(default_factory=list)
    unread: list[Any] = field(default_factory=list)
    error: str | None = None

    @property
    def request(self) -> StsRequest:
        return StsRequest.model_validate_json(json.dumps(self.document["input"]), strict=True)

    def say(self, *pieces: Any) -> None:
        self.status = "IN_PROGRESS"
        self.output += pieces
        self.unread += pieces

    def end(self, *pieces: Any, status: str = "COMPLETED", error: str | None = None) -> None:
        self.say(*pieces)
        self.status = status
        self.error = error

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"id": self.id, "status": self.status, "delayTime": 1, "executionTime": 2}
        if self.status == "COMPLETED":
            state["output"] = self.output
        if self.error is not None:
            state["error"] = self.error
        return state


Act = Callable[[FakeJob], None]


class FakeRunpod:
    """Does to each new job what `script` says next (its last entry stays); `polled` sees a job before each poll."""

    def __init__(self, *script: Act | httpx.Response | Exception, polled: Act = lambda _: None) -> None:
        self.script = list(script)
        self.polled = polled
        self.jobs: list[FakeJob] = []
        self.requests: list[httpx.Request] = []
        self.cancelled: list[str] = []
        self.cancel_seen = asyncio.Event()
        self.submitted = asyncio.Event()
        self.answers = asyncio.Event()
        """Submissions are answered when it is set."""
        self.answers.set()
        self.cancels_answered = asyncio.Event()
        self.cancels_answered.set()
        self.poll_failures: list[httpx.Response | Exception] = []

    def client(self, **options: Any) -> RunpodSts:
        return RunpodSts("ep1", base_url=BASE, transport=httpx.MockTransport(self.handle), **options)

    def asked(self, operation: str) -> list[httpx.Request]:
        return [request for request in self.requests if request.url.path.split("/")[3] == operation]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        operation, *rest = request.url.path.removeprefix("/v2/ep1/").split("/")
        if operation in {"run", "runsync"}:
            return await self._submit(operation, request)
        job = next((job for job in self.jobs if [job.id] == rest), None)
        if job is None:
            return httpx.Response(404, json={"error": "job not found"})
        return await getattr(self, f"_{operation}")(job)

    async def _submit(self, route: str, request: httpx.Request) -> httpx.Response:
        act = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(act, httpx.Response):
            return act
        if isinstance(act, Exception):
            raise act
        job = FakeJob(
            f"{'sync-' if route == 'runsync' else ''}job-{len(self.jobs)}", route, json.loads(request.content)
        )
        self.jobs.append(job)
        act(job)
        self.submitted.set()
        await self.answers.wait()
        state = job.state() if route == "runsync" else {"id": job.id, "status": job.status}
        return httpx.Response(200, json=state)

    def _failure(self) -> httpx.Response | None:
        failure = self.poll_failures.pop(0) if self.poll_failures else None
        if isinstance(failure, Exception):
            raise failure
        return failure

    async def _status(self, job: FakeJob) -> httpx.Response:
        self.polled(job)
        return self._failure() or httpx.Response(200, json=job.state())

    async def _stream(self, job: FakeJob) -> httpx.Response:
        self.polled(job)
        if failure := self._failure():
            return failure
        pieces, job.unread = job.unread, []
        return httpx.Response(
            200, json={"status": job.status, "stream": [{"output": piece} for piece in pieces]}
        )

    async def _cancel(self, job: FakeJob) -> httpx.Response:
        self.cancelled.append(job.id)
        self.cancel_seen.set()
        await self.cancels_answered.wait()
        job.status = "CANCELLED"
        return httpx.Response(200, json=job.state())


def finishes(*pieces: Any) -> Act:
    return lambda job: job.end(*pieces)


def works(job: FakeJob) -> None:
    """A job that a worker has taken and never ends."""
    job.status = "IN_PROGRESS"
