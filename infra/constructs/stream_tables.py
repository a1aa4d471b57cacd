"""Where streams are kept, and what supervision remembers for minutes."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from infra.constructs.acknowledged import acknowledge

EXPIRY_ATTRIBUTE = "expires_at"
"""Seconds since 1970; DynamoDB deletes the item some time after."""


class StreamTables(Construct):
    """`streams` decides who owns a stream; `replay` holds nonces, `reports` the relays' latest path lists."""

    def __init__(self, scope: Construct, construct_id: str, *, streams_survive: bool) -> None:
        super().__init__(scope, construct_id)
        self.streams = dynamodb.Table(
            self,
            "Streams",
            partition_key=_string("stream_id"),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            # Generations only grow as long as the rows live: a lost table could let an old worker publish again.
            removal_policy=RemovalPolicy.RETAIN if streams_survive else RemovalPolicy.DESTROY,
            deletion_protection=streams_survive,
        )
        self.replay = self._short_lived("Replay", "nonce")
        self.reports = self._short_lived("Reports", "relay_id")

    def _short_lived(self, construct_id: str, key: str) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            construct_id,
            partition_key=_string(key),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            time_to_live_attribute=EXPIRY_ATTRIBUTE,
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(table, "DDB3", "What lies here is worthless after minutes: there is nothing to recover.")
        return table


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
