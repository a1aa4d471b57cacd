"""A host on a queue and task tokens of this process."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from livedub.library.job_attempt import AttemptEnd, AttemptPatience, AttemptResult
from livedub.library.job_kit import JobKit
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import JobState
from livedub.library.work_item import RETRY, StepEnd
from media_edge.library.host_worker import Beat, HostWorker
from media_edge.library.work_client import Message, TokenRefusedError, WorkClient
from tests.unit.livedub.library.memory_jobs import MemoryJobs, job

BOUND_S = 30.0
DOWN = LibraryError(LibraryErrorCode.QUEUE_DOWN, "Nobody answers.")


class Client:
    """As WorkClient."""

    hidden_s = 30

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.dead: set[str] = set()
        self.down = 0
        self.kept: list[str] = []
        self.deleted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[tuple[str, str, object]] = queue.SimpleQueue()

    def send(self, token: str, **fields: Any) -> None:
        body = {"task_token": token, "step": "job", "job_id": str(JOB.id), **fields}
        self.messages.put(Message(json.dumps(body), token))

    def receive(self, _wait_s: int) -> Message | None:
        try:
            return self.messages.get(timeout=0.01)
        except queue.Empty:
            return None

    def keep(self, message: Message) -> None:
        self.kept.append(message.receipt)

    def delete(self, message: Message) -> None:
        self.deleted.put(message.receipt)

    def alive(self, token: str) -> None:
        self._refuse(token)

    def succeed(self, token: str, end: StepEnd) -> None:
        self._refuse(token)
        self.answers.put((token, "success", end))

    def fail(self, token: str, error: str, cause: str) -> None:
        self._refuse(token)
        self.answers.put((token, error, cause))

    def _refuse(self, token: str) -> None:
        if token in self.dead:
            raise TokenRefusedError
        if self.down:
            self.down -= 1
            raise DOWN


JOB = job(state=JobState.COMPLETED, attempt=1)


class Kit:
    """As JobKit; `attempt` does what the test says."""

    def __init__(self) -> None:
        self.settings = SimpleNamespace(job_slots=2)
        self.jobs = MemoryJobs(JOB)
        self.patience = AttemptPatience(0.01, 30, 600)
        self.deliveries: list[str] = []
        self.do: Callable[[], AttemptResult] = lambda: AttemptResult(AttemptEnd.COMPLETED, JOB)

    def attempt(self, _job_id: object, token: str, _beat: object) -> AttemptResult:
        self.deliveries.append(token)
        return self.do()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def worker(client: Client, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostWorker]:
    monkeypatch.setattr("media_edge.library.host_worker._AFTER_AN_ERROR_S", 0.01)
    running = HostWorker(cast("JobKit", kit), cast("WorkClient", client))
    thread = threading.Thread(target=running.run)
    thread.start()
    yield running
    running.stop()
    thread.join(BOUND_S)
    assert not thread.is_alive()


def test_work_is_done_answered_and_deleted(worker: HostWorker, client: Client):
    client.send("token-1")
    end = StepEnd(state=JobState.COMPLETED, attempt=1)
    assert client.answers.get(timeout=BOUND_S) == ("token-1", "success", end)
    assert client.deleted.get(timeout=BOUND_S) == "token-1"


def test_work_that_nobody_waits_for_is_deleted_and_not_done(worker: HostWorker, client: Client, kit: Kit):
    client.dead.add("stale")
    client.send("stale")
    assert client.deleted.get(timeout=BOUND_S) == "stale"
    assert kit.deliveries == []


def test_a_redelivery_has_the_same_name_and_another_task_another_one(
    worker: HostWorker, client: Client, kit: Kit
):
    for token in ("one", "one", "two"):
        client.send(token)
        client.deleted.get(timeout=BOUND_S)
    first, second, third = kit.deliveries
    assert first == second != third
    assert "one" not in first, "a task token is a secret, and the name stands in the catalogue"


def test_a_job_that_must_wait_is_given_back_to_the_state_machine(
    worker: HostWorker, client: Client, kit: Kit
):
    kit.do = lambda: AttemptResult(AttemptEnd.RELEASED, JOB)
    client.send("token-1")
    token, error, _ = client.answers.get(timeout=BOUND_S)
    assert (token, error) == ("token-1", RETRY)
    assert client.deleted.get(timeout=BOUND_S) == "token-1"


def test_an_answer_is_repeated_until_it_is_heard(worker: HostWorker, client: Client, kit: Kit):
    def cut() -> AttemptResult:
        client.down = 3
        return AttemptResult(AttemptEnd.COMPLETED, JOB)

    kit.do = cut
    client.send("token-1")
    assert client.answers.get(timeout=BOUND_S)[1] == "success"


def test_an_answer_that_nobody_wants_any_more_ends_it(worker: HostWorker, client: Client, kit: Kit):
    def stopped() -> AttemptResult:
        client.dead.add("token-1")
        return AttemptResult(AttemptEnd.CANCELLED, JOB)

    kit.do = stopped
    client.send("token-1")
    assert client.deleted.get(timeout=BOUND_S) == "token-1"
    assert client.answers.empty()


@pytest.mark.parametrize("error", [DOWN, ZeroDivisionError("by zero")])
def test_what_goes_wrong_leaves_the_message_to_another_delivery_and_the_slot_to_other_work(
    worker: HostWorker, client: Client, kit: Kit, error: Exception
):
    broke: queue.SimpleQueue[None] = queue.SimpleQueue()

    def broken() -> AttemptResult:
        broke.put(None)
        raise error

    def good() -> AttemptResult:
        return AttemptResult(AttemptEnd.COMPLETED, JOB)

    kit.do = broken
    for number in range(5):
        client.send(f"broken-{number}")
    for _ in range(5):
        broke.get(timeout=BOUND_S)
    kit.do = good
    client.send("good")
    assert client.answers.get(timeout=BOUND_S)[0] == "good"
    assert client.deleted.get(timeout=BOUND_S) == "good"
    assert client.deleted.empty()


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"task_token": "t", "step": "sing", "job_id": "x"}'])
def test_a_message_that_is_no_work_is_left_for_the_dead_letters(
    worker: HostWorker, client: Client, body: str
):
    client.messages.put(Message(body, "nonsense"))
    client.send("good")
    assert client.deleted.get(timeout=BOUND_S) == "good"
    assert client.deleted.empty()


def test_a_later_releases_fields_are_no_nonsense(worker: HostWorker, client: Client):
    client.send("token-1", priority=7)
    assert client.deleted.get(timeout=BOUND_S) == "token-1"


def test_a_beat_keeps_the_message_hidden_and_hears_of_the_end(client: Client):
    now = [0.0]
    message = Message("{}", "token-1")
    beat = Beat(cast("WorkClient", client), message, "token-1", lambda: now[0])
    assert beat()
    assert client.kept == []
    now[0] = client.hidden_s / 3
    assert beat()
    assert beat()
    assert client.kept == ["token-1"]
    client.dead.add("token-1")
    now[0] = client.hidden_s
    assert not beat()


def test_a_stop_lets_the_work_at_hand_finish(client: Client, kit: Kit):
    begun, go = threading.Event(), threading.Event()

    def slow() -> AttemptResult:
        begun.set()
        assert go.wait(BOUND_S)
        return AttemptResult(AttemptEnd.COMPLETED, JOB)

    kit.do = slow
    worker = HostWorker(cast("JobKit", kit), cast("WorkClient", client))
    thread = threading.Thread(target=worker.run)
    thread.start()
    client.send("token-1")
    assert begun.wait(BOUND_S)
    worker.stop()
    go.set()
    thread.join(BOUND_S)
    assert not thread.is_alive()
    assert client.answers.get(timeout=BOUND_S)[0] == "token-1"
