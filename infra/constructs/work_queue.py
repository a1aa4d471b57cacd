"""The queue in which work waits for a host with a free slot."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class WorkQueue(Construct):
    """Work and, for what no host could make sense of, dead letters.

    Args:
        hidden: from when it was taken until a message is seen again, unless its host asks for more.
        kept: how long a message may wait.
        deliveries: so often is a message seen before it is dead.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, hidden: Duration, kept: Duration, deliveries: int
    ) -> None:
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
            visibility_timeout=hidden,
            retention_period=kept,
            receive_message_wait_time=Duration.seconds(20),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=deliveries),
        )
