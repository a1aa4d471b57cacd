"""Until it is done, or the process is to end."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.host_logs.delivery import Delivery, EventsRefusedError, LogsUnavailableError, pause_s
from livedub.host_logs.log_event import LogEvent

NOT_NOW = LogsUnavailableError("throttled.")


class Sink:
    """Fails as it is told to, and refuses events that are called `bad`."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.stored: list[str] = []

    def put(self, events: Sequence[LogEvent]) -> None:
        if self.failures:
            self.failures -= 1
            raise NOT_NOW
        if any(event.message == "bad" for event in events):
            raise EventsRefusedError("no.")
        self.stored += [event.message for event in events]


class Waits:
    """Notes how long it should have waited; the process is to end after so many."""

    def __init__(self, ends_after: int = 1_000) -> None:
        self.seconds: list[float] = []
        self._ends_after = ends_after

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) >= self._ends_after


def events(*messages: str) -> list[LogEvent]:
    return [LogEvent.of(1, message) for message in messages]


def test_it_tries_until_it_is_done_with_longer_pauses_and_none_above_a_minute():
    sink, waits = Sink(failures=9), Waits()
    assert Delivery(sink, waits, portion=lambda: 1.0).deliver(events("a"))
    assert sink.stored == ["a"]
    assert waits.seconds == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_pause_is_bounded(failures: int, portion: float):
    assert 0.5 <= pause_s(failures, portion) <= 60


def test_it_gives_up_where_the_process_is_to_end_and_says_so():
    sink = Sink(failures=5)
    assert not Delivery(sink, Waits(ends_after=2)).deliver(events("a"))
    assert sink.stored == []


@given(st.lists(st.sampled_from(["good", "bad"]), max_size=40))
def test_what_is_refused_is_left_out_alone(messages: list[str]):
    sink = Sink()
    assert Delivery(sink, Waits()).deliver(events(*messages))
    assert sink.stored == [message for message in messages if message == "good"]


def test_a_refused_half_does_not_hide_that_the_other_was_not_delivered():
    class Stubborn(Sink):
        def put(self, events: Sequence[LogEvent]) -> None:
            if len(events) == 1 and events[0].message == "late":
                raise NOT_NOW
            super().put(events)

    assert not Delivery(Stubborn(), Waits(ends_after=1)).deliver(events("bad", "late"))


def test_trouble_is_said_once_and_its_end_too(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "livedub.host_logs")
    Delivery(Sink(failures=5), Waits()).deliver(events("a"))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
