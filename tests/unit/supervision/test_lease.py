from dataclasses import replace

import pytest

from livedub.supervision import desire, lease
from livedub.supervision.lease import LeaseRefusedError
from livedub.supervision.record import Desired, Outcome, Phase, StreamRecord
from tests.unit.supervision.given import (
    NOW_MS,
    POLICY,
    TASK_TOKEN,
    TOKEN,
    claimed,
    events,
    off,
    on,
    running,
    waiting,
)

TTL_MS = POLICY.lease_ttl_ms
SKEW_MS = POLICY.clock_skew_ms


def acquire(
    record: StreamRecord, execution: str = "e1", adopt_from: str = "", now_ms: int = NOW_MS
) -> tuple[StreamRecord, str]:
    return lease.acquire(record, execution=execution, adopt_from=adopt_from, now_ms=now_ms, policy=POLICY)


def refused(reason: str, record: StreamRecord, **rest: object) -> None:
    with pytest.raises(LeaseRefusedError) as error:
        acquire(record, **rest)  # pyright: ignore[reportArgumentType]
    assert error.value.reason == reason


def test_a_free_stream_is_acquired_and_waits_for_a_host():
    record, status = acquire(on())
    assert status == "acquired"
    assert (record.lease.generation, record.lease.phase) == (1, Phase.WAITING_CAPACITY)
    assert (record.lease.execution, record.lease.agent_id) == ("e1", "")
    assert record.lease.expires_at_ms > NOW_MS + POLICY.capacity_timeout_s * 1_000
    assert events(record) == ["acquired"]


def test_its_own_execution_takes_the_next_generation_at_once():
    record, status = acquire(running(), "e1")
    assert (status, record.lease.generation, record.lease.phase) == ("acquired", 2, Phase.WAITING_CAPACITY)
    assert (record.lease.agent_id, record.lease.task_token, record.lease.publish_token_hash) == ("", "", "")


def test_another_execution_waits_for_expiry_and_skew():
    over_ms = NOW_MS + TTL_MS + SKEW_MS
    refused("held", running(), execution="e2", now_ms=NOW_MS)
    refused("held", running(), execution="e2", now_ms=over_ms)
    record, status = acquire(running(), "e2", now_ms=over_ms + 1)
    assert (status, record.lease.generation, record.lease.execution) == ("acquired", 2, "e2")


def test_a_successor_adopts_and_can_ask_twice():
    record, status = acquire(running(), "e2", adopt_from="e1")
    assert status == "adopted"
    assert record.lease == replace(running().lease, execution="e2", task_token="")
    handed_over = replace(record, lease=replace(record.lease, task_token=f"not {TASK_TOKEN}"))
    assert acquire(handed_over, "e2", adopt_from="e1") == (handed_over, "adopted")


def test_a_successor_adopts_even_what_is_to_end():
    stopped = desire.stop(running(), NOW_MS)
    assert acquire(stopped, "e2", adopt_from="e1")[1] == "adopted"


def test_a_successor_of_an_ended_worker_takes_the_next_generation():
    ended = replace(running(), lease=replace(running().lease, ended_at_ms=NOW_MS))
    record, status = acquire(ended, "e2", adopt_from="e1")
    assert (status, record.lease.generation) == ("acquired", 2)


def test_a_successor_of_a_stranger_is_refused():
    refused("held", running("e1"), execution="e3", adopt_from="e2")


@pytest.mark.parametrize(
    "record",
    [
        StreamRecord("s1"),
        on(desired=Desired.STOPPED),
        on(desired=Desired.DRAINED, drained_source_id="source-1"),
        on(degraded_until_ms=NOW_MS + 1),
        off(on(), NOW_MS - POLICY.grace_s * 1_000 - 1),
    ],
    ids=["no publisher", "stopped", "drained", "degraded", "gone"],
)
def test_who_is_not_wanted_gets_no_worker(record: StreamRecord):
    refused("not_wanted", record)
    assert not lease.startable(record, NOW_MS, POLICY)


def test_within_its_grace_a_publisher_may_return_to_a_new_worker():
    record = off(running(), NOW_MS - POLICY.grace_s * 1_000)
    assert acquire(record)[0].lease.generation == 2
    assert not lease.startable(off(on(), NOW_MS), NOW_MS, POLICY)


def test_the_next_publisher_ends_the_drain():
    record = on("source-2", desired=Desired.DRAINED, drained_source_id="source-1")
    assert acquire(record)[0].desired is Desired.RUNNING


def test_rest_being_over_gives_the_whole_budget_again():
    record = on(degraded_until_ms=NOW_MS, restarts_ms=(NOW_MS - 3, NOW_MS - 2))
    acquired, _ = acquire(record)
    assert (acquired.degraded_until_ms, acquired.restarts_ms) == (None, ())


def test_the_next_worker_continues_the_timeline_whatever_its_delay():
    timeline = {"utc_ns": 1, "media_offset_ns": 2, "delay_ms": 8_000, "generation": 1}
    assert acquire(on(timeline=timeline))[0].timeline == timeline
    assert acquire(on(timeline=timeline, settings={"delay_ms": 8_000}))[0].timeline == timeline
    assert acquire(on(timeline=timeline, settings={"delay_ms": 4_000}))[0].timeline == timeline


def test_work_is_claimed_once():
    record = claimed()
    assert (record.lease.phase, record.lease.agent_id) == (Phase.CLAIMED, "agent")
    again = lease.claim(record, generation=1, agent_id="agent", now_ms=NOW_MS + 1, policy=POLICY)
    assert again == record
    with pytest.raises(LeaseRefusedError, match="claimed by agent agent"):
        lease.claim(record, generation=1, agent_id="other", now_ms=NOW_MS, policy=POLICY)


@pytest.mark.parametrize("generation", [0, 2])
def test_work_of_another_generation_cannot_be_claimed(generation: int):
    with pytest.raises(LeaseRefusedError, match="is over"):
        lease.claim(waiting(), generation=generation, agent_id="agent", now_ms=NOW_MS, policy=POLICY)


def test_binding_twice_with_one_token_is_one_binding():
    record = running()
    assert record.lease.phase is Phase.RUNNING
    arguments = {"generation": 1, "agent_id": "agent", "now_ms": NOW_MS, "policy": POLICY}
    same = lease.bind(record, publish_token_hash=record.lease.publish_token_hash, **arguments)
    assert same == record
    with pytest.raises(LeaseRefusedError) as error:
        lease.bind(record, publish_token_hash="f" * 64, **arguments)
    assert error.value.reason == "fenced"


@pytest.mark.parametrize("changes", [{"generation": 2}, {"agent_id": "other"}], ids=str)
def test_the_fence(changes: dict[str, object]):
    arguments = {"generation": 1, "agent_id": "agent", "now_ms": NOW_MS, "policy": POLICY, **changes}
    with pytest.raises(LeaseRefusedError, match="Stop the worker"):
        lease.renew(running(), **arguments)  # pyright: ignore[reportArgumentType]
    with pytest.raises(LeaseRefusedError, match="Stop the worker"):
        lease.bind(claimed(), publish_token_hash=f"{0}", **arguments)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("record", [waiting(), claimed(), on()], ids=["waiting", "claimed", "free"])
def test_only_a_running_worker_renews(record: StreamRecord):
    with pytest.raises(LeaseRefusedError):
        lease.renew(record, generation=1, agent_id="agent", now_ms=NOW_MS, policy=POLICY)


def test_renewals_extend_and_keep_the_timeline():
    timeline = {"utc_ns": 1, "media_offset_ns": 2, "delay_ms": 3, "generation": 1}
    later_ms = NOW_MS + 10_000
    record = lease.renew(
        running(), generation=1, agent_id="agent", now_ms=later_ms, policy=POLICY, timeline=timeline
    )
    assert (record.lease.expires_at_ms, record.timeline) == (later_ms + TTL_MS, timeline)
    late = lease.renew(record, generation=1, agent_id="agent", now_ms=NOW_MS, policy=POLICY)
    assert (late.lease.expires_at_ms, late.timeline) == (later_ms + TTL_MS, timeline)


def test_an_ended_generation_can_do_nothing_any_more():
    ended = replace(running(), lease=replace(running().lease, ended_at_ms=NOW_MS))
    with pytest.raises(LeaseRefusedError, match="found to be over"):
        lease.renew(ended, generation=1, agent_id="agent", now_ms=NOW_MS, policy=POLICY)


def test_release_keeps_the_generation_and_clears_the_rest():
    record = lease.release(
        running(), execution="e1", outcome=Outcome.ENDED, detail="over", now_ms=NOW_MS, policy=POLICY
    )
    assert record.lease == replace(StreamRecord("x").lease, generation=1)
    assert (record.last_outcome, record.last_detail) == (Outcome.ENDED, "over")
    assert lease.startable(record, NOW_MS, POLICY)


def test_only_the_owner_releases():
    def release(record: StreamRecord, execution: str) -> StreamRecord:
        return lease.release(
            record, execution=execution, outcome=Outcome.ENDED, detail="", now_ms=NOW_MS, policy=POLICY
        )

    assert release(running("e1"), "e2") == running("e1")
    assert release(on(), "") == on()


def test_no_secret_is_in_a_message():
    with pytest.raises(LeaseRefusedError) as error:
        lease.renew(running(), generation=3, agent_id="agent", now_ms=NOW_MS, policy=POLICY)
    assert TOKEN not in str(error.value)
    assert running().lease.publish_token_hash not in str(error.value)
