"""The state machine's functions, on a job in memory and an API that listens."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from livedub.errors import ConfigurationError
from livedub.library import job_functions
from livedub.library.api.callback_auth import CallbackGate, callback_path
from livedub.library.job_attempt import AttemptEnd, AttemptPatience, AttemptResult
from livedub.library.job_functions import HandOverError
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import DubParameters, DubTarget, Job, JobKind, JobState, MediaError
from tests.unit.livedub.library.memory_jobs import OUTPUT, MemoryJobs, job

SECRET = "callback-secret-of-this-test"  # noqa: S105
PATIENCE = AttemptPatience(beat_s=0.01, lease_s=30, timeout_s=600)


class Nonces:
    def __init__(self) -> None:
        self.seen: set[str] = set()

    def first_use(self, nonce: str) -> bool:
        new = nonce not in self.seen
        self.seen.add(nonce)
        return new


class Api:
    """Listens for callbacks, checks them as the API does, answers `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.heard: list[dict[str, Any]] = []
        gate = CallbackGate(SECRET, Nonces())
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                job_id = self.path.split("/")[3]
                parsed = json.loads(body)
                one = UUID(job_id)
                gate.check(one, dict(self.headers), body)
                assert self.path == callback_path(one)
                api.heard.append(parsed)
                self.send_response(api.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - theirs
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def api() -> Iterator[Api]:
    listening = Api()
    thread = threading.Thread(target=listening.server.serve_forever)
    thread.start()
    yield listening
    listening.server.shutdown()
    thread.join(30)
    listening.server.server_close()


class Storage:
    def __init__(self) -> None:
        self.deleted: list[str] = []

    def delete_prefix(self, _bucket: str, prefix: str) -> int:
        self.deleted.append(prefix)
        return 1

    def stat(self, _bucket: str, _key: str) -> Any:
        return SimpleNamespace(size_bytes=10)


class Kit:
    """As JobKit, on a job in memory."""

    def __init__(self, kept: Job, url: str = "") -> None:
        self.settings = LibrarySettings.model_validate({"fan_out_hosts": 7, "fan_out_min_s": 60})
        self.jobs = MemoryJobs(kept)
        self.storage = Storage()
        self.callback_url = url
        self.callback_secret = SECRET
        self.patience = PATIENCE
        self.duration_ms: int | None = None
        self.catalogue = SimpleNamespace(assets=SimpleNamespace(find=self._find))
        self.result = AttemptResult(AttemptEnd.COMPLETED, kept)
        self.asked: dict[str, Any] = {}

    def _find(self, _bucket: object, _key: str) -> Any:
        return None if self.duration_ms is None else SimpleNamespace(duration_ms=self.duration_ms)

    def attempt(self, _job_id: object, token: str, *, patience: AttemptPatience) -> AttemptResult:
        self.asked = {"token": token, "patience": patience}
        return self.result


def use(monkeypatch: pytest.MonkeyPatch, kit: Kit) -> Kit:
    monkeypatch.setattr(job_functions, "kit", lambda: kit)
    return kit


DUB = {"kind": JobKind.DUB, "parameters": DubParameters(targets=(DubTarget(language="en"),))}
ERROR = MediaError(code=LibraryErrorCode.TRUNCATED, message="It ends in the middle.")


def test_a_route_says_where_and_on_how_many_hosts(monkeypatch: pytest.MonkeyPatch):
    kit = use(monkeypatch, Kit(job(**DUB)))
    event = {"job_id": str(kit.jobs.job.id), "submission": 1}
    assert job_functions.route_job(event) == {"job_id": event["job_id"], "route": "host", "hosts": 1}
    kit.duration_ms = 60_000
    assert job_functions.route_job(event) == {"job_id": event["job_id"], "route": "fan_out", "hosts": 7}


def test_a_function_works_within_its_own_time_and_under_its_executions_name(monkeypatch: pytest.MonkeyPatch):
    kit = use(monkeypatch, Kit(job(state=JobState.COMPLETED, attempt=2)))
    event = {"job_id": str(kit.jobs.job.id), "token": "an execution"}
    assert job_functions.run_job_in_function(event, remaining_s=100) == {"state": "COMPLETED", "attempt": 2}
    assert kit.asked["token"] == event["token"]
    assert kit.asked["patience"].timeout_s == 80
    assert kit.asked["patience"].hands_over
    job_functions.run_job_in_function(event, remaining_s=10_000)
    assert kit.asked["patience"].timeout_s == PATIENCE.timeout_s


@pytest.mark.parametrize("end", [AttemptEnd.RELEASED, AttemptEnd.LOST])
def test_a_job_that_does_not_end_in_the_function_is_handed_over(
    monkeypatch: pytest.MonkeyPatch, end: AttemptEnd
):
    kit = use(monkeypatch, Kit(job()))
    kit.result = AttemptResult(end, kit.jobs.job, ERROR)
    with pytest.raises(HandOverError, match="It ends in the middle"):
        job_functions.run_job_in_function({"job_id": str(kit.jobs.job.id), "token": "x"}, remaining_s=100)


def test_a_job_that_has_ended_is_reported_as_it_ended(monkeypatch: pytest.MonkeyPatch, api: Api):
    kit = use(monkeypatch, Kit(job(state=JobState.COMPLETED, attempt=2, outputs=(OUTPUT,)), api.url))
    event = {"job_id": str(kit.jobs.job.id), "error": {"Error": "States.Timeout", "Cause": ""}}
    assert job_functions.end_job(event) == {"state": "COMPLETED", "attempt": 2}
    assert api.heard == [
        {"attempt": 2, "state": "COMPLETED", "outputs": [OUTPUT.model_dump(mode="json")], "error": None}
    ]
    assert kit.storage.deleted == []


@pytest.mark.parametrize(
    ("event", "code", "words"),
    [
        ({"error": {"Error": "States.Timeout", "Cause": ""}}, "TIMED_OUT", "States.Timeout"),
        ({"error": {"Error": "Job.Retry", "Cause": "busy"}}, "WORK_FAILED", "Job.Retry. busy"),
        ({}, "WORK_FAILED", "nothing was reported"),
    ],
)
def test_a_job_that_nobody_has_ended_has_failed(
    monkeypatch: pytest.MonkeyPatch, api: Api, event: dict[str, Any], code: str, words: str
):
    kit = use(monkeypatch, Kit(job(state=JobState.PROCESSING, attempt=3, **DUB), api.url))
    ended = job_functions.end_job({"job_id": str(kit.jobs.job.id), **event})
    assert ended == {"state": "FAILED", "attempt": 3}
    (heard,) = api.heard
    assert (heard["state"], heard["error"]["code"]) == ("FAILED", code)
    assert words in heard["error"]["message"]
    assert kit.storage.deleted == [f".parts/{kit.jobs.job.id}/"]


def test_an_execution_that_was_stopped_by_hand_fails_its_job(monkeypatch: pytest.MonkeyPatch, api: Api):
    kit = use(monkeypatch, Kit(job(state=JobState.PENDING), api.url))
    told = json.dumps({"job_id": str(kit.jobs.job.id), "submission": 1})
    job_functions.end_job({"detail": {"status": "ABORTED", "input": told}})
    assert "ABORTED" in api.heard[0]["error"]["message"]


def test_an_api_that_knows_better_is_believed(monkeypatch: pytest.MonkeyPatch, api: Api):
    kit = use(monkeypatch, Kit(job(state=JobState.PROCESSING, attempt=1), api.url))
    api.status = 409
    assert job_functions.end_job({"job_id": str(kit.jobs.job.id)})["state"] == "FAILED"


def test_an_api_that_refuses_or_is_gone_is_an_error(monkeypatch: pytest.MonkeyPatch, api: Api):
    kit = use(monkeypatch, Kit(job(state=JobState.COMPLETED, attempt=1), api.url))
    event = {"job_id": str(kit.jobs.job.id)}
    api.status = 401
    with pytest.raises(LibraryError) as caught:
        job_functions.end_job(event)
    assert caught.value.code is LibraryErrorCode.WORK_FAILED
    kit.callback_url = "http://127.0.0.1:1"
    with pytest.raises(LibraryError) as caught:
        job_functions.end_job(event)
    assert caught.value.code is LibraryErrorCode.QUEUE_DOWN
    kit.callback_url = "file:///etc/passwd"
    with pytest.raises(ConfigurationError, match="LIBRARY_CALLBACK_URL"):
        job_functions.end_job(event)
