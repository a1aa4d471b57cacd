from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from local.aws.background_work import BackgroundWork
from local.aws.function_pool import FunctionBusyError
from local.aws.function_spec import FunctionSpec, InvokeResult
from local.aws.functions import Functions

BOUND_S = 10.0
SPEC = FunctionSpec("f", "h.handler", Path("/code"))


@pytest.fixture
def background() -> Iterator[BackgroundWork]:
    work = BackgroundWork(speed=10_000.0)
    yield work
    work.close()


def test_jobs_run_and_one_that_fails_keeps_nobody(background: BackgroundWork):
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def fail() -> None:
        raise ValueError

    for number in range(30):
        background.soon(fail)
        background.soon(lambda number=number: done.put(number))
    assert sorted(done.get(timeout=BOUND_S) for _ in range(30)) == list(range(30))


def test_later_jobs_run_in_order_of_their_time(background: BackgroundWork):
    done: queue.SimpleQueue[str] = queue.SimpleQueue()
    first = threading.Event()

    def second() -> None:
        assert first.wait(BOUND_S)
        done.put("second")

    background.later(1_000.0, second)
    background.later(1.0, lambda: (done.put("first"), first.set()))
    assert [done.get(timeout=BOUND_S) for _ in range(2)] == ["first", "second"]


def test_nothing_runs_after_the_end():
    background = BackgroundWork()
    ran = threading.Event()
    background.later(0.0001, ran.set)
    background.close()
    ran.clear()
    background.later(0.0, ran.set)
    background.soon(ran.set)
    assert not ran.is_set()


class ScriptedPools:
    """Answers calls from a list; tells when each came."""

    def __init__(self, answers: list[InvokeResult | FunctionBusyError]) -> None:
        self._answers = list(answers)
        self.calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def invoke(self, spec: FunctionSpec, payload: bytes) -> InvokeResult:
        answer = self._answers.pop(0)
        self.calls.put(payload)
        if isinstance(answer, FunctionBusyError):
            raise answer
        return answer


FAILED = InvokeResult(b'{"errorType": "X"}', failed=True)


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([InvokeResult(b"1")], 1),
        ([FAILED, InvokeResult(b"1")], 2),
        ([FunctionBusyError("busy"), FAILED, InvokeResult(b"1")], 3),
        ([FAILED, FAILED, FAILED], 3),
    ],
)
def test_an_asynchronous_call_is_retried_twice(background: BackgroundWork, answers: list[Any], calls: int):
    pools = ScriptedPools([*answers, InvokeResult(b"sentinel")])
    functions = Functions(cast("Any", pools), background, lambda spec, text: None)
    functions.call_later(SPEC, b"payload")
    for _ in range(calls):
        assert pools.calls.get(timeout=BOUND_S) == b"payload"
    # Everything that was scheduled before it has run once this has; a retry would take the sentinel's answer.
    settled = threading.Event()
    background.later(1_000.0, settled.set)
    assert settled.wait(BOUND_S)
    assert pools.calls.empty()


def test_what_a_function_writes_is_kept(background: BackgroundWork):
    kept: list[tuple[str, str]] = []
    pools = ScriptedPools([InvokeResult(b"1", log="hello\n"), InvokeResult(b"2")])
    functions = Functions(cast("Any", pools), background, lambda spec, text: kept.append((spec.name, text)))
    functions.call(SPEC, b"{}")
    functions.call(SPEC, b"{}")
    assert kept == [("f", "hello\n")]
