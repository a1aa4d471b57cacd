from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from livedub.supervision.contract import PathReport, PublishedPath
from livedub.supervision.reconcile import (
    Action,
    NoteAbsent,
    NotePresent,
    ReleaseExpired,
    Start,
    apply,
    plan,
)
from livedub.supervision.record import Desired, Outcome, Phase, Source, StreamRecord
from tests.unit.supervision.given import ADDRESSES, NOW_MS, POLICY, events, off, on, report, running

LATER_MS = NOW_MS + 10_000


def planned(record: StreamRecord, *reports: PathReport, now_ms: int = LATER_MS) -> list[Action]:
    return plan([record], reports, now_ms, POLICY)


def carried_out(record: StreamRecord, actions: Sequence[Action], now_ms: int = LATER_MS) -> StreamRecord:
    for action in actions:
        record = apply(record, action, now_ms=now_ms, policy=POLICY)
    return record


def kinds(actions: Sequence[Action]) -> list[type]:
    return [type(action) for action in actions]


def test_where_all_is_well_nothing_is_done():
    assert planned(running(), report("source-1", at_ms=LATER_MS)) == []
    assert planned(StreamRecord("s1"), report(at_ms=LATER_MS)) == []
    assert planned(StreamRecord("s1")) == []


def test_a_lost_publish_is_noticed_and_started():
    record = StreamRecord("s1")
    actions = planned(record, report("source-7", at_ms=LATER_MS))
    assert kinds(actions) == [NotePresent, Start]
    changed = carried_out(record, actions)
    assert changed.source == Source("source-7", LATER_MS)
    assert changed.media is not None
    assert changed.media.relay_id == "relay-1"
    assert events(changed) == ["source_on"]
    assert kinds(planned(changed, report("source-7", at_ms=LATER_MS))) == [Start]
    assert actions[1] == planned(changed, report("source-7", at_ms=LATER_MS))[0], "one name per interval"


def test_a_lost_unpublish_is_noticed():
    actions = planned(running(), report(at_ms=LATER_MS))
    assert kinds(actions) == [NoteAbsent]
    changed = carried_out(running(), actions)
    assert changed.source is not None
    assert changed.source.absent_since_ms == LATER_MS
    assert carried_out(changed, actions) == changed


def test_a_list_from_before_the_publisher_says_nothing():
    assert planned(running(), report(at_ms=NOW_MS)) == []
    assert planned(running(), report(at_ms=NOW_MS - 1)) == []


def test_a_stale_list_says_nothing():
    stale_ms = NOW_MS + POLICY.report_stale_s * 1_000 + 1_001
    assert planned(running(now_ms=stale_ms), report(at_ms=NOW_MS + 1_000), now_ms=stale_ms) == []


def test_only_the_latest_list_of_a_relay_counts():
    lists = [report(at_ms=NOW_MS + 1_000), report("source-1", at_ms=NOW_MS + 2_000)]
    assert planned(running(), *lists) == []
    assert planned(running(), *reversed(lists)) == []


def test_another_relays_list_does_not_make_it_absent():
    assert planned(running(), report(at_ms=LATER_MS, relay_id="relay-2")) == []


def test_a_publisher_that_moved_to_another_relay():
    elsewhere = report("source-9", at_ms=LATER_MS, relay_id="relay-2")
    assert planned(running(), elsewhere) == [], "both may be on: the known one stays"
    actions = planned(running(), elsewhere, report(at_ms=LATER_MS))
    assert kinds(actions) == [NotePresent]
    absent = off(running(), NOW_MS + 1)
    changed = carried_out(absent, planned(absent, elsewhere))
    assert changed.media is not None
    assert changed.media.relay_id == "relay-2"


def test_a_publisher_that_was_replaced_unnoticed():
    actions = planned(running(), report("source-2", at_ms=LATER_MS))
    assert kinds(actions) == [NotePresent]
    changed = carried_out(running(), actions)
    assert changed.source is not None
    assert changed.source.source_id == "source-2"


def test_a_source_that_has_left_does_not_return_by_an_old_list():
    record = off(running(), LATER_MS)
    assert planned(record, report("source-1", at_ms=LATER_MS - 1), now_ms=LATER_MS + 1) == []
    assert record.source is not None
    gone = replace(record, source=replace(record.source, gone_source_ids=("source-1",)))
    assert planned(gone, report("source-1", at_ms=LATER_MS + 1), now_ms=LATER_MS + 1) == []


def test_a_source_wrongly_noted_absent_returns():
    record = off(running(), NOW_MS + 1_000)
    actions = planned(record, report("source-1", at_ms=LATER_MS))
    assert kinds(actions) == [NotePresent]
    assert carried_out(record, actions).source_present


def test_a_publisher_without_an_owner_is_started_even_without_lists():
    actions = planned(on())
    assert kinds(actions) == [Start]
    assert planned(on()) == actions
    assert planned(on(), now_ms=LATER_MS + 10_000) != actions, (
        "a name that was used up does not block for ever"
    )


def test_what_is_unwanted_is_not_started():
    for record in (
        on(desired=Desired.STOPPED),
        on(degraded_until_ms=LATER_MS + 1),
        off(on(), NOW_MS),
        on(desired=Desired.DRAINED, drained_source_id="source-1"),
    ):
        assert planned(record) == []


def test_a_dead_lease_is_freed_and_the_stream_started_anew():
    dead_ms = NOW_MS + POLICY.lease_ttl_ms + POLICY.clock_skew_ms + 1
    assert planned(running(), now_ms=dead_ms - 1) == []
    actions = planned(running(), now_ms=dead_ms)
    assert kinds(actions) == [ReleaseExpired, Start]
    freed = carried_out(running(), actions, dead_ms)
    assert (freed.lease.phase, freed.lease.generation) == (Phase.FREE, 1)
    assert freed.last_outcome is Outcome.CRASHED
    assert carried_out(freed, actions, dead_ms) == freed
    assert kinds(planned(off(running(), NOW_MS), now_ms=dead_ms)) == [ReleaseExpired]


def test_a_plan_that_is_out_of_date_does_no_harm():
    dead_ms = NOW_MS + POLICY.lease_ttl_ms + POLICY.clock_skew_ms + 1
    actions = planned(running(), now_ms=dead_ms)
    renewed = running(now_ms=dead_ms)
    assert carried_out(renewed, actions, dead_ms) == renewed
    absent = planned(running(), report(at_ms=LATER_MS))
    followed = on("source-2", since_ms=NOW_MS + 5_000)
    assert carried_out(followed, absent) == followed
    again = on("source-1", since_ms=LATER_MS)
    assert carried_out(again, absent) == again


def test_foreign_paths_are_ignored():
    paths = [
        PublishedPath(path=path, source_id="x")
        for path in ("live/s1/out", "other/s1/in", "live/s 1/in", "live/s2/in")
    ]
    lists = PathReport(relay_id="relay-1", taken_at_ms=LATER_MS, media=ADDRESSES, paths=paths)
    assert planned(StreamRecord("s1"), lists) == []


@given(
    st.lists(st.tuples(st.lists(st.sampled_from("abc"), max_size=2), st.integers(0, 100_000)), max_size=4),
    st.sampled_from([StreamRecord("s1"), on("a"), off(on("a"), NOW_MS + 5), running()]),
    st.integers(0, 200_000),
)
def test_a_plan_carried_out_leaves_nothing_to_note(
    lists: list[tuple[list[str], int]], record: StreamRecord, later_ms: int
):
    reports = [report(*ids[:1], at_ms=NOW_MS + at_ms) for ids, at_ms in lists]
    now_ms = NOW_MS + later_ms
    changed = carried_out(record, plan([record], reports, now_ms, POLICY), now_ms)
    left = plan([changed], reports, now_ms, POLICY)
    assert set(kinds(left)) <= {Start}
    assert changed.lease.generation == record.lease.generation
    assert carried_out(changed, left, now_ms) == changed
