"""A discrete-event clock: processes are generators that yield how long to sleep (ms), or a Signal to wait for."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from typing import Any

Process = Generator["int | Signal", Any, Any]

EPOCH_MS = 1_800_000_000_000


class Signal:
    """Set once, with a value or an error; wakes whoever waits."""

    __slots__ = ("error", "is_set", "value", "waiting")

    def __init__(self) -> None:
        self.is_set = False
        self.value: Any = None
        self.error: Exception | None = None
        self.waiting: list[Callable[[], None]] = []

    def set(self, value: Any = None, error: Exception | None = None) -> None:
        if self.is_set:
            return
        self.is_set, self.value, self.error = True, value, error
        waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake()


class Host:
    """Where processes live: they die with it, stand still with it, and share its clock."""

    __slots__ = ("epoch", "frozen_until_ms", "name", "offline_until_ms", "offset_ms", "sim")

    def __init__(self, sim: Simulation, name: str, offset_ms: int = 0) -> None:
        self.sim = sim
        self.name = name
        self.offset_ms = offset_ms
        self.epoch = 0
        self.frozen_until_ms = 0
        self.offline_until_ms = 0

    def kill(self) -> None:
        """End every process that runs here; those spawned later run."""
        self.epoch += 1

    @property
    def clock_ms(self) -> int:
        return EPOCH_MS + self.sim.now + self.offset_ms

    @property
    def online(self) -> bool:
        return self.sim.now >= self.offline_until_ms


class _Running:
    __slots__ = ("done", "epoch", "host", "process", "sim")

    def __init__(self, sim: Simulation, process: Process, host: Host | None, done: Signal) -> None:
        self.sim = sim
        self.process = process
        self.host = host
        self.epoch = host.epoch if host else 0
        self.done = done

    def resume(self, signal: Signal | None = None) -> None:
        host = self.host
        if host is not None:
            if host.epoch != self.epoch:
                self.process.close()
                return
            if host.frozen_until_ms > self.sim.now:
                self.sim.call(host.frozen_until_ms - self.sim.now, self.resume, signal)
                return
        try:
            if signal is None:
                asked = self.process.send(None)
            elif signal.error is not None:
                asked = self.process.throw(signal.error)
            else:
                asked = self.process.send(signal.value)
        except StopIteration as stop:
            self.done.set(stop.value)
            return
        if isinstance(asked, Signal):
            self._wait(asked)
        else:
            self.sim.call(asked, self.resume)

    def _wait(self, signal: Signal) -> None:
        if signal.is_set:
            self.sim.call(0, self.resume, signal)
        else:
            signal.waiting.append(lambda: self.sim.call(0, self.resume, signal))


class Simulation:
    """The clock, the randomness and what goes wrong by chance."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0
        self.events = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0

    def call(self, delay_ms: int, function: Callable[..., None], *arguments: Any) -> None:
        self._order += 1
        heapq.heappush(self._heap, (self.now + delay_ms, self._order, function, arguments))

    def spawn(self, process: Process, host: Host | None = None) -> Signal:
        done = Signal()
        self.call(0, _Running(self, process, host, done).resume)
        return done

    def run_until(self, time_ms: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= time_ms:
            self.now, _, function, arguments = heapq.heappop(heap)
            self.events += 1
            function(*arguments)
        self.now = time_ms
