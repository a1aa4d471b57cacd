"""The deployed control plane without a deployment: moto's tables, secrets and state machine, and the real handlers."""

from __future__ import annotations

import base64
import importlib
import io
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livedub.supervision import control_plane
from livedub.supervision.contract import MediaAddresses, SourceHook, Wire
from livedub.supervision.dynamo_stream_store import DynamoStreamStore
from livedub.supervision.record import StreamRecord
from livedub.supervision.signing import sign

ROOT = Path(__file__).resolve().parents[3]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
ASL = ROOT / "infra" / "statemachines" / "stream_supervisor.asl.json"
EVENTS = ROOT / "tests" / "events"

KEY = bytes(range(32))
OLD_KEY = bytes(range(32, 64))
TOKEN = "an-operator-s-token"  # noqa: S105 - of this test alone
NOW_MS = 1_790_000_000_000
MEDIA = MediaAddresses(
    play_base_url="rtmp://media-1:1935",
    publish_base_url="rtmp://media-1:1935",
    kick_url="http://media-1:9996/v1/kick",
)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "LIVEDUB_STREAMS_TABLE": "streams",
    "LIVEDUB_REPLAY_TABLE": "replay",
    "LIVEDUB_REPORTS_TABLE": "reports",
    "LIVEDUB_RELAY_KEY_SECRET": "relay-keys",
    "LIVEDUB_API_TOKEN_SECRET": "api-token",
}


@dataclass
class Clock:
    """Time that stands still until told otherwise."""

    ms: int = NOW_MS

    def __call__(self) -> int:
        return self.ms

    def pass_s(self, seconds: float) -> None:
        self.ms += int(seconds * 1_000)


@dataclass(frozen=True)
class Context:
    """What Lambda tells a function about a call."""

    function_name: str
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:x"
    aws_request_id: str = "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return self.body.get("code", "")


def create_tables(dynamodb: Any) -> None:
    for table, key in (("streams", "stream_id"), ("replay", "nonce"), ("reports", "relay_id")):
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )


def create_secrets(manager: Any) -> None:
    manager.create_secret(Name="relay-keys", SecretString=f"{KEY.hex()}\n{OLD_KEY.hex()}\n")
    manager.create_secret(Name="api-token", SecretString=f"{TOKEN}\n")


class Rig:
    """Calls handlers as AWS does."""

    def __init__(self, clock: Callable[[], int], stepfunctions: Any, dynamodb: Any, arn: str) -> None:
        self.clock = clock
        self.stepfunctions = stepfunctions
        self.dynamodb = dynamodb
        self.arn = arn
        self.store = DynamoStreamStore("streams", dynamodb)

    def call(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        handler = importlib.import_module(f"functions.{function}.handler").handler
        # Through JSON both ways, as Lambda does: what does not survive that fails here.
        return json.loads(json.dumps(handler(json.loads(json.dumps(event)), Context(function))))

    def signed(
        self,
        function: str,
        path: str,
        message: Wire | bytes,
        *,
        key: bytes = KEY,
        nonce: str = "",
        at_ms: int | None = None,
        encode: bool = False,
    ) -> Answer:
        body = message if isinstance(message, bytes) else message.model_dump_json().encode()
        headers = sign(
            key,
            body,
            method="POST",
            path=path,
            timestamp_ms=self.clock() if at_ms is None else at_ms,
            nonce=nonce or secrets.token_urlsafe(24),
        )
        return self.http(function, "POST", path, body, headers, encode=encode)

    def http(
        self,
        function: str,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        encode: bool = False,
    ) -> Answer:
        raw = self.call(function, http_event(method, path, body, headers or {}, encode=encode))
        return Answer(raw["statusCode"], json.loads(raw["body"]), raw["headers"])

    def api(self, method: str, path: str, body: Any = None, *, token: str = TOKEN) -> Answer:
        given = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http("stream_api", method, path, given, headers)

    def publish(self, stream_id: str = "stadium", source_id: str = "src-1", **fields: Any) -> Answer:
        return self.signed("on_publish", "/v1/hooks/publish", self.hook(stream_id, source_id, **fields))

    def unpublish(self, stream_id: str = "stadium", source_id: str = "src-1", **fields: Any) -> Answer:
        return self.signed("on_unpublish", "/v1/hooks/unpublish", self.hook(stream_id, source_id, **fields))

    def hook(
        self, stream_id: str = "stadium", source_id: str = "src-1", path: str = "", **fields: Any
    ) -> SourceHook:
        return SourceHook.model_validate(
            {
                "relay_id": "media-1",
                "path": path or f"live/{stream_id}/in",
                "source_id": source_id,
                "source_type": "rtmpConn",
                "occurred_at_ms": self.clock(),
                "media": MEDIA,
                **fields,
            }
        )

    def record(self, stream_id: str = "stadium") -> StreamRecord:
        record = self.store.load(stream_id)
        assert record is not None
        return record

    def executions(self) -> list[str]:
        found = self.stepfunctions.list_executions(stateMachineArn=self.arn)["executions"]
        return sorted(execution["name"] for execution in found)


def http_event(
    method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, encode: bool = False
) -> dict[str, Any]:
    """Payload format 2.0."""
    text = None
    if body is not None:
        text = base64.b64encode(body).decode() if encode else body.decode()
    return {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.lower(): value for name, value in headers.items()},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.example",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "10.0.0.7",
                "userAgent": "livedub-relay",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": f"{method} {path}",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1583348638390,
        },
        "isBase64Encoded": encode,
        **({} if text is None else {"body": text}),
    }


@contextmanager
def log_lines(function: str) -> Iterator[list[dict[str, Any]]]:
    """What a function logs meanwhile, filled in at the end."""
    handler = importlib.import_module(f"functions.{function}.handler").telemetry.logger.registered_handler
    buffer = io.StringIO()
    lines: list[dict[str, Any]] = []
    before = handler.setStream(buffer)
    try:
        yield lines
    finally:
        handler.setStream(before)
        lines += [json.loads(line) for line in buffer.getvalue().splitlines()]


def reset() -> None:
    control_plane.forget()
