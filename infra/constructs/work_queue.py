"""The queue in which work waits for a host with a free slot."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

_MIN_RETENTION_S = 3_600


class WorkQueue(Construct):
    """Work and, for what no agent could make sense of, dead letters."""

    def __init__(self, scope: Construct, construct_id: str, *, capacity_timeout_s: int) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        self.queue = sqs.Queue(
            self,
            "Work",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            # An agent claims at once and deletes; whoever died in between gives the message back after this.
            visibility_timeout=Duration.seconds(30),
            # A claim token is dead after the capacity timeout, and so is its message.
            retention_period=Duration.seconds(max(2 * capacity_timeout_s, _MIN_RETENTION_S)),
            receive_message_wait_time=Duration.seconds(20),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=5),
        )
