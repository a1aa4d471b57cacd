"""What dashboards and alarms are told of the streams."""

from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from livedub.supervision.contract import PathReport
from livedub.supervision.overview import State
from livedub.supervision.record import Desired, StreamRecord
from livedub.supervision.stream_gauges import metric_of, stream_gauges
from tests.unit.supervision.given import ADDRESSES, MEDIA, NOW_MS, POLICY, claimed, off, on, running, waiting


def report(relay_id: str = "relay-1", *, age_s: float = 0.0) -> PathReport:
    taken_at_ms = NOW_MS - int(age_s * 1_000)
    return PathReport(relay_id=relay_id, taken_at_ms=taken_at_ms, media=ADDRESSES, paths=[])


def test_each_stream_is_counted_in_its_state():
    records = [running(), running(), waiting(), off(running(), NOW_MS - 1), on()]
    records.append(StreamRecord("s2", desired=Desired.STOPPED))
    counted = stream_gauges(records, [], NOW_MS, POLICY).by_state
    assert {state: number for state, number in counted.items() if number} == {
        "running": 2,
        "waiting_for_capacity": 1,
        "source_absent": 1,
        "starting": 1,
        "stopped": 1,
    }


def test_the_stream_that_waits_longest_is_the_one_that_is_told():
    records = [waiting(now_ms=NOW_MS - 40_000), waiting(now_ms=NOW_MS - 10_000), claimed()]
    longest_s = stream_gauges(records, [], NOW_MS, POLICY).longest_s
    assert longest_s == {"LongestWaiting": 40.0, "LongestStarting": 0.0, "LongestUnattended": 0.0}


def test_a_lease_that_nobody_renews_is_told_from_its_end():
    lost = running()
    late_ms = lost.lease.expires_at_ms + POLICY.clock_skew_ms + 90_000
    gauges = stream_gauges([lost], [], late_ms, POLICY)
    assert gauges.by_state["unattended"] == 1
    assert gauges.longest_s["LongestUnattended"] == 90.0 + POLICY.clock_skew_s


def test_a_relay_is_silent_when_a_publisher_is_on_and_its_list_is_old():
    stale_s = POLICY.report_stale_s
    fresh, old = report(age_s=stale_s), report(age_s=stale_s + 0.001)
    assert stream_gauges([running()], [fresh], NOW_MS, POLICY).relays_silent == 0
    assert stream_gauges([running()], [old], NOW_MS, POLICY).relays_silent == 1
    assert stream_gauges([running()], [], NOW_MS, POLICY).relays_silent == 1
    elsewhere = replace(running(), media=replace(MEDIA, relay_id="relay-2"))
    gauges = stream_gauges([running(), elsewhere], [fresh], NOW_MS, POLICY)
    assert (gauges.relays_reporting, gauges.relays_silent) == (1, 1)


def test_a_relay_without_publishers_may_go_away():
    assert (
        stream_gauges([off(running(), NOW_MS - 1)], [report(age_s=3_600)], NOW_MS, POLICY).relays_silent == 0
    )


@given(st.lists(st.sampled_from([running, waiting, claimed, on]), max_size=6), st.integers(0, 10**9))
def test_every_metric_is_there_every_time(make: list, late_ms: int):
    """A series that breaks off would leave its alarm without data."""
    records = [replace(each(), stream_id=f"s{index}") for index, each in enumerate(make)]
    metrics = list(stream_gauges(records, [report()], NOW_MS + late_ms, POLICY).metrics())
    names = [name for name, _, _ in metrics]
    assert names == [name for name, _, _ in stream_gauges([], [], NOW_MS, POLICY).metrics()]
    assert {metric_of(state) for state in get_args(State)} < set(names)
    assert sum(value for name, _, value in metrics if name.startswith("Streams")) == len(records)
    assert all(value >= 0 for _, _, value in metrics)
