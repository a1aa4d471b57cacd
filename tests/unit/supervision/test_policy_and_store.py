import threading
from dataclasses import replace

import pytest
from pydantic import ValidationError

from livedub.settings import variables
from livedub.supervision.lease import LeaseRefusedError, acquire
from livedub.supervision.memory_stream_store import MemoryStreamStore
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord
from tests.unit.supervision.given import NOW_MS, POLICY, on, policy


def test_the_policy_comes_from_livedub_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIVEDUB_HEARTBEAT_S", "6")
    monkeypatch.setenv("LIVEDUB_DEFAULT_STREAM_SETTINGS", '{"delay_ms": 4000}')
    monkeypatch.setenv("LIVEDUB_UNKNOWN_STREAMS", "")
    read = SupervisionPolicy()
    assert (read.heartbeat_s, read.lease_ttl_ms) == (6, 6_000)
    assert read.default_stream_settings == {"delay_ms": 4_000}
    assert read.unknown_streams == "refuse"


def test_every_variable_is_explained():
    assert all(variable.description for variable in variables(SupervisionPolicy))


@pytest.mark.parametrize(
    "changes",
    [
        {"heartbeat_s": 1},
        {"unknown_streams": "maybe"},
        {"backoff_first_s": 31},
        {"supervise_timeout_s": 30},
        {"supervise_timeout_s": 2_592_001},
        {"default_stream_settings": 3},
    ],
    ids=str,
)
def test_contradictions_are_refused(changes: dict[str, object]):
    with pytest.raises(ValidationError):
        policy(**changes)


def test_updates_count_versions_and_skip_what_changes_nothing():
    store = MemoryStreamStore()
    assert store.load("s1") is None
    assert store.update("s1", lambda record: record) is None
    assert store.update("s1", lambda _: on()) == replace(on(), row_version=1)
    assert store.update("s1", lambda record: record) == replace(on(), row_version=1)
    assert store.update("s1", lambda _: None) == replace(on(), row_version=1)
    changed = store.update("s1", lambda _: on("source-2"))
    assert changed is not None
    assert changed.row_version == 2
    store.update("s0", lambda _: StreamRecord("s0"))
    assert [record.stream_id for record in store.list_all()] == ["s0", "s1"]
    assert [record.stream_id for record in store.load_many(["s1", "nobody", "s1"])] == ["s1"]


def test_what_a_rule_raises_passes_through():
    store = MemoryStreamStore()
    store.update("s1", lambda _: StreamRecord("s1"))

    def rule(record: StreamRecord | None) -> StreamRecord:
        assert record is not None
        return acquire(record, execution="e", adopt_from="", now_ms=NOW_MS, policy=POLICY)[0]

    with pytest.raises(LeaseRefusedError):
        store.update("s1", rule)
    assert store.load("s1") == StreamRecord("s1", row_version=1)


def test_of_many_executions_at_once_one_gets_the_lease():
    store = MemoryStreamStore()
    store.update("s1", lambda _: on())
    outcomes: list[str] = []

    def contend(number: int) -> None:
        def rule(record: StreamRecord | None) -> StreamRecord:
            assert record is not None
            return acquire(record, execution=f"e{number}", adopt_from="", now_ms=NOW_MS, policy=POLICY)[0]

        try:
            store.update("s1", rule)
        except LeaseRefusedError as refused:
            outcomes.append(refused.reason)
        else:
            outcomes.append("acquired")

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["acquired", *["held"] * 15]
