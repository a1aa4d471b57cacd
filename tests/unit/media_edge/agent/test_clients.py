"""The adapters: SQS, Step Functions, the relay, instance metadata, auto scaling."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from livedub.supervision.contract import WorkClaim
from livedub.supervision.store_errors import StoreUnavailableError
from media_edge.worker.agent.calls import DetachedCalls
from media_edge.worker.agent.imds_client import InstanceMetadata
from media_edge.worker.agent.lifecycle_client import ScalingGroup
from media_edge.worker.agent.load_client import HostLoad, LoadMetrics
from media_edge.worker.agent.media_kick_client import RelayKicker
from media_edge.worker.agent.ports import GroupRefusedError, TokenRefusedError
from media_edge.worker.agent.task_token_client import StepFunctionsTokens
from media_edge.worker.agent.termination import await_notice
from media_edge.worker.agent.work_queue_client import SqsWorkQueue
from tests.unit.media_edge.agent.scaled_group import scaled_instance
from tests.unit.media_edge.agent.waiting import BOUND_S, eventually


@pytest.fixture(autouse=True)
def _no_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@mock_aws
def test_messages_are_received_given_back_and_deleted():
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="work", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    queue = SqsWorkQueue(url, client)
    assert queue.receive(1, 0) == []
    client.send_message(QueueUrl=url, MessageBody="token inside")
    (message,) = queue.receive(4, 0)
    assert message.body == "token inside"
    assert "token inside" not in repr(message)
    assert queue.receive(4, 0) == []
    queue.give_back(message)
    (again,) = queue.receive(4, 0)
    queue.delete(again)
    assert queue.receive(4, 0) == []
    with pytest.raises(StoreUnavailableError):
        SqsWorkQueue(url + "-gone", client).receive(1, 0)


def test_work_that_reached_nobody_comes_again_soon_whatever_the_queues_own_patience():
    asked: list[dict[str, Any]] = []

    class Client:
        def receive_message(self, **given: Any) -> dict[str, Any]:
            asked.append(given)
            return {}

    assert SqsWorkQueue("https://queue", Client()).receive(3, 5) == []
    assert asked[0]["VisibilityTimeout"] <= 10


class _Refusing:
    """A Step Functions client that answers with one error code."""

    def __init__(self, code: str) -> None:
        self.exceptions = type("E", (), {"ClientError": ClientError})
        self._error = ClientError({"Error": {"Code": code, "Message": "no"}}, "SendTaskHeartbeat")

    def send_task_heartbeat(self, **_: Any) -> None:
        raise self._error

    send_task_success = send_task_heartbeat


@pytest.mark.parametrize("code", ["InvalidToken", "TaskTimedOut", "TaskDoesNotExist"])
def test_a_dead_token_is_told_apart_from_an_unavailable_service(code: str):
    tokens = StepFunctionsTokens(_Refusing(code))
    with pytest.raises(TokenRefusedError, match=code):
        tokens.heartbeat("secret-token")
    with pytest.raises(TokenRefusedError) as refused:
        tokens.succeed("secret-token", WorkClaim(agent_id="a"))
    assert "secret-token" not in str(refused.value)
    with pytest.raises(StoreUnavailableError):
        StepFunctionsTokens(_Refusing("ThrottlingException")).heartbeat("t")


class _Answers:
    """A loopback HTTP server that answers from a table and keeps what it was asked."""

    def __init__(self) -> None:
        self.table: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, str, dict[str, str], str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, self.path, headers, body))
                status, text = outer.table.get(self.path, (404, ""))
                if (
                    self.path.startswith("/latest/meta-data")
                    and headers.get("x-aws-ec2-metadata-token")
                    != outer.table.get("/latest/api/token", (0, ""))[1]
                ):
                    status, text = 401, ""
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = _answer  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(BOUND_S)


@pytest.fixture
def answers() -> Generator[_Answers]:
    server = _Answers()
    yield server
    server.close()


def test_the_relay_is_told_whom_to_kick(answers: _Answers):
    answers.table["/v1/kick"] = (204, "")
    kicker = RelayKicker(BOUND_S)
    try:
        kicker.kick(f"{answers.url}/v1/kick", "live/a/out", "secret")
        method, path, _, body = answers.asked[0]
        assert (method, path) == ("POST", "/v1/kick")
        assert json.loads(body) == {"path": "live/a/out", "token": "secret"}
        with pytest.raises(StoreUnavailableError, match="404"):
            kicker.kick(f"{answers.url}/elsewhere", "live/a/out", "secret")
    finally:
        kicker.close()


def test_a_relay_that_is_gone_is_unavailable(answers: _Answers):
    kicker = RelayKicker(BOUND_S)
    answers.close()
    try:
        with pytest.raises(StoreUnavailableError) as error:
            kicker.kick(f"{answers.url}/v1/kick", "live/a/out", "secret")
        assert "secret" not in str(error.value)
    finally:
        kicker.close()
        answers.close = lambda: None  # type: ignore[method-assign]


def test_metadata_is_asked_with_a_token_that_is_renewed(answers: _Answers):
    answers.table["/latest/api/token"] = (200, "first")
    metadata = InstanceMetadata(answers.url, BOUND_S)
    try:
        assert metadata.instance_action() == ""
        assert metadata.target_lifecycle_state() == ""
        assert [method for method, *_ in answers.asked] == ["PUT", "GET", "GET"]
        assert answers.asked[0][2]["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
        answers.table["/latest/api/token"] = (200, "second")
        answers.table["/latest/meta-data/instance-id"] = (200, "i-1\n")
        assert metadata.instance_id() == "i-1"
        answers.table["/latest/meta-data/instance-id"] = (500, "")
        with pytest.raises(StoreUnavailableError):
            metadata.instance_id()
    finally:
        metadata.close()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("spot/instance-action", '{"action": "terminate", "time": "2026-01-01T00:00:00Z"}', "terminate"),
        ("autoscaling/target-lifecycle-state", "Terminated", "Terminated"),
    ],
)
async def test_a_notice_drains_once(answers: _Answers, name: str, text: str, reason: str):
    answers.table["/latest/api/token"] = (200, "t")
    answers.table["/latest/meta-data/autoscaling/target-lifecycle-state"] = (200, "InService")
    metadata = InstanceMetadata(answers.url, BOUND_S)
    reasons: list[str] = []
    watching = asyncio.create_task(
        await_notice(metadata, DetachedCalls(), period_s=0.01, timeout_s=BOUND_S, on_notice=reasons.append)
    )
    try:
        await eventually(lambda: len(answers.asked) >= 8)
        assert reasons == []
        answers.table[f"/latest/meta-data/{name}"] = (200, text)
        await asyncio.wait_for(watching, BOUND_S)
        assert len(reasons) == 1
        assert reason in reasons[0]
    finally:
        watching.cancel()
        metadata.close()


async def test_metadata_that_does_not_answer_is_asked_again(
    answers: _Answers, caplog: pytest.LogCaptureFixture
):
    metadata = InstanceMetadata(answers.url, BOUND_S)  # no token yet: every answer is an error
    reasons: list[str] = []
    watching = asyncio.create_task(
        await_notice(metadata, DetachedCalls(), period_s=0.01, timeout_s=BOUND_S, on_notice=reasons.append)
    )
    try:
        await eventually(lambda: len(answers.asked) >= 3)
        answers.table["/latest/meta-data/spot/instance-action"] = (200, "{}")
        answers.table["/latest/api/token"] = (200, "t")
        await asyncio.wait_for(watching, BOUND_S)
        assert len(reasons) == 1
        assert caplog.text.count("no notice would be seen") == 1
    finally:
        watching.cancel()
        metadata.close()


@mock_aws
def test_the_group_keeps_the_instance_that_says_so():
    client = boto3.client("autoscaling")
    instance_id = scaled_instance(client)
    group = ScalingGroup("workers", lambda: instance_id, client)
    for protected in (True, False):
        group.protect(protected=protected)
        (instance,) = client.describe_auto_scaling_instances()["AutoScalingInstances"]
        assert instance["ProtectedFromScaleIn"] is protected


class _Said:
    """An auto-scaling client that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, str]]] = []

    def complete_lifecycle_action(self, **said: str) -> None:
        self.said.append(("complete", said))

    def record_lifecycle_action_heartbeat(self, **said: str) -> None:
        self.said.append(("beat", said))


def test_lifecycle_actions_are_kept_waiting_and_completed():
    # The local AWS has neither call.
    client = _Said()
    group = ScalingGroup("workers", lambda: "i-1", client)
    group.beat("drain")
    group.complete("drain")
    hook = {"AutoScalingGroupName": "workers", "LifecycleHookName": "drain", "InstanceId": "i-1"}
    assert client.said == [("beat", hook), ("complete", {**hook, "LifecycleActionResult": "CONTINUE"})]


@pytest.mark.parametrize(("code", "refused"), [("ValidationError", True), ("Throttling", False)])
def test_what_the_group_refuses_is_no_outage(code: str, refused: bool):
    class Client:
        def complete_lifecycle_action(self, **_: str) -> None:
            # As AWS says it; the local AWS has no such call.
            error = {"Code": code, "Message": "No active Lifecycle Action found with instance ID i-1"}
            raise ClientError({"Error": error}, "CompleteLifecycleAction")  # type: ignore[arg-type]

    with pytest.raises(StoreUnavailableError) as raised:
        ScalingGroup("workers", lambda: "i-1", Client()).complete("ready")
    assert isinstance(raised.value, GroupRefusedError) is refused


@mock_aws
def test_the_load_is_a_metric_without_dimensions():
    client = boto3.client("cloudwatch")
    LoadMetrics("livedub/test", client).put(HostLoad(slots=4, used=1, draining=False))
    found = client.list_metrics(Namespace="livedub/test")["Metrics"]
    assert {metric["MetricName"] for metric in found} == {"SlotsFree", "SlotsUsed", "HostIdle"}
    assert all(metric["Dimensions"] == [] for metric in found)


@pytest.mark.parametrize(
    ("load", "free", "idle"),
    [
        (HostLoad(4, 0, draining=False), 4, True),
        (HostLoad(4, 3, draining=False), 1, False),
        (HostLoad(4, 0, draining=True), 0, False),
    ],
)
def test_a_draining_host_has_nothing_to_give(load: HostLoad, free: int, idle: bool):
    assert (load.free, load.idle) == (free, idle)
