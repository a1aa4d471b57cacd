"""A local AWS as a process of its own, and boto3 clients of it."""

from __future__ import annotations

import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from boto3.session import Session
from botocore.config import Config

ROOT = Path(__file__).parents[3]
BOUND_S = 60.0
REGION = "us-east-1"
_POLL_S = 0.02
_ASSUMED = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}


@dataclass(frozen=True)
class Server:
    endpoint: str
    process: subprocess.Popen[str]


def eventually(condition: Callable[[], Any], what: str, bound_s: float = BOUND_S) -> Any:
    """The first true value of `condition`; fails when none comes within the bound."""
    deadline = time.monotonic() + bound_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(_POLL_S)
    raise AssertionError(f"{what}: not within {bound_s:.0f} s")


@contextmanager
def running_server(*arguments: str, temporary: Path | None = None) -> Iterator[Server]:
    """`python -m local.aws` on a free port; SIGKILLed should it not end by SIGTERM."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/core/python'}"}
    environment["A_SECRET_OF_THIS_MACHINE"] = "must not be seen"  # noqa: S105 - it is bait
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    process = subprocess.Popen(
        [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "--",
            sys.executable,
            "-m",
            "local.aws",
            "--port",
            "0",
            *arguments,
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(_first_line(process.stdout))
        assert ready["event"] == "ready"
        yield Server(ready["endpoint"], process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _first_line(stream: IO[str]) -> str:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    return lines.get(timeout=60)


def name(prefix: str = "x") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def zipped(source: str, **more: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {"app.py": source, **more}.items():
            archive.writestr(path, text)
    return buffer.getvalue()


class Aws:
    """Clients, and the few steps that every test takes."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.port = int(endpoint.rsplit(":", 1)[1])
        session = Session("test", "test", region_name=REGION)
        config = Config(retries={"total_max_attempts": 1}, read_timeout=60, max_pool_connections=50)
        self._client: Callable[[str], Any] = lambda service: session.client(
            service, endpoint_url=endpoint, config=config
        )
        self.functions = self._client("lambda")
        self.machines = self._client("stepfunctions")
        self.queues = self._client("sqs")
        self.events = self._client("events")
        self.tables = self._client("dynamodb")
        self.parameters = self._client("ssm")
        self.stacks = self._client("cloudformation")
        self.secrets = self._client("secretsmanager")
        self.apis = self._client("apigatewayv2")
        self.logs = self._client("logs")
        self.role = self._client("iam").create_role(
            RoleName=name("role"), AssumeRolePolicyDocument=json.dumps(_ASSUMED)
        )["Role"]["Arn"]

    def make_function(self, source: str, **settings: Any) -> str:
        """A function made of `source` (app.py, function `handler`); returns its ARN."""
        made = self.functions.create_function(
            **{
                "FunctionName": name("f"),
                "Runtime": "python3.11",
                "Role": self.role,
                "Handler": "app.handler",
                "Timeout": 10,
                "Code": {"ZipFile": zipped(source)},
                **settings,
            }
        )
        return made["FunctionArn"]

    def call(self, function: str, event: Any = None, **settings: Any) -> tuple[Any, str | None]:
        """The answer and the function error of a call."""
        answer = self.functions.invoke(FunctionName=function, Payload=json.dumps(event or {}), **settings)
        text = answer["Payload"].read()
        return (json.loads(text) if text else None), answer.get("FunctionError")

    def make_queue(self) -> str:
        return self.queues.create_queue(QueueName=name("q"))["QueueUrl"]

    def queue_arn(self, url: str) -> str:
        found = self.queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return found["Attributes"]["QueueArn"]

    def message(self, url: str) -> Any:
        """The next message, taken off the queue."""
        deadline = time.monotonic() + BOUND_S
        while time.monotonic() < deadline:
            found = self.queues.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages")
            if found:
                self.queues.delete_message(QueueUrl=url, ReceiptHandle=found[0]["ReceiptHandle"])
                return json.loads(found[0]["Body"])
        raise AssertionError("no message came")

    def make_table(self) -> str:
        table = name("t")
        self.tables.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        return table

    def make_machine(self, start: str, states: dict[str, Any], **more: Any) -> str:
        definition = json.dumps({"StartAt": start, "States": states, **more})
        made = self.machines.create_state_machine(name=name("m"), definition=definition, roleArn=self.role)
        return made["stateMachineArn"]

    def start(self, machine: str, value: Any = None) -> str:
        started = self.machines.start_execution(
            stateMachineArn=machine, name=name("e"), input=json.dumps(value or {})
        )
        return started["executionArn"]

    def execution(self, arn: str) -> dict[str, Any]:
        return self.machines.describe_execution(executionArn=arn)

    def ended(self, arn: str) -> dict[str, Any]:
        """The execution once it is no longer running."""
        return eventually(
            lambda: (found := self.execution(arn))["status"] != "RUNNING" and found, f"the end of {arn}"
        )

    def token_task(self, queue_url: str, **more: Any) -> dict[str, Any]:
        """A task that hands its token to a queue and waits."""
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": {"QueueUrl": queue_url, "MessageBody": {"token.$": "$$.Task.Token"}},
            "TimeoutSeconds": 3600,
            **more,
        }

    def rule_to(self, target: dict[str, Any], **rule: Any) -> str:
        rule_name = name("r")
        self.events.put_rule(Name=rule_name, **rule)
        self.events.put_targets(Rule=rule_name, Targets=[{"Id": "1", **target}])
        return rule_name
