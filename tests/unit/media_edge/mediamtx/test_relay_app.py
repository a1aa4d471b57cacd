"""The relay's HTTP, with a control plane and a media server in memory."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from media_edge.mediamtx.relay.publishers import Publisher
from media_edge.mediamtx.relay.relay_app import Relay
from media_edge.mediamtx.relay.settings import RelaySettings

from .fakes import SETTINGS, FakeApi, FakeServer, permit, refusal

ID = "3fa0c7f0-7a2c-4f0e-9a53-0d6f6f2f0f11"
HOOK = f"event=ready&path=live/demo/in&query=&source_type=rtmpConn&source_id={ID}"


class Bench:
    def __init__(self) -> None:
        self.keys = {"live/demo/in": "k-1"}
        self.generations = {"token-1": 1, "token-2": 2}
        self.api = FakeApi(self._reply)
        self.server = FakeServer()
        given = {name.removeprefix("RELAY_").lower(): value for name, value in SETTINGS.items()}
        settings = RelaySettings.model_validate(
            {**given, "kick_host": "10.0.0.1", "kick_port": 9995, "report_period_s": 600}
        )
        self.relay = Relay(settings, server=self.server, control_plane=self.api.control_plane())
        self.inside = self._client("http://127.0.0.1:9996")
        self.outside = self._client("http://10.0.0.1:9995")

    def _client(self, base_url: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.relay.app), base_url=base_url)

    def _reply(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/authorize"):
            return httpx.Response(200, json={})
        asked = json.loads(request.content)
        if asked["path"] in self.keys:
            known = self.keys[asked["path"]] == asked["credential"]
            return permit() if known else refusal(403, "WRONG_STREAM_KEY")
        generation = self.generations.get(asked["credential"])
        return permit(generation=generation) if generation else refusal(403, "NOT_THE_HOLDER")

    async def auth(self, **fields: str) -> int:
        request = {
            "ip": "192.0.2.7",
            "action": "publish",
            "path": "live/demo/in",
            "protocol": "rtmp",
            "id": ID,
        }
        return (await self.inside.post("/auth", json={**request, **fields})).status_code

    async def nginx(self, call: str, name: str, *, number: int = 14, query: str = "") -> int:
        own = f"app=live&tcurl=rtmp://h/live&addr=192.0.2.7&clientid={number}&call={call}&name={name}"
        return (await self.inside.post("/nginx", content=f"{own}&{query}")).status_code

    async def hooks(self) -> list[tuple[str, str]]:
        """What the control plane heard, once everything has left."""
        await self.relay._forwarder.close(10)
        return [
            (path.rpartition("/")[2], body["source_id"])
            for path, body in self.api.asked
            if path.startswith("/v1/hooks/")
        ]

    async def counters(self) -> dict[str, Any]:
        return (await self.inside.get("/health")).json()["counters"]


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with bench.relay.app.router.lifespan_context(bench.relay.app), bench.inside, bench.outside:
        yield bench


async def test_mediamtx_is_answered_about_its_clients(bench: Bench):
    assert await bench.auth(query="key=k-1") == 204
    assert await bench.auth(query="key=k-2") == 403
    assert await bench.auth() == 401, "asks a client for credentials that came without"
    assert await bench.auth(path="live/demo/out", query="token=token-1") == 204
    assert await bench.auth(path="live/demo/elsewhere", query="key=k-1") == 400
    assert await bench.auth(action="api", ip="127.0.0.1", path="") == 204
    assert await bench.auth(action="api", path="") == 403


async def test_a_hook_is_taken_at_once_and_forwarded(bench: Bench):
    assert (await bench.inside.post("/hook", content=HOOK)).status_code == 202
    assert (await bench.inside.post("/hook", content=HOOK)).status_code == 202
    assert (await bench.inside.post("/hook", content=HOOK.replace("=ready", "=not_ready"))).status_code == 202
    assert (await bench.inside.post("/hook", content=HOOK.replace("demo/in", "demo/out"))).status_code == 202
    assert await bench.hooks() == [("publish", f"boot.{ID}"), ("unpublish", f"boot.{ID}")]
    sent = next(body for path, body in bench.api.asked if path == "/v1/hooks/publish")
    assert sent["relay_id"] == "media-1"
    assert sent["media"]["publish_base_url"] == "rtmp://media-1:1935"


async def test_nginx_hears_yes_before_the_control_plane_hears_of_the_publisher(bench: Bench):
    assert await bench.nginx("publish", "demo/in", query="key=k-2") == 403
    assert await bench.nginx("publish", "demo/in", query="key=k-1") == 200
    assert await bench.nginx("publish_done", "demo/in", query="key=k-1") == 200
    assert await bench.nginx("play", "demo/in") == 403
    assert await bench.hooks() == [("publish", "boot.14"), ("unpublish", "boot.14")]


async def test_a_second_publisher_of_in_is_refused_before_anybody_hears_of_it(bench: Bench):
    assert await bench.nginx("publish", "demo/in", query="key=k-1") == 200
    assert await bench.nginx("publish", "demo/in", number=15, query="key=k-1") == 403
    bench.server.present = [Publisher("live/other/in", "s", "3")]
    bench.keys["live/other/in"] = "k-1"
    assert await bench.nginx("publish", "other/in", number=16, query="key=k-1") == 403
    assert await bench.hooks() == [("publish", "boot.14")]


async def test_a_publisher_nginx_does_not_show_yet_is_reported(bench: Bench):
    await bench.nginx("publish", "demo/in", query="key=k-1")
    bench.server.present = [Publisher("live/other/in", "s3", "3")]
    assert await bench.relay._reporter.report()
    paths = bench.api.asked[-1][1]["paths"]
    assert paths == [
        {"path": "live/demo/in", "source_id": "boot.14"},
        {"path": "live/other/in", "source_id": "s3"},
    ]
    await bench.nginx("publish_done", "demo/in")
    assert await bench.relay._reporter.report()
    assert [path["path"] for path in bench.api.asked[-1][1]["paths"]] == ["live/other/in"]


async def test_a_list_that_cannot_be_read_is_not_sent(bench: Bench):
    bench.server.broken = True
    assert not await bench.relay._reporter.report()
    assert not [path for path, _ in bench.api.asked if path == "/v1/media/paths"]
    assert (await bench.counters())["reports_failed"] == 1


async def test_a_server_that_cannot_be_asked_lets_no_publisher_in(bench: Bench):
    bench.server.broken = True
    assert await bench.nginx("publish", "demo/in", query="key=k-1") == 502


async def test_worker_hosts_may_kick_and_look_and_nothing_else(bench: Bench):
    assert await bench.auth(path="live/demo/out", query="token=token-1") == 204
    bench.server.present = [Publisher("live/demo/out", ID, ID)]
    wrong = await bench.outside.post("/v1/kick", json={"path": "live/demo/out", "token": "token-2"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "NOT_THE_HOLDER")
    right = await bench.outside.post("/v1/kick", json={"path": "live/demo/out", "token": "token-1"})
    assert (right.status_code, right.json()) == (200, {"kicked": True})
    assert (await bench.outside.get("/health")).status_code == 200
    for path in ("/auth", "/hook", "/nginx"):
        assert (await bench.outside.post(path, content=HOOK)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"path": "live/demo/out"}',
        b'{"path": "live/demo/out", "token": ""}',
        b'{"path": "live/demo/out", "token": 7}',
        b'{"path": "../x", "token": "t"}',
    ],
)
async def test_a_malformed_kick_is_refused(bench: Bench, body: bytes):
    answer = await bench.inside.post("/v1/kick", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_BODY")


async def test_nobody_to_kick_is_said(bench: Bench):
    answer = await bench.inside.post("/v1/kick", json={"path": "live/demo/out", "token": "t"})
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_PUBLISHER")


@pytest.mark.parametrize("path", ["/auth", "/hook", "/nginx", "/v1/kick"])
async def test_an_endless_body_is_refused(bench: Bench, path: str):
    answer = await bench.inside.post(path, content=b"a" * 17_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")
    assert bench.api.asked == []


async def test_health_says_whether_the_control_plane_answers(bench: Bench):
    assert (await bench.inside.get("/health")).json()["api"] == "unknown"
    await bench.auth(query="key=k-1")
    health = (await bench.inside.get("/health")).json()
    assert (health["status"], health["api"], health["hooks_waiting"]) == ("ok", "ok", 0)
    assert health["counters"]["publish_permitted"] == 1
