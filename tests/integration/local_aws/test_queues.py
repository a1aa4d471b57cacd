"""SQS on the local AWS: every message reaches somebody who lives."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor

from tests.integration.local_aws.rig import Aws


def abandoned_poll(aws: Aws, queue: str) -> None:
    """A long poll whose client goes away, as one of a killed agent does."""
    connection = http.client.HTTPConnection("localhost", aws.port, timeout=30)
    body = json.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20})
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS.ReceiveMessage",
        "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/sqs/aws4_request, "
        "SignedHeaders=host, Signature=0",
    }
    connection.request("POST", "/", body=body, headers=headers)
    connection.close()


def test_a_message_does_not_go_to_a_poll_whose_client_is_gone(aws: Aws):
    queue = aws.make_queue()
    for number in range(5):
        for _ in range(4):
            abandoned_poll(aws, queue)
        aws.queues.send_message(QueueUrl=queue, MessageBody=json.dumps(number))
        # Were it handed to a dead poll, it would come back after the visibility timeout of 30 s, and out of order.
        assert aws.message(queue) == number


def test_no_message_is_lost_between_senders_and_receivers(aws: Aws):
    queue = aws.make_queue()
    count = 200

    def send(number: int) -> None:
        aws.queues.send_message(QueueUrl=queue, MessageBody=json.dumps(number))

    with ThreadPoolExecutor(8) as receivers, ThreadPoolExecutor(4) as senders:
        received = [receivers.submit(aws.message, queue) for _ in range(count)]
        list(senders.map(send, range(count)))
        assert sorted(one.result() for one in received) == list(range(count))
