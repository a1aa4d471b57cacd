from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from livedub.supervision import desire
from livedub.supervision.overview import (
    StreamDetail,
    overview,
    stream_detail,
    stream_events,
    stream_list,
)
from livedub.supervision.record import Desired, Lease, Outcome, StreamRecord
from tests.unit.supervision.given import NOW_MS, POLICY, claimed, events, off, on, running, waiting

ENDED = replace(running(), lease=replace(running().lease, ended_at_ms=NOW_MS, agent_id=""))


@pytest.mark.parametrize(
    ("record", "state", "words"),
    [
        (StreamRecord("s1"), "idle", "no publisher yet"),
        (off(on(), NOW_MS - 1), "idle", "the publisher is gone"),
        (off(on(), NOW_MS - 60_000), "idle", "the publisher is gone"),
        (on(desired=Desired.DRAINED, drained_source_id="source-1"), "idle", "the next publisher starts it"),
        (on(), "starting", "waiting for its execution"),
        (waiting(), "waiting_for_capacity", "no host has a free slot"),
        (claimed(), "starting", "agent agent is starting"),
        (running(), "running", "on agent agent"),
        (off(running(), NOW_MS - 1), "source_absent", "waits for it to return"),
        (ENDED, "restarting", "the next one follows"),
        (desire.stop(running(), NOW_MS), "draining", "stopped by an operator"),
        (desire.drain(running(), NOW_MS), "draining", "drained by an operator"),
        (desire.stop(on(), NOW_MS), "stopped", "livedub streams start"),
        (on(degraded_until_ms=NOW_MS + 1_500), "degraded", "tried again in 2 s"),
        (on(degraded_until_ms=NOW_MS), "starting", ""),
        (running(now_ms=NOW_MS - 60_000), "unattended", "nobody renews"),
    ],
    ids=str,
)
def test_states_and_their_reasons(record: StreamRecord, state: str, words: str):
    shown = overview(record, NOW_MS, POLICY)
    assert shown.state == state
    assert words in shown.why
    assert "\n" not in shown.why


def test_what_an_operator_sees_of_a_stream():
    record = replace(
        running(),
        restarts_ms=(NOW_MS - POLICY.restart_window_s * 1_000, NOW_MS - 1),
        last_outcome=Outcome.CRASHED,
        last_detail="boom",
    )
    shown = overview(record, NOW_MS, POLICY)
    assert (shown.generation, shown.agent_id, shown.source_id) == (1, "agent", "source-1")
    assert (shown.restarts, shown.last_outcome, shown.last_detail) == (1, "crashed", "boom")
    assert shown.since_ms == NOW_MS
    assert overview(off(running(), NOW_MS), NOW_MS, POLICY).source_id == ""


def test_no_token_is_in_what_operators_see():
    record = replace(running(), settings={"delay_ms": 4_000}, settings_revision=2)
    detail = stream_detail(record, NOW_MS, POLICY, stream_key="shown once")
    text = detail.model_dump_json()
    assert record.lease.publish_token_hash not in text
    assert record.lease.task_token not in text
    assert StreamDetail.model_validate_json(text) == detail
    assert "shown once" not in repr(detail)
    assert (detail.settings, detail.settings_revision) == ({"delay_ms": 4_000}, 2)


def test_lists_are_sorted_and_events_in_order():
    names = [shown.stream_id for shown in stream_list([StreamRecord("b"), on()], NOW_MS, POLICY).streams]
    assert names == ["b", "s1"]
    shown = stream_events(running()).events
    assert [event.event for event in shown] == ["acquired", "claimed", "running"]
    assert {event.generation for event in shown} == {1}


def test_start_ends_stop_drain_and_rest():
    resting = on(degraded_until_ms=NOW_MS + 1, restarts_ms=(1, 2))
    started = desire.start(resting, NOW_MS)
    assert (started.degraded_until_ms, started.restarts_ms) == (None, ())
    assert events(started) == ["start"]
    for record in (desire.stop(on(), NOW_MS), desire.drain(on(), NOW_MS)):
        assert desire.start(record, NOW_MS).desired is Desired.RUNNING
    counted = on(restarts_ms=(1, 2))
    assert desire.start(counted, NOW_MS) == counted, "a start of what runs gives no new budget"


def test_commands_are_noted_once():
    stopped = desire.stop(running(), NOW_MS)
    assert desire.stop(stopped, NOW_MS) == stopped
    assert desire.drain(stopped, NOW_MS) == stopped, "a stopped stream stays stopped"
    drained = desire.drain(running(), NOW_MS)
    assert drained.drained_source_id == "source-1"
    assert desire.drain(drained, NOW_MS) == drained
    assert desire.stop(drained, NOW_MS).desired is Desired.STOPPED


def test_the_journal_is_bounded():
    record = on()
    for number in range(100):
        record = desire.start(desire.stop(record, number), number)
    assert len(record.journal) == 50
    assert record.journal[-1].at_ms == 99


def test_a_record_is_a_json_object_and_back():
    adapter = TypeAdapter(StreamRecord)
    record = replace(ENDED, timeline={"utc_ns": 1}, drained_source_id="x", restarts_ms=(1, 2))
    assert adapter.validate_json(adapter.dump_json(record)) == record
    old = adapter.dump_python(StreamRecord("s1"), mode="json")
    for name in ("drained_source_id",):
        del old[name]
    del old["lease"]["ended_at_ms"]
    assert adapter.validate_python(old) == StreamRecord("s1", lease=Lease())
