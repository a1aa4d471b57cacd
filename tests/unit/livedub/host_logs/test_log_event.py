"""Batches are ones that PutLogEvents takes, whatever comes and in whatever order."""

from hypothesis import example, given
from hypothesis import strategies as st

from livedub.host_logs.log_event import Batch, LogEvent

DAY_MS = 86_400_000
TIMES = st.integers(0, 3 * DAY_MS)


def batches_of(events: list[LogEvent]) -> list[list[LogEvent]]:
    batch, taken = Batch(), list[list[LogEvent]]()
    for event in events:
        if not batch.takes(event):
            taken.append(batch.take())
        batch.add(event)
    return [*taken, batch.take()]


@given(st.integers(0, 2**53), st.text(alphabet=st.characters(codec=None, exclude_categories=())))
@example(0, "")
@example(0, "\ud800")
@example(0, "ä" * 200_000)
@example(0, "a" + "😀" * 100_000)
def test_an_event_is_one_that_aws_takes(timestamp_ms: int, message: str):
    event = LogEvent.of(timestamp_ms, message)
    encoded = event.message.encode()
    assert 1 <= len(encoded) <= 262_144 - 26
    assert event.size_bytes == len(encoded) + 26


def test_a_short_text_stays_as_it_is():
    assert LogEvent.of(1, "größer 😀").message == "größer 😀"


@given(st.lists(st.tuples(TIMES, st.sampled_from([1, 1_000, 100_000, 262_000])), max_size=40))
def test_batches_keep_to_the_limits_in_order_and_lose_nothing(shape: list[tuple[int, int]]):
    events = [LogEvent.of(at, f"{number} ".ljust(size, "x")) for number, (at, size) in enumerate(shape)]
    taken = batches_of(events)
    assert sorted((event for batch in taken for event in batch), key=events.index) == events
    for batch in taken:
        times = [event.timestamp_ms for event in batch]
        assert sum(len(event.message.encode()) + 26 for event in batch) <= 1_048_576
        assert times == sorted(times)
        assert not times or times[-1] - times[0] <= DAY_MS


def test_ten_thousand_and_no_more_go_together():
    events = [LogEvent.of(number, "x") for number in range(10_001)]
    assert [len(batch) for batch in batches_of(events)] == [10_000, 1]


def test_lines_of_one_moment_stay_in_their_order():
    events = [LogEvent.of(5, "a"), LogEvent.of(5, "b"), LogEvent.of(4, "c"), LogEvent.of(5, "d")]
    assert [event.message for event in batches_of(events)[0]] == ["c", "a", "b", "d"]
