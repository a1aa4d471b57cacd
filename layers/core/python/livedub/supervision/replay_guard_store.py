"""Which signed requests were already used: a DynamoDB table of nonces that forgets by itself."""

from __future__ import annotations

import secrets
from typing import Any

from livedub.supervision.aws_client import aws_client, aws_errors, error_code


class ReplayGuardStore:
    """Lets each nonce through once. `keep_ms` must exceed the age at which a signature is stale anyway."""

    def __init__(self, table: str, client: Any, *, keep_ms: int = 600_000) -> None:
        self._table = table
        self._client = client
        self._keep_ms = keep_ms

    @classmethod
    def connect(cls, table: str) -> ReplayGuardStore:
        """A guard on the process's own client."""
        return cls(table, aws_client("dynamodb"))

    def first_use(self, nonce: str, now_ms: int) -> bool:
        """Whether nobody used `nonce` before; from now on somebody has.

        Raises:
            StoreUnavailableError: DynamoDB did not answer. Let nobody through then.
        """
        # botocore repeats a write whose answer got lost: our own mark tells that apart from a replay.
        mark = secrets.token_hex(8)
        with aws_errors("Checking a nonce"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item={
                        "nonce": {"S": nonce},
                        "used_by": {"S": mark},
                        "expires_at": {"N": str((now_ms + self._keep_ms) // 1_000)},
                    },
                    ConditionExpression="attribute_not_exists(nonce) OR used_by = :mark",
                    ExpressionAttributeValues={":mark": {"S": mark}},
                )
            except self._client.exceptions.ClientError as error:
                if error_code(error) == "ConditionalCheckFailedException":
                    return False
                raise
        return True
