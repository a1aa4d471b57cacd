from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from local.aws.function_pool import FunctionBusyError, FunctionPools
from local.aws.function_spec import FunctionSpec, InvokeResult
from local.aws.lambda_environment import EnvironmentStartError

SPEC = FunctionSpec("f", "h.handler", Path("/code"))
BOUND_S = 10.0


class FakeEnvironment:
    def __init__(self, spec: FunctionSpec, gate: threading.Event) -> None:
        self.spec = spec
        self.alive = True
        self.pid = id(self)
        self.calls = 0
        self.result = InvokeResult(b"{}")
        self.entered = threading.Event()
        self._gate = gate

    def invoke(self, payload: bytes) -> InvokeResult:
        self.calls += 1
        self.entered.set()
        assert self._gate.wait(BOUND_S)
        return self.result

    def kill(self) -> None:
        self.alive = False


class Rig:
    def __init__(self, *, limit: int = 2, patience_s: float = 0.05) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.made: list[FakeEnvironment] = []
        self.started = threading.Semaphore(0)
        self.pools = FunctionPools(cast("Any", self._start), limit=limit, patience_s=patience_s)

    def _start(self, spec: FunctionSpec):
        environment = FakeEnvironment(spec, self.gate)
        self.made.append(environment)
        self.started.release()
        return environment


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def test_a_warm_environment_is_used_again():
    rig = Rig()
    for _ in range(3):
        rig.pools.invoke(SPEC, b"{}")
    assert [one.calls for one in rig.made] == [3]


def test_calls_at_once_get_environments_of_their_own_up_to_the_limit(threads: ThreadPoolExecutor):
    rig = Rig(limit=2)
    rig.gate.clear()
    calls = [threads.submit(rig.pools.invoke, SPEC, b"{}") for _ in range(2)]
    for _ in calls:
        assert rig.started.acquire(timeout=BOUND_S)
    with pytest.raises(FunctionBusyError):
        rig.pools.invoke(SPEC, b"{}")
    rig.gate.set()
    assert [call.result(BOUND_S).payload for call in calls] == [b"{}", b"{}"]
    assert len(rig.made) == 2


def test_a_waiting_call_gets_the_environment_that_becomes_free(threads: ThreadPoolExecutor):
    rig = Rig(limit=1, patience_s=BOUND_S)
    rig.gate.clear()
    calls = [threads.submit(rig.pools.invoke, SPEC, b"{}") for _ in range(4)]
    assert rig.started.acquire(timeout=BOUND_S)
    rig.gate.set()
    assert [call.result(BOUND_S).failed for call in calls] == [False] * 4
    assert len(rig.made) == 1


def test_another_version_replaces_the_old_environments():
    rig = Rig()
    rig.pools.invoke(SPEC, b"{}")
    rig.pools.invoke(replace(SPEC, environment={"A": "1"}), b"{}")
    assert [one.alive for one in rig.made] == [False, True]


def test_an_old_versions_environment_goes_after_its_call(threads: ThreadPoolExecutor):
    rig = Rig()
    rig.gate.clear()
    call = threads.submit(rig.pools.invoke, SPEC, b"{}")
    assert rig.started.acquire(timeout=BOUND_S)
    other = threads.submit(rig.pools.invoke, replace(SPEC, timeout_s=9), b"{}")
    assert rig.started.acquire(timeout=BOUND_S)
    rig.gate.set()
    call.result(BOUND_S)
    other.result(BOUND_S)
    assert [one.alive for one in rig.made] == [False, True]


def test_an_environment_that_cannot_be_used_again_is_replaced():
    rig = Rig()
    rig.pools.invoke(SPEC, b"{}")
    rig.made[0].result = InvokeResult.failure("Runtime.ExitError", "gone")
    assert rig.pools.invoke(SPEC, b"{}").failed
    rig.pools.invoke(SPEC, b"{}")
    assert [one.alive for one in rig.made] == [False, True]


def test_an_environment_that_died_idle_is_replaced():
    rig = Rig()
    rig.pools.invoke(SPEC, b"{}")
    rig.made[0].alive = False
    assert not rig.pools.invoke(SPEC, b"{}").failed
    assert len(rig.made) == 2


def test_an_environment_that_does_not_start_is_an_error_of_the_call():
    def start(_spec: FunctionSpec):
        raise EnvironmentStartError("no emulator")

    pools = FunctionPools(start, limit=1, patience_s=0.05)
    for _ in range(2):  # the slot is free again
        assert b"no emulator" in pools.invoke(SPEC, b"{}").payload


def test_the_end_kills_all_and_refuses_more(threads: ThreadPoolExecutor):
    rig = Rig()
    rig.pools.invoke(SPEC, b"{}")
    rig.pools.close()
    assert not rig.made[0].alive
    with pytest.raises(FunctionBusyError):
        rig.pools.invoke(SPEC, b"{}")


def test_the_end_kills_environments_in_use(threads: ThreadPoolExecutor):
    rig = Rig()
    rig.gate.clear()
    call = threads.submit(rig.pools.invoke, SPEC, b"{}")
    assert rig.started.acquire(timeout=BOUND_S)
    assert rig.made[0].entered.wait(BOUND_S)
    rig.pools.close()
    assert not rig.made[0].alive
    rig.gate.set()
    call.result(BOUND_S)
    assert rig.pools.pids() == []
