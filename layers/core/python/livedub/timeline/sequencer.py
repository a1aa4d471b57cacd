"""Brings answers that arrive in any order back into order, and lets none out after its deadline."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from livedub.errors import InvalidInputError

T = TypeVar("T")


class Outcome(str, Enum):
    """What became of an expected item; each gets exactly one."""

    ON_TIME = "on_time"
    """Here and released by its deadline."""
    LATE = "late"
    """Here, but past its deadline when it came or when it was its turn."""
    MISSING = "missing"
    """Not here when its deadline had passed."""


class Receipt(str, Enum):
    """What `offer` did with an item."""

    TAKEN = "taken"
    """Kept; `poll` releases it."""
    SETTLED = "settled"
    """Its number already had its outcome: the item stays with the caller, for the log."""
    DUPLICATE = "duplicate"
    """Its number has an item, which counts; this one stays with the caller."""
    UNEXPECTED = "unexpected"
    """Nobody announced this number."""


@dataclass(frozen=True, slots=True)
class Release(Generic[T]):
    """The one outcome of one expected number; `item` is None if nothing came."""

    sequence_number: int
    deadline_ns: int
    outcome: Outcome
    item: T | None


@dataclass(slots=True)
class _Slot(Generic[T]):
    deadline_ns: int
    filled: bool = False
    late: bool = False
    item: T | None = None

    def outcome(self, now_ns: int) -> Outcome | None:
        """What has become of it by now; None while it may still be in time."""
        overdue = self.late or now_ns > self.deadline_ns
        if self.filled:
            return Outcome.LATE if overdue else Outcome.ON_TIME
        return Outcome.MISSING if overdue else None


class Sequencer(Generic[T]):
    """Releases items in rising order of their numbers, each by its deadline or not at all.

    Every number given to `expect` comes out of `poll` exactly once, so whoever logs the releases has lost nothing.
    An answer waits for the ones before it, but never past its own deadline, since deadlines do not fall. Memory is
    bounded by the numbers whose deadlines lie ahead.

    All times are local running time in nanoseconds, passed in; the sequencer reads no clock.
    """

    __slots__ = ("_last_expected", "_last_settled", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, _Slot[T]] = {}  # in rising order: that is how they are inserted
        self._last_expected: int | None = None
        self._last_settled: int | None = None

    def __len__(self) -> int:
        """Numbers still without an outcome."""
        return len(self._slots)

    @property
    def next_deadline_ns(self) -> int | None:
        """Deadline of the number whose turn it is: just after it, `poll` has something to say. None if idle."""
        return next((slot.deadline_ns for slot in self._slots.values()), None)

    def expect(self, sequence_number: int, deadline_ns: int) -> None:
        """Announce a number; at `deadline_ns` its item may still go out, a nanosecond later not.

        Raises:
            InvalidInputError: numbers do not rise, or the deadline lies before that of the number before.
        """
        if self._last_expected is not None and sequence_number <= self._last_expected:
            raise InvalidInputError(
                f"sequence_number {sequence_number} does not follow {self._last_expected}.",
                remedy="Expect rising numbers, each once.",
            )
        if self._slots and deadline_ns < (latest := next(reversed(self._slots.values()))).deadline_ns:
            raise InvalidInputError(
                f"deadline_ns {deadline_ns} of number {sequence_number} lies before the {latest.deadline_ns} of the one"
                " before it.",
                remedy="Give deadlines that do not fall.",
            )
        self._last_expected = sequence_number
        self._slots[sequence_number] = _Slot(deadline_ns)

    def offer(self, sequence_number: int, item: T, now_ns: int) -> Receipt:
        """Hand in the item of a number, whenever and in whatever order it comes."""
        slot = self._slots.get(sequence_number)
        if slot is None:
            settled = self._last_settled is not None and sequence_number <= self._last_settled
            return Receipt.SETTLED if settled else Receipt.UNEXPECTED
        if slot.filled:
            return Receipt.DUPLICATE
        slot.filled, slot.late, slot.item = True, now_ns > slot.deadline_ns, item
        return Receipt.TAKEN

    def poll(self, now_ns: int) -> list[Release[T]]:
        """Outcomes that are certain now, in rising order; a number still in time holds up those after it."""
        releases: list[Release[T]] = []
        for sequence_number, slot in self._slots.items():
            outcome = slot.outcome(now_ns)
            if outcome is None:
                break
            releases.append(Release(sequence_number, slot.deadline_ns, outcome, slot.item))
        for release in releases:
            del self._slots[release.sequence_number]
            self._last_settled = release.sequence_number
        return releases
