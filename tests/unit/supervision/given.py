"""Records, hooks and policies that the tests of supervision start from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from livedub.supervision import lease
from livedub.supervision.authorize import credential_hash
from livedub.supervision.contract import MediaAddresses, PathReport, PublishedPath, SourceHook
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Media, Source, StreamRecord

NOW_MS = 1_800_000_000_000
POLICY = SupervisionPolicy.model_validate({})
ADDRESSES = MediaAddresses(play_base_url="rtmp://media:1935", publish_base_url="rtmp://media:1935")
MEDIA = Media("relay-1", ADDRESSES.play_base_url, ADDRESSES.publish_base_url)
TASK_TOKEN = "task-token-1"  # noqa: S105 - test data
TOKEN = "the generation's own token"  # noqa: S105 - test data


def policy(**changes: Any) -> SupervisionPolicy:
    return SupervisionPolicy.model_validate(changes)


def on(source_id: str = "source-1", *, since_ms: int = NOW_MS, **changes: Any) -> StreamRecord:
    """A stream whose publisher is on and that nobody owns."""
    record = StreamRecord("s1", media=MEDIA, source=Source(source_id, since_ms))
    return replace(record, **changes)


def waiting(execution: str = "e1", now_ms: int = NOW_MS) -> StreamRecord:
    record, _ = lease.acquire(on(), execution=execution, adopt_from="", now_ms=now_ms, policy=POLICY)
    return record


def claimed(execution: str = "e1", now_ms: int = NOW_MS) -> StreamRecord:
    return lease.claim(
        waiting(execution, now_ms), generation=1, agent_id="agent", now_ms=now_ms, policy=POLICY
    )


def running(execution: str = "e1", now_ms: int = NOW_MS) -> StreamRecord:
    record = claimed(execution, now_ms)
    record = replace(record, lease=replace(record.lease, task_token=TASK_TOKEN))
    return lease.bind(
        record,
        generation=1,
        agent_id="agent",
        publish_token_hash=credential_hash(TOKEN),
        now_ms=now_ms,
        policy=POLICY,
    )


def off(record: StreamRecord, since_ms: int) -> StreamRecord:
    """The same, its publisher gone since `since_ms`."""
    assert record.source is not None
    return replace(record, source=replace(record.source, absent_since_ms=since_ms))


def hook(source_id: str = "source-1", *, at_ms: int = NOW_MS, path: str = "live/s1/in") -> SourceHook:
    return SourceHook(
        relay_id="relay-1", path=path, source_id=source_id, occurred_at_ms=at_ms, media=ADDRESSES
    )


def report(*source_ids: str, at_ms: int = NOW_MS, relay_id: str = "relay-1") -> PathReport:
    paths = [PublishedPath(path="live/s1/in", source_id=source_id) for source_id in source_ids]
    return PathReport(relay_id=relay_id, taken_at_ms=at_ms, media=ADDRESSES, paths=paths)


def events(record: StreamRecord) -> list[str]:
    return [entry.event for entry in record.journal]
