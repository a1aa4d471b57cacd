"""Keeps warm environments per function: at most a few at a time, and callers wait for one only so long."""

from __future__ import annotations

import threading
from collections.abc import Callable

from livedub.errors import LivedubError
from local.aws.function_spec import FunctionSpec, InvokeResult
from local.aws.lambda_environment import EnvironmentStartError, LambdaEnvironment

EnvironmentFactory = Callable[[FunctionSpec], LambdaEnvironment]


class FunctionBusyError(LivedubError):
    """Every environment of the function stayed busy for longer than a caller may wait (Lambda: 429)."""


class _Pool:
    """The environments of one version of one function."""

    def __init__(self, digest: str, limit: int) -> None:
        self.digest = digest
        self.slots = threading.BoundedSemaphore(limit)
        self.idle: list[LambdaEnvironment] = []


class FunctionPools:
    """All functions' environments; every method may be called from any thread.

    Args:
        start: makes an environment.
        limit: environments per function; a fresh one needs some 70 MB.
        patience_s: how long a call waits for a free one.
    """

    def __init__(self, start: EnvironmentFactory, *, limit: int, patience_s: float) -> None:
        self._start = start
        self._limit = limit
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._pools: dict[str, _Pool] = {}
        self._running: set[LambdaEnvironment] = set()
        self._closed = False

    def invoke(self, spec: FunctionSpec, payload: bytes) -> InvokeResult:
        """Call the function in a warm environment, or a new one.

        Raises:
            FunctionBusyError: none became free in time, or the pools are closed.
        """
        pool = self._pool(spec)
        if not pool.slots.acquire(timeout=self._patience_s):
            raise FunctionBusyError(
                f"Function {spec.name} has {self._limit} calls in progress.",
                remedy="Retry, or raise LIVEDUB_LOCAL_AWS_ENVIRONMENTS_PER_FUNCTION.",
            )
        try:
            try:
                environment = self._take(spec, pool)
            except EnvironmentStartError as error:
                return InvokeResult.failure("Runtime.StartError", str(error))
            reusable = False
            try:
                result = environment.invoke(payload)
                reusable = result.reusable
            finally:
                self._give_back(pool, environment, reusable=reusable)
            return result
        finally:
            pool.slots.release()

    def pids(self) -> list[int]:
        """The emulators' process ids, for tests that kill them."""
        with self._lock:
            idle = [environment.pid for pool in self._pools.values() for environment in pool.idle]
            return idle + [environment.pid for environment in self._running]

    def close(self) -> None:
        """Kill every environment; calls in progress fail."""
        with self._lock:
            self._closed = True
            doomed = [*self._running, *(one for pool in self._pools.values() for one in pool.idle)]
            self._pools.clear()
        for environment in doomed:
            environment.kill()

    def _pool(self, spec: FunctionSpec) -> _Pool:
        digest = spec.digest
        with self._lock:
            self._check_open()
            pool = self._pools.get(spec.name)
            if pool is not None and pool.digest == digest:
                return pool
            stale = pool.idle if pool is not None else []
            pool = self._pools[spec.name] = _Pool(digest, self._limit)
        for environment in stale:
            environment.kill()
        return pool

    def _take(self, spec: FunctionSpec, pool: _Pool) -> LambdaEnvironment:
        dead: list[LambdaEnvironment] = []
        with self._lock:
            taken = None
            while pool.idle and taken is None:
                candidate = pool.idle.pop()  # the latest used: the others may rest
                if candidate.alive:
                    taken = candidate
                    self._running.add(candidate)
                else:
                    dead.append(candidate)
        for environment in dead:
            environment.kill()
        if taken is not None:
            return taken
        environment = self._start(spec)
        with self._lock:
            closed = self._closed
            if not closed:
                self._running.add(environment)
        if closed:
            environment.kill()
            self._check_open()
        return environment

    def _give_back(self, pool: _Pool, environment: LambdaEnvironment, *, reusable: bool) -> None:
        with self._lock:
            self._running.discard(environment)
            current = self._pools.get(environment.spec.name) is pool
            if reusable and current and environment.alive:
                pool.idle.append(environment)
                return
        environment.kill()

    def _check_open(self) -> None:
        if self._closed:
            raise FunctionBusyError("The local AWS is ending.", remedy="Start it again.")
