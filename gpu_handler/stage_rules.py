"""The rules of a batching stage, free of threads, clocks and event loops.

Who goes next, who cannot make it any more, how large a batch may be, and who is to blame when one fails. Time is integer nanoseconds of any monotonic clock, handed in.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_NS_PER_S = 1_000_000_000

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    """The place of one item that waits for a stage.

    `deadline_ns` is the last moment at which the stage may end with it. Tickets of one `stream` go in the order of
    their `sequence_number`, those of one number in the order in which they came.
    """

    stream: Hashable
    sequence_number: int
    deadline_ns: int
    arrival: int = 0


T = TypeVar("T", bound=Ticket)


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """What a free engine does next: `batch` it works on, `hopeless` is refused, the rest goes on waiting."""

    batch: list[T]
    hopeless: list[T]


class StageQueue(Generic[T]):
    """Tickets in first come, first served order per stream, earliest deadline first between streams."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, list[T]] = {}
        self._count = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return self._count

    def add(self, ticket: T) -> None:
        """Let a ticket wait behind those of its stream that came before it in the stream."""
        self._arrivals += 1
        ticket.arrival = self._arrivals
        insort(self._lines.setdefault(ticket.stream, []), ticket, key=_place)
        self._count += 1

    def remove(self, ticket: T) -> bool:
        """Take a ticket out; False where it does not wait here (any more)."""
        line = self._lines.get(ticket.stream, [])
        if ticket not in line:
            return False
        line.remove(ticket)
        if not line:
            del self._lines[ticket.stream]
        self._count -= 1
        return True

    def earliest_deadline_ns(self) -> int | None:
        """Of all waiting tickets."""
        return min((ticket.deadline_ns for line in self._lines.values() for ticket in line), default=None)

    def in_order(self) -> list[T]:
        """Every ticket in the order in which an engine would take them one by one."""
        heads = [(line[0].deadline_ns, line[0].arrival, line, 0) for line in self._lines.values()]
        heapq.heapify(heads)
        ordered: list[T] = []
        while heads:
            _, _, line, index = heads[0]
            ordered.append(line[index])
            if index + 1 < len(line):
                following = line[index + 1]
                heapq.heapreplace(heads, (following.deadline_ns, following.arrival, line, index + 1))
            else:
                heapq.heappop(heads)
        return ordered

    def is_hopeless(self, ticket: T, *, free_ns: int, cost_ns: int, at_once: int) -> bool:
        """Whether a waiting ticket would end too late even if nothing more came.

        Args:
            ticket: one that waits here.
            free_ns: when the engine can start next.
            cost_ns: the least that a batch takes.
            at_once: items worked on at the same time.
        """
        rounds = -(-self._count // at_once)
        if free_ns + rounds * cost_ns <= ticket.deadline_ns:
            return False
        ahead = self.in_order().index(ticket)
        return free_ns + (ahead // at_once + 1) * cost_ns > ticket.deadline_ns

    def turn(self, *, now_ns: int, cost_ns: int, limit: int, lanes: int = 1) -> Turn[T]:
        """Take the next batch of at most `limit`, and whatever cannot make its deadline by `cost_ns` a batch."""
        kept: list[T] = []
        hopeless: list[T] = []
        for ticket in self.in_order():
            rounds = len(kept) // (limit * lanes) + 1
            late = now_ns + rounds * cost_ns > ticket.deadline_ns
            (hopeless if late else kept).append(ticket)
        batch = kept[:limit]
        for ticket in (*batch, *hopeless):
            self.remove(ticket)
        return Turn(batch, hopeless)

    def drain(self) -> list[T]:
        """Take out every ticket."""
        tickets = self.in_order()
        self._lines.clear()
        self._count = 0
        return tickets


def _place(ticket: Ticket) -> tuple[int, int]:
    return ticket.sequence_number, ticket.arrival


class CostEstimate:
    """The least that a batch has taken lately.

    The least, because refusing a fragment that would have made it is worse than computing one that does not. Nothing
    is known once no batch has ended for `fresh_s`: a stage that refuses everything learns nothing new, so it must
    soon try again.
    """

    def __init__(self, *, samples: int = 8, memory_s: float = 10.0, fresh_s: float = 3.0) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=samples)
        self._memory_ns = round(memory_s * _NS_PER_S)
        self._fresh_ns = round(fresh_s * _NS_PER_S)
        self._least_ns = 0
        self._valid_until_ns = -1

    def observe(self, now_ns: int, duration_ns: int) -> None:
        """Learn what one batch took."""
        self._samples.append((now_ns, duration_ns))
        self._valid_until_ns = -1

    def least_ns(self, now_ns: int) -> int:
        """0 where nothing is known."""
        if not self._samples or self._samples[-1][0] < now_ns - self._fresh_ns:
            return 0
        if now_ns > self._valid_until_ns:
            while self._samples[0][0] < now_ns - self._memory_ns:
                self._samples.popleft()
            self._least_ns = min(duration for _, duration in self._samples)
            self._valid_until_ns = self._samples[0][0] + self._memory_ns
        return self._least_ns


class BatchLimit:
    """The most items in a batch: the engine's word, halved where memory ran out, doubled again after a while."""

    def __init__(self, largest: int, *, recovery_s: float = 60.0) -> None:
        self._largest = max(1, largest)
        self._current = self._largest
        self._recovery_ns = round(recovery_s * _NS_PER_S)
        self._changed_ns = 0

    def ran_out(self, now_ns: int, size: int) -> None:
        """A batch of `size` did not fit into memory."""
        self._current = max(1, min(self._current, size // 2))
        self._changed_ns = now_ns

    def current(self, now_ns: int) -> int:
        """How many items the next batch may hold."""
        while self._current < self._largest and now_ns - self._changed_ns >= self._recovery_ns:
            self._current = min(self._largest, self._current * 2)
            self._changed_ns += self._recovery_ns
        return self._current


@dataclass(frozen=True, slots=True)
class Settled(Generic[R]):
    """What became of some items of a batch: their results in order, or the error of the one that is alone."""

    indices: tuple[int, ...]
    results: tuple[R, ...] = ()
    error: Exception | None = None


def settle(
    call: Callable[[Sequence[I]], Sequence[R]],
    items: Sequence[I],
    *,
    out_of_memory: Callable[[BaseException], bool],
    dropped: Callable[[int], bool] = lambda _: False,
    on_out_of_memory: Callable[[int], None] = lambda _: None,
) -> Iterator[Settled[R]]:
    """Run a batch so that an item which fails costs nobody else.

    Where memory runs out the batch is halved until it fits; any other failure makes its items run singly. Every
    index is settled once, or `dropped` before a further try.

    Args:
        call: the engine; answers every item in order or raises.
        items: the batch.
        out_of_memory: whether an error says so.
        dropped: whether an item need not be tried again.
        on_out_of_memory: told the size of each call that ran out.
    """
    todo: deque[list[int]] = deque([list(range(len(items)))])
    while todo:
        part = todo.popleft()
        try:
            results = call([items[index] for index in part])
            if len(results) != len(part):
                raise RuntimeError(f"the engine answered {len(results)} of {len(part)} items")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - engines raise whatever their libraries raise
            memory = out_of_memory(error)
            if memory:
                on_out_of_memory(len(part))
            if len(part) == 1:
                yield Settled((part[0],), error=error)
                continue
            left = [index for index in part if not dropped(index)]
            size = -(-len(part) // 2) if memory else 1
            todo.extendleft(reversed([left[at : at + size] for at in range(0, len(left), size)]))
        else:
            yield Settled(tuple(part), results=tuple(results))
