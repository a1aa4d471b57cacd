from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import InvalidInputError
from livedub.supervision import hooks
from livedub.supervision.contract import SourceHook
from livedub.supervision.hooks import GONE_SOURCES_KEPT, HookResult
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Desired, StreamRecord
from tests.unit.supervision.given import NOW_MS, POLICY, events, hook, off, on, policy, running

ACCEPT = policy(unknown_streams="accept", default_stream_settings={"target_language": "de"})


def publish(
    record: StreamRecord | None, given_hook: SourceHook, rules: SupervisionPolicy = POLICY
) -> HookResult:
    return hooks.published(record, stream_id="s1", hook=given_hook, now_ms=NOW_MS, policy=rules)


def unpublish(
    record: StreamRecord | None, given_hook: SourceHook, rules: SupervisionPolicy = POLICY
) -> HookResult:
    return hooks.unpublished(record, hook=given_hook, now_ms=NOW_MS, policy=rules)


def kept(result: HookResult) -> StreamRecord:
    assert result.record is not None
    return result.record


def test_a_publisher_starts_an_execution():
    result = publish(StreamRecord("s1"), hook())
    assert (result.start, result.reason) == (True, "recorded")
    assert result.execution
    record = kept(result)
    assert record.source_present
    assert record.media is not None
    assert record.media.play_base_url == "rtmp://media:1935"
    assert events(record) == ["source_on"]


def test_a_repeated_hook_names_the_same_execution():
    first = publish(StreamRecord("s1"), hook())
    second = publish(first.record, hook())
    assert second == HookResult(first.record, start=True, reason="duplicate", execution=first.execution)


def test_a_repeated_hook_of_an_owned_stream_starts_nothing():
    assert publish(running(), hook()) == HookResult(running(), start=False, reason="duplicate")


def test_a_publisher_that_comes_to_a_running_stream_is_only_recorded():
    result = publish(off(running(), NOW_MS - 1_000), hook("source-2"))
    assert (result.start, result.reason) == (False, "recorded")
    assert kept(result).source_present


def test_unknown_streams_are_refused_or_made():
    assert publish(None, hook()) == HookResult(None, start=False, reason="unknown_stream")
    assert unpublish(None, hook()) == HookResult(None, start=False, reason="unknown_stream")
    made = publish(None, hook(), ACCEPT)
    assert made.start
    assert kept(made).settings == {"target_language": "de"}
    assert events(kept(made)) == ["created", "source_on"]


@pytest.mark.parametrize("rules", [POLICY, ACCEPT], ids=["refuse", "accept"])
def test_outputs_start_nothing(rules: SupervisionPolicy):
    for path in ("live/s1/out", "live/s1/out-de"):
        assert publish(None, hook(path=path), rules) == HookResult(None, start=False, reason="output_path")
        assert unpublish(on(), hook(path=path), rules).record == on()


def test_a_bad_path_is_an_error():
    with pytest.raises(InvalidInputError):
        publish(on(), hook(path="live/s1/../in"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"desired": Desired.STOPPED}, "stopped by an operator"),
        ({"degraded_until_ms": NOW_MS + 1}, "resting: the restart budget is spent"),
    ],
)
def test_an_unwanted_stream_is_recorded_but_not_started(changes: dict[str, Any], reason: str):
    result = publish(off(on(**changes), NOW_MS - 1), hook("source-2"))
    assert (result.start, result.reason) == (False, reason)
    assert kept(result).source_present


def test_the_next_publisher_starts_a_drained_stream():
    drained = on(desired=Desired.DRAINED, drained_source_id="source-1")
    assert not publish(drained, hook("source-1")).start
    assert publish(drained, hook("source-2", at_ms=NOW_MS + 1)).start


def test_unpublish_before_publish_leaves_nothing_on():
    gone = unpublish(StreamRecord("s1"), hook())
    late = publish(gone.record, hook())
    assert (late.start, late.reason) == (False, "already_gone")
    assert not kept(late).source_present


def test_the_end_of_an_earlier_connection_does_not_end_the_current_one():
    result = unpublish(on("source-2"), hook("source-1"))
    assert result.reason == "not_current"
    assert kept(result).source_present
    assert publish(result.record, hook("source-1", at_ms=NOW_MS + 9)).reason == "already_gone"


def test_unpublish_is_noted_once():
    first = unpublish(running(), hook(at_ms=NOW_MS + 1_000))
    second = unpublish(first.record, hook(at_ms=NOW_MS + 2_000))
    assert second.record == first.record
    record = kept(first)
    assert record.source is not None
    assert record.source.absent_since_ms == NOW_MS + 1_000
    assert record.lease == running().lease
    assert events(record)[-1] == "source_off"


def test_a_relay_whose_clock_is_far_ahead_is_not_believed():
    record = kept(publish(StreamRecord("s1"), hook(at_ms=NOW_MS + 999_000)))
    assert record.source is not None
    assert record.source.since_ms == NOW_MS + POLICY.clock_skew_ms


def test_gone_sources_are_remembered_within_bounds():
    record = on("source-x")
    for number in range(3 * GONE_SOURCES_KEPT):
        record = kept(unpublish(record, hook(f"source-{number}")))
    assert record.source is not None
    assert len(record.source.gone_source_ids) == GONE_SOURCES_KEPT
    assert record.source.gone_source_ids[-1] == f"source-{3 * GONE_SOURCES_KEPT - 1}"


@given(
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_hooks_in_any_order_and_number_tell_the_truth_in_the_end(
    sources: int, last_is_on: bool, replaced: bool, random: Random
):
    """Publishers come one after another; with `replaced` each is only thrown out by the next."""
    told: list[tuple[bool, SourceHook]] = []
    for number in range(sources):
        start_ms = NOW_MS - 100_000 + number * 1_000
        end_ms = start_ms + (1_001 if replaced and number < sources - 1 else 999)
        told.append((True, hook(f"source-{number}", at_ms=start_ms)))
        if number < sources - 1 or not last_is_on:
            told.append((False, hook(f"source-{number}", at_ms=end_ms)))
    told = told + random.sample(told, random.randint(0, len(told)))
    random.shuffle(told)
    record: StreamRecord | None = StreamRecord("s1")
    for present, given_hook in told:
        record = (publish if present else unpublish)(record, given_hook).record
    assert record is not None
    assert record.source_present is last_is_on
    if last_is_on:
        assert record.source is not None
        assert record.source.source_id == f"source-{sources - 1}"
