import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from livedub.errors import InvalidInputError
from livedub.supervision.dynamo_stream_store import DynamoStreamStore
from livedub.supervision.lease import LeaseRefusedError, acquire
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Source, StreamRecord
from livedub.supervision.store_errors import StoreBusyError, StoreUnavailableError
from livedub.supervision.stream_items import to_item
from livedub.supervision.stream_store_port import StreamStore

NOW_MS = 1_790_000_000_000


class Atomic:
    """DynamoDB changes one item at a time. moto looks and writes in two steps: a lock puts that right.

    Anything may be made to happen before a write, and answers may get lost after it.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.before_put: list[Any] = []
        self.lose_answers = 0
        self.puts = 0
        self.instead: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return self.instead.get(name) or getattr(self._client, name)

    def put_item(self, **request: Any) -> Any:
        if self.before_put:
            self.before_put.pop(0)()
        with self._lock:
            self.puts += 1
            answer = self._client.put_item(**request)
            if self.lose_answers:
                # As botocore does it: the write is sent again, and meets itself.
                self.lose_answers -= 1
                answer = self._client.put_item(**request)
        return answer


@pytest.fixture
def client(dynamodb: Any) -> Atomic:
    return Atomic(dynamodb)


@pytest.fixture
def store(client: Atomic) -> DynamoStreamStore:
    return DynamoStreamStore("streams", client)


def made(_: StreamRecord | None) -> StreamRecord:
    return StreamRecord("s", source=Source("src", NOW_MS))


def test_it_is_a_stream_store(store: DynamoStreamStore):
    port: StreamStore = store
    assert port.load("s") is None


def test_what_was_written_is_read_and_each_write_counts(store: DynamoStreamStore):
    first = store.update("s", made)
    assert first == replace(made(None), row_version=1)
    assert store.load("s") == first
    second = store.update("s", lambda record: record and replace(record, last_detail="x"))
    assert second is not None
    assert second.row_version == 2
    assert store.load("s") == second


def test_a_rule_without_a_change_writes_nothing(store: DynamoStreamStore, client: Atomic):
    store.update("s", made)
    store.update("s", lambda record: record)
    store.update("s", lambda _: None)
    assert store.update("nobody", lambda _: None) is None
    assert client.puts == 1
    assert store.load("nobody") is None


def test_what_a_rule_raises_passes_and_nothing_is_written(store: DynamoStreamStore, client: Atomic):
    def refuses(_: StreamRecord | None) -> StreamRecord:
        raise LeaseRefusedError("held", "taken")

    with pytest.raises(LeaseRefusedError):
        store.update("s", refuses)
    assert client.puts == 0


def test_a_rule_must_not_name_another_stream(store: DynamoStreamStore, client: Atomic):
    with pytest.raises(InvalidInputError, match="other"):
        store.update("s", lambda _: StreamRecord("other"))
    assert client.puts == 0


def test_a_write_based_on_an_older_row_runs_the_rule_again_on_the_newer(
    store: DynamoStreamStore, client: Atomic, dynamodb: Any
):
    store.update("s", made)
    other = DynamoStreamStore("streams", dynamodb)
    client.before_put = [lambda: other.update("s", lambda r: r and replace(r, settings_revision=7))]
    seen: list[int] = []

    def rule(record: StreamRecord | None) -> StreamRecord:
        assert record is not None
        seen.append(record.settings_revision)
        return replace(record, last_detail="mine")

    after = store.update("s", rule)
    assert seen == [0, 7]
    assert after is not None
    assert (after.settings_revision, after.last_detail, after.row_version) == (7, "mine", 3)


def test_the_state_machine_s_own_write_is_noticed(store: DynamoStreamStore, client: Atomic, dynamodb: Any):
    """SuperviseWorker writes the token past the store, and bumps row_version for this."""
    store.update("s", made)

    def token_written() -> None:
        dynamodb.update_item(
            TableName="streams",
            Key={"stream_id": {"S": "s"}},
            UpdateExpression="SET #l.task_token = :t ADD row_version :one",
            ExpressionAttributeNames={"#l": "lease"},
            ExpressionAttributeValues={":t": {"S": "token"}, ":one": {"N": "1"}},
        )

    client.before_put = [token_written]
    after = store.update("s", lambda record: record and replace(record, last_detail="x"))
    assert after is not None
    assert (after.lease.task_token, after.last_detail) == ("token", "x")


def test_of_24_racing_executions_one_gets_the_lease(store: DynamoStreamStore):
    store.update("s", made)
    policy = SupervisionPolicy()
    line = threading.Barrier(24)

    def take(number: int) -> str:
        line.wait(timeout=20)
        won: list[str] = []

        def rule(record: StreamRecord | None) -> StreamRecord:
            assert record is not None
            taken, _ = acquire(record, execution=f"e-{number}", adopt_from="", now_ms=NOW_MS, policy=policy)
            won[:] = [f"e-{number}"]
            return taken

        try:
            store.update("s", rule)
        except LeaseRefusedError:
            return ""
        return won[0]

    with ThreadPoolExecutor(24) as threads:
        winners = [name for name in threads.map(take, range(24)) if name]
    record = store.load("s")
    assert record is not None
    assert winners == [record.lease.execution]
    assert (record.lease.generation, record.row_version) == (1, 2)


def test_of_24_racing_creations_one_makes_the_row(dynamodb: Any):
    client = Atomic(dynamodb)
    store = DynamoStreamStore("streams", client, patience_s=30)
    line = threading.Barrier(24)

    def create(number: int) -> bool:
        line.wait(timeout=20)
        record = store.update("s", lambda known: known or StreamRecord("s", last_detail=str(number)))
        return record is not None and record.last_detail == str(number)

    with ThreadPoolExecutor(24) as threads:
        assert sum(threads.map(create, range(24))) == 1
    assert client.puts <= 24


def test_every_one_of_many_racing_increments_counts(dynamodb: Any):
    store = DynamoStreamStore("streams", Atomic(dynamodb), patience_s=60)
    store.update("s", made)

    def count(_: int) -> None:
        store.update("s", lambda r: r and replace(r, settings_revision=r.settings_revision + 1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(40)))
    record = store.load("s")
    assert record is not None
    assert (record.settings_revision, record.row_version) == (40, 41)


def test_a_row_that_never_rests_is_given_up(client: Atomic, dynamodb: Any):
    seconds = [0.0]

    def sleep(pause_s: float) -> None:
        seconds[0] += pause_s

    store = DynamoStreamStore("streams", client, patience_s=1, sleep=sleep, monotonic=lambda: seconds[0])
    other = DynamoStreamStore("streams", dynamodb)
    client.before_put = [
        lambda: other.update("s", lambda r: replace(r or StreamRecord("s"), last_detail=str(client.puts)))
    ] * 10_000
    with pytest.raises(StoreBusyError, match="1 s"):
        store.update("s", made)
    assert 0.5 < seconds[0] <= 1
    assert client.puts < 200


def test_a_write_whose_answer_got_lost_is_not_made_twice(store: DynamoStreamStore, client: Atomic):
    store.update("s", made)
    client.lose_answers = 1
    after = store.update("s", lambda r: r and (r if r.last_detail else replace(r, last_detail="once")))
    assert after is not None
    assert (after.last_detail, after.row_version) == ("once", 2)


def test_many_are_read_in_portions(store: DynamoStreamStore, dynamodb: Any):
    names = [f"s-{number:03}" for number in range(130)]
    for name in names:
        dynamodb.put_item(TableName="streams", Item=to_item(StreamRecord(name, row_version=1)))
    assert [record.stream_id for record in store.list_all()] == names
    wanted = [*names[:120], "nobody", names[0]]
    assert sorted(record.stream_id for record in store.load_many(wanted)) == names[:120]
    assert store.load_many([]) == []


def test_what_dynamodb_left_unread_is_asked_again(store: DynamoStreamStore, client: Atomic, dynamodb: Any):
    for name in ("a", "b"):
        store.update(name, lambda _, name=name: StreamRecord(name))
    original = dynamodb.batch_get_item
    asked: list[int] = []

    def half(**request: Any) -> Any:
        keys = request["RequestItems"]["streams"]["Keys"]
        asked.append(len(keys))
        answer = original(RequestItems={"streams": {"Keys": keys[:1], "ConsistentRead": True}})
        if keys[1:]:
            answer["UnprocessedKeys"] = {"streams": {"Keys": keys[1:], "ConsistentRead": True}}
        return answer

    client.instead["batch_get_item"] = half
    assert {record.stream_id for record in store.load_many(["a", "b"])} == {"a", "b"}
    assert asked == [2, 1]


def test_pages_of_a_scan_are_followed(store: DynamoStreamStore, client: Atomic, dynamodb: Any):
    for name in ("a", "b", "c"):
        store.update(name, lambda _, name=name: StreamRecord(name))
    original = dynamodb.scan
    client.instead["scan"] = lambda **request: original(**request, Limit=1)
    assert [record.stream_id for record in store.list_all()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "failure",
    [
        EndpointConnectionError(endpoint_url="http://localhost:1"),
        ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "GetItem"),
    ],
)
def test_trouble_with_aws_is_one_of_our_errors(store: DynamoStreamStore, client: Atomic, failure: Exception):
    def fails(**_: Any) -> Any:
        raise failure

    client.instead = dict.fromkeys(("get_item", "scan", "batch_get_item"), fails)
    for call in (
        lambda: store.load("s"),
        lambda: store.update("s", made),
        lambda: store.load_many(["s"]),
        store.list_all,
    ):
        with pytest.raises(StoreUnavailableError):
            call()
