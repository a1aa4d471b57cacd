"""The relay in front of the real handlers: what one signs and sends, the others verify and understand."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import boto3
import httpx
import pytest
import pytest_asyncio
from moto import mock_aws

from livedub.supervision import control_plane as wiring
from livedub.supervision.record import Phase
from media_edge.mediamtx.relay.control_plane_client import ControlPlane
from media_edge.mediamtx.relay.publishers import Publisher
from media_edge.mediamtx.relay.relay_app import Relay
from media_edge.mediamtx.relay.settings import RelaySettings
from tests.unit.functions.rig import ENVIRONMENT, KEY, Clock, Rig, create_secrets, create_tables, reset
from tests.unit.media_edge.mediamtx.fakes import SETTINGS, FakeServer

ID = "3fa0c7f0-7a2c-4f0e-9a53-0d6f6f2f0f11"
TOKEN = "token-of-generation-4"  # noqa: S105 - of this test alone
ROUTES = {
    "/v1/hooks/publish": "on_publish",
    "/v1/hooks/unpublish": "on_unpublish",
    "/v1/media/authorize": "authorize_media",
    "/v1/media/paths": "reconcile_streams",
}


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """The handlers on moto's services; executions are only noted."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    clock = Clock(int(time.time() * 1_000))
    monkeypatch.setattr(wiring, "now_ms", clock)
    with mock_aws():
        dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        stepfunctions = boto3.client("stepfunctions", region_name="us-east-1")
        create_tables(dynamodb)
        create_secrets(boto3.client("secretsmanager", region_name="us-east-1"))
        arn = stepfunctions.create_state_machine(
            name="stream_supervisor",
            definition='{"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}',
            roleArn="arn:aws:iam::123456789012:role/any",
        )["stateMachineArn"]
        monkeypatch.setenv("LIVEDUB_STATE_MACHINE_ARN", arn)
        reset()
        yield Rig(clock, stepfunctions, dynamodb, arn)
    reset()


class Bench:
    def __init__(self, functions: Rig) -> None:
        self._functions = functions
        self.statuses: list[tuple[str, int]] = []
        self.server = FakeServer()
        given = {name.removeprefix("RELAY_").lower(): value for name, value in SETTINGS.items()}
        settings = RelaySettings.model_validate({**given, "report_period_s": 600})
        to_functions = ControlPlane(
            "https://api.test", KEY, timeout_s=10, transport=httpx.MockTransport(self._call)
        )
        self.relay = Relay(settings, server=self.server, control_plane=to_functions)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.relay.app), base_url="http://127.0.0.1:9996"
        )

    def _call(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        answer = self._functions.http(ROUTES[path], "POST", path, request.content, dict(request.headers))
        self.statuses.append((path, answer.status))
        return httpx.Response(answer.status, json=answer.body)

    async def auth(self, path: str, query: str) -> int:
        request = {"ip": "192.0.2.7", "action": "publish", "path": path, "protocol": "rtmp", "id": ID}
        return (await self.http.post("/auth", json={**request, "query": query})).status_code

    async def hook(self, event: str) -> int:
        form = {"event": event, "path": "live/stadium/in", "source_type": "rtmpConn", "source_id": ID}
        return (await self.http.post("/hook", data=form)).status_code


@pytest_asyncio.fixture
async def bench(functions: Rig) -> AsyncIterator[Bench]:
    bench = Bench(functions)
    async with bench.relay.app.router.lifespan_context(bench.relay.app), bench.http:
        yield bench


async def test_a_stream_begins_and_ends_through_the_relay(bench: Bench, functions: Rig):
    key = functions.api("PUT", "/v1/streams/stadium").body["stream_key"]
    assert await bench.auth("live/stadium/in", f"key={key}") == 204
    assert await bench.auth("live/stadium/in", "key=guess") == 403
    assert await bench.auth("live/unknown/in", f"key={key}") == 403
    assert await bench.hook("ready") == 202
    assert await bench.hook("not_ready") == 202
    await bench.relay._forwarder.close(10)
    hooks = [(path, status) for path, status in bench.statuses if "/hooks/" in path]
    assert hooks == [("/v1/hooks/publish", 200), ("/v1/hooks/unpublish", 200)]
    assert len(functions.executions()) == 1
    source = functions.record().source
    assert source is not None
    assert source.source_id == f"boot.{ID}"
    assert source.absent_since_ms is not None


async def test_a_lost_hook_is_repaired_by_the_list(bench: Bench, functions: Rig):
    functions.api("PUT", "/v1/streams/stadium")
    bench.server.present = [Publisher("live/stadium/in", f"boot.{ID}", ID)]
    assert await bench.relay._reporter.report()
    assert bench.statuses == [("/v1/media/paths", 200)]
    assert len(functions.executions()) == 1


async def test_the_generation_of_the_row_reaches_the_relays_fence(bench: Bench, functions: Rig):
    functions.api("PUT", "/v1/streams/stadium")
    record = functions.record()
    held = replace(
        record.lease,
        generation=4,
        phase=Phase.RUNNING,
        execution="x",
        agent_id="a",
        expires_at_ms=functions.clock() + 30_000,
        publish_token_hash=hashlib.sha256(TOKEN.encode()).hexdigest(),
    )
    functions.store.update("stadium", lambda _: replace(record, lease=held))
    assert await bench.auth("live/stadium/out", "token=guess") == 403
    assert await bench.auth("live/stadium/out", f"token={TOKEN}") == 204
    bench.server.present = [Publisher("live/stadium/out", f"boot.{ID}", ID)]
    answer = await bench.http.post("/v1/kick", json={"path": "live/stadium/out", "token": TOKEN})
    assert answer.json() == {"kicked": True}
