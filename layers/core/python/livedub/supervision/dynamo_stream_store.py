"""Stream records in a DynamoDB table: one item per stream, changed by compare-and-swap on `row_version`, never deleted."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from livedub.errors import InvalidInputError
from livedub.supervision.aws_client import aws_client, aws_errors, error_code
from livedub.supervision.record import StreamRecord
from livedub.supervision.store_errors import CorruptRecordError, StoreBusyError, StoreUnavailableError
from livedub.supervision.stream_items import Item, from_item, to_item
from livedub.supervision.stream_store_port import Rule

_log = logging.getLogger(__name__)

_BATCH = 100
"""Of BatchGetItem."""
_BATCH_ROUNDS = 8
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.2


class DynamoStreamStore:
    """Implements StreamStore.

    A write whose answer got lost is sent again by botocore and then refused, because the row has moved on: the rule
    runs a second time, on what it wrote itself. Rules are made for that.
    """

    def __init__(
        self,
        table: str,
        client: Any,
        *,
        patience_s: float = 3.0,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` is a boto3 DynamoDB client; `patience_s` how long `update` competes before it gives up."""
        self._table = table
        self._client = client
        self._patience_s = patience_s
        self._sleep = sleep
        self._monotonic = monotonic

    @classmethod
    def connect(cls, table: str) -> DynamoStreamStore:
        """A store on the process's own client."""
        return cls(table, aws_client("dynamodb"))

    def load(self, stream_id: str) -> StreamRecord | None:
        """See StreamStore.

        Raises:
            StoreUnavailableError: DynamoDB did not answer.
        """
        with aws_errors(f"Reading stream {stream_id}"):
            answer = self._client.get_item(
                TableName=self._table, Key={"stream_id": {"S": stream_id}}, ConsistentRead=True
            )
        return from_item(answer["Item"]) if answer.get("Item") else None

    def load_many(self, stream_ids: Sequence[str]) -> list[StreamRecord]:
        """See StreamStore."""
        wanted = list(dict.fromkeys(stream_ids))
        return [
            from_item(item)
            for start in range(0, len(wanted), _BATCH)
            for item in self._batch(wanted[start : start + _BATCH])
        ]

    def list_all(self) -> list[StreamRecord]:
        """See StreamStore. A scan: as dear as there are streams. A row that cannot be read costs only itself."""
        records = filter(None, map(_readable, self._scan()))
        return sorted(records, key=lambda record: record.stream_id)

    def update(self, stream_id: str, rule: Rule) -> StreamRecord | None:
        """See StreamStore.

        Raises:
            StoreBusyError: others kept writing.
            StoreUnavailableError: DynamoDB did not answer.
        """
        give_up_at = self._monotonic() + self._patience_s
        for pause_s in _pauses():
            current = self.load(stream_id)
            changed = rule(current)
            if changed is None or changed == current:
                return current
            if changed.stream_id != stream_id:
                raise InvalidInputError(f"A rule for stream {stream_id} returned {changed.stream_id}.")
            seen = current.row_version if current else None
            written = replace(changed, row_version=(seen or 0) + 1)
            if self._put(written, seen):
                return written
            if self._monotonic() + pause_s > give_up_at:
                break
            self._sleep(pause_s)
        raise StoreBusyError(
            f"Stream {stream_id} changed under every write for {self._patience_s:g} s.", remedy="Try again."
        )

    def _put(self, record: StreamRecord, seen: int | None) -> bool:
        """Write, unless somebody else did since version `seen` (None: since there was no row)."""
        item = to_item(record)
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(stream_id)"}
        if seen is not None:
            condition = {
                "ConditionExpression": "row_version = :seen",
                "ExpressionAttributeValues": {":seen": {"N": str(seen)}},
            }
        with aws_errors(f"Writing stream {record.stream_id}"):
            try:
                self._client.put_item(TableName=self._table, Item=item, **condition)
            except self._client.exceptions.ClientError as error:
                if error_code(error) == "ConditionalCheckFailedException":
                    return False
                raise
        return True

    def _batch(self, stream_ids: Sequence[str]) -> Iterable[Item]:
        keys = [{"stream_id": {"S": stream_id}} for stream_id in stream_ids]
        items: list[Item] = []
        for pause_s, _ in zip(_pauses(), range(_BATCH_ROUNDS), strict=False):
            with aws_errors("Reading streams"):
                answer = self._client.batch_get_item(
                    RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}}
                )
            items += answer["Responses"].get(self._table, [])
            keys = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if not keys:
                return items
            self._sleep(pause_s)
        raise StoreUnavailableError(f"DynamoDB left {len(keys)} streams unread.", remedy="Try again.")

    def _scan(self) -> Iterator[Item]:
        position: dict[str, Any] = {}
        while True:
            with aws_errors("Listing streams"):
                answer = self._client.scan(TableName=self._table, ConsistentRead=True, **position)
            yield from answer["Items"]
            if not answer.get("LastEvaluatedKey"):
                return
            position = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def _readable(item: Item) -> StreamRecord | None:
    try:
        return from_item(item)
    except CorruptRecordError as error:
        _log.error("%s", error)
        return None


def _pauses() -> Iterator[float]:
    """Growing pauses in seconds with full jitter, so that writers who collided do not meet again."""
    longest_s = _FIRST_PAUSE_S
    while True:
        yield random.uniform(_FIRST_PAUSE_S / 5, longest_s)  # noqa: S311 - spreads load, guards nothing
        longest_s = min(longest_s * 2, _LONGEST_PAUSE_S)
