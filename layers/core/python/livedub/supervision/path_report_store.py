"""The latest path list of every relay, in a DynamoDB table that forgets relays nobody hears of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from livedub.supervision.aws_client import aws_client, aws_errors, error_code
from livedub.supervision.contract import PathReport

_KEEP_MS = 86_400_000


class PathReportStore:
    """Keeps one report per relay: the latest by the relay's own clock."""

    def __init__(self, table: str, client: Any) -> None:
        self._table = table
        self._client = client

    @classmethod
    def connect(cls, table: str) -> PathReportStore:
        """A store on the process's own client."""
        return cls(table, aws_client("dynamodb"))

    def keep(self, report: PathReport) -> bool:
        """Store `report`; False when a later one is already there.

        Raises:
            StoreUnavailableError: DynamoDB did not answer.
        """
        with aws_errors(f"Storing the path list of relay {report.relay_id}"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item={
                        "relay_id": {"S": report.relay_id},
                        "taken_at_ms": {"N": str(report.taken_at_ms)},
                        "report": {"S": report.model_dump_json()},
                        "expires_at": {"N": str((report.taken_at_ms + _KEEP_MS) // 1_000)},
                    },
                    ConditionExpression="attribute_not_exists(relay_id) OR taken_at_ms <= :taken",
                    ExpressionAttributeValues={":taken": {"N": str(report.taken_at_ms)}},
                )
            except self._client.exceptions.ClientError as error:
                if error_code(error) == "ConditionalCheckFailedException":
                    return False
                raise
        return True

    def list_all(self) -> list[PathReport]:
        """The latest report of every relay, by relay. One that cannot be read counts as not sent.

        Raises:
            StoreUnavailableError: DynamoDB did not answer.
        """
        return sorted(self._reports(), key=lambda report: report.relay_id)

    def _reports(self) -> Iterator[PathReport]:
        position: dict[str, Any] = {}
        while True:
            with aws_errors("Listing path lists"):
                answer = self._client.scan(TableName=self._table, ConsistentRead=True, **position)
            yield from filter(None, map(_report, answer["Items"]))
            if not answer.get("LastEvaluatedKey"):
                return
            position = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def _report(item: Mapping[str, Any]) -> PathReport | None:
    try:
        return PathReport.model_validate_json(item["report"]["S"])
    except (KeyError, ValidationError):
        return None
