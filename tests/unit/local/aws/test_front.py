from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from werkzeug.test import Client

from local.aws import front as front_module
from local.aws.front import MAX_BODY_BYTES, Front
from local.aws.function_pool import FunctionBusyError
from local.aws.function_spec import FunctionSpec, InvokeResult
from local.aws.host_commands import HostCommands
from local.aws.host_front import HostFront

SPEC = FunctionSpec("f", "h.handler", Path("/code"))


class FakeCatalogue:
    def routes(self, api_id: str) -> Mapping[str, str] | None:
        return {"POST /v1/{name}": "f", "GET /gone": "nobody"} if api_id == "api1" else None

    def function(self, name_or_arn: str) -> FunctionSpec | None:
        return SPEC if name_or_arn == "f" else None


class FakeFunctions:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answer: InvokeResult | FunctionBusyError = InvokeResult(b'{"statusCode": 201, "body": "made"}')

    def call(self, spec: FunctionSpec, payload: bytes) -> InvokeResult:
        self.events.append(json.loads(payload))
        if isinstance(self.answer, FunctionBusyError):
            raise self.answer
        return self.answer


def moto(environ: dict[str, object], start_response: Any):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"moto"]


@pytest.fixture
def functions() -> FakeFunctions:
    return FakeFunctions()


@pytest.fixture
def client(functions: FakeFunctions) -> Client:
    return Client(Front(FakeCatalogue(), cast("Any", functions), HostFront(HostCommands()), moto))


def test_other_paths_are_motos(client: Client):
    assert client.post("/").data == b"moto"
    assert client.get("/bucket/_local/x").data == b"moto"


def test_an_api_reaches_its_function(client: Client, functions: FakeFunctions):
    answer = client.post("/_local/api/api1/v1/a%20b?q=1", json={"k": 1})
    assert (answer.status_code, answer.data) == (201, b"made")
    (event,) = functions.events
    assert event["pathParameters"] == {"name": "a b"}
    assert event["rawPath"] == "/v1/a b"
    assert event["rawQueryString"] == "q=1"
    assert json.loads(event["body"]) == {"k": 1}


def test_a_function_url_reaches_its_function(client: Client, functions: FakeFunctions):
    assert client.put("/_local/lambda/f/any/path").status_code == 201
    assert functions.events[0]["routeKey"] == "$default"
    assert functions.events[0]["rawPath"] == "/any/path"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_local/api/api1/v1/x", 404),
        ("POST", "/_local/api/other/v1/x", 404),
        ("POST", "/_local/lambda/other/", 404),
        ("POST", "/_local/elsewhere", 404),
        ("GET", "/_local/api/api1/gone", 500),
    ],
)
def test_what_does_not_exist(client: Client, functions: FakeFunctions, method: str, path: str, status: int):
    assert client.open(path, method=method).status_code == status
    assert functions.events == []


@pytest.mark.parametrize(
    ("answer", "of_api", "of_url"),
    [
        (InvokeResult(b'{"errorType": "X"}', failed=True), 500, 502),
        (InvokeResult(b'{"statusCode": "x"}'), 500, 502),
        (FunctionBusyError("busy"), 503, 429),
    ],
)
def test_failures_answer_as_the_gateway_does(
    client: Client, functions: FakeFunctions, answer: Any, of_api: int, of_url: int
):
    functions.answer = answer
    refused = client.post("/_local/api/api1/v1/x")
    assert refused.status_code == of_api
    assert set(json.loads(refused.data)) == {"message"}
    assert client.post("/_local/lambda/f/").status_code == of_url


def test_an_answer_after_the_gateways_patience_is_a_503(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(front_module, "INTEGRATION_BOUND_S", -1.0)
    assert client.post("/_local/api/api1/v1/x").status_code == 503


def test_a_body_beyond_the_limit_never_reaches_a_function(client: Client, functions: FakeFunctions):
    refused = client.post("/_local/api/api1/v1/x", data=b"x" * (MAX_BODY_BYTES + 1))
    assert refused.status_code == 413
    assert refused.headers["Connection"] == "close"
    assert functions.events == []
    assert client.post("/_local/api/api1/v1/x", data=b"x" * MAX_BODY_BYTES).status_code == 201
