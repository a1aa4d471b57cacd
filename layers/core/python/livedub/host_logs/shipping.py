"""From the journal to CloudWatch Logs, until the process is to end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from livedub.host_logs.delivery import Delivery, pause_s
from livedub.host_logs.journal_entry import EventMaker, parse_entry
from livedub.host_logs.log_event import Batch, LogEvent
from livedub.host_logs.place_file import PlaceFile
from livedub.host_logs.stop_request import StopRequest

_USELESS_STARTS = 3
"""After so many in a row that gave not one line, the place is one that the journal refuses."""

log = logging.getLogger(__name__)


class EntrySource(Protocol):
    """The journal; livedub.host_logs.journal."""

    def open(self, cursor: str) -> None:
        """Begin after `cursor`. Raises OSError."""
        ...

    def read(self, seconds: float) -> Sequence[bytes] | None:
        """Lines within so many seconds; None where no more come."""
        ...

    def close(self) -> None:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take.

    Attributes:
        linger_s: how long a line waits for others to go with it.
        sample_s: how often disks and memory are looked at.
        last_words_s: for how long, when the process is to end, more is still read.
        quiet_s: nothing within so long is the end of last words.
    """

    linger_s: float = 2.0
    sample_s: float = 60.0
    last_words_s: float = 10.0
    quiet_s: float = 2.0


class Shipping:
    """The loop. It holds one batch, and takes the next from the journal when that is delivered."""

    def __init__(
        self,
        *,
        journal: EntrySource,
        delivery: Delivery,
        place: PlaceFile,
        maker: EventMaker,
        sample: Callable[[], LogEvent],
        stop: StopRequest,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire it; `sample` looks at disks and memory, `clock` is in seconds and only ever grows."""
        self._journal = journal
        self._delivery = delivery
        self._place = place
        self._maker = maker
        self._sample = sample
        self._stop = stop
        self._pace = pace or Pace()
        self._clock = clock
        self._batch = Batch()
        self._cursor = place.cursor
        self._sample_at = clock()
        self._deliver_at = float("inf")
        self._given_up = False
        """What comes after events that were not delivered must not move the place past them."""

    def run(self) -> None:
        """Until the process is to end. A journalctl that ends is started again, later and later."""
        useless = 0
        while not self._stop.asked:
            heard = self._follow()
            self._deliver()
            if self._stop.asked:
                break
            useless = 0 if heard else useless + 1
            if useless == _USELESS_STARTS and self._place.cursor:
                log.warning("The journal does not know the place of before: the last day is sent again")
                self._place.forget()
                self._cursor = ""
            if self._stop.wait(pause_s(max(1, useless), 1.0)):
                break

    def _follow(self) -> bool:
        """Whether there was a line before it ended."""
        heard = False
        try:
            self._journal.open(self._place.cursor)
            while not self._stop.asked:
                self._take_sample()
                lines = self._journal.read(self._patience_s())
                if lines is None:
                    return heard
                heard = heard or bool(lines)
                self._take(lines)
                if self._clock() >= self._deliver_at:
                    self._deliver()
            self._take_last_words()
        except OSError as error:
            log.warning("The journal cannot be read: %s", error)
        finally:
            self._journal.close()
        return heard

    def _take_last_words(self) -> None:
        """What services said while they were stopped: this one is stopped after them."""
        ends = self._clock() + self._pace.last_words_s
        while self._clock() < ends:
            lines = self._journal.read(self._pace.quiet_s)
            if not lines:
                return
            self._take(lines)

    def _take(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            entry = parse_entry(line)
            if entry is None:
                continue
            self._add(self._maker.event(entry))
            self._cursor = entry.cursor

    def _take_sample(self) -> None:
        if self._clock() >= self._sample_at:
            self._sample_at += self._pace.sample_s
            if self._sample_at <= self._clock():
                # An outage is not made up for.
                self._sample_at = self._clock() + self._pace.sample_s
            self._add(self._sample())

    def _add(self, event: LogEvent) -> None:
        if not self._batch.takes(event):
            self._deliver()
        if not len(self._batch):
            self._deliver_at = self._clock() + self._pace.linger_s
        self._batch.add(event)

    def _deliver(self) -> None:
        """Deliver what there is. The place moves on after that, and only then."""
        self._deliver_at = float("inf")
        events = self._batch.take()
        if not events or self._given_up:
            return
        self._given_up = not self._delivery.deliver(events)
        if not self._given_up and self._cursor != self._place.cursor:
            self._place.save(self._cursor)

    def _patience_s(self) -> float:
        return max(0.0, min(self._sample_at, self._deliver_at) - self._clock())
