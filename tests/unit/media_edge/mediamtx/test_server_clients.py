"""The control APIs of MediaMTX and nginx-rtmp, as their sources and a recorded /stat show them."""

import json
import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from media_edge.mediamtx.relay.loopback_client import LoopbackHttp
from media_edge.mediamtx.relay.mediamtx_server import MediaMtxServer
from media_edge.mediamtx.relay.nginx_server import NginxServer, process_start
from media_edge.mediamtx.relay.publishers import MediaServerError, Publisher

Reply = Callable[[httpx.Request], httpx.Response]


def http(reply: Reply) -> LoopbackHttp:
    return LoopbackHttp("http://127.0.0.1:1", transport=httpx.MockTransport(reply))


class MediaMtxApi:
    """Lists with pages; a list that is not there belongs to a protocol that is off."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists = lists
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        _, _, name, verb, *rest = request.url.path.split("/")
        self.asked.append(f"{request.method} {request.url.path}")
        if verb == "kick":
            known = any(item["id"] == rest[0] for item in self.lists.get(name, []))
            return httpx.Response(200 if known else 404)
        if name not in self.lists:
            return httpx.Response(404, text="404 page not found")
        size, page = int(request.url.params["itemsPerPage"]), int(request.url.params["page"])
        items = self.lists[name]
        body = {
            "itemCount": len(items),
            "pageCount": -(-len(items) // size),
            "items": items[page * size : (page + 1) * size],
        }
        return httpx.Response(200, text=json.dumps(body))


async def test_mediamtx_lists_what_is_published_over_all_pages():
    paths = [
        {"name": f"live/s{index}/in", "online": True, "source": {"type": "rtmpConn", "id": f"id-{index}"}}
        for index in range(501)
    ]
    odd = [
        {"name": "live/old/in", "ready": True, "source": {"type": "rtspSession", "id": "x"}},
        {"name": "live/off/in", "online": False, "ready": True, "source": {"type": "rtmpConn", "id": "x"}},
        {"name": "elsewhere", "online": True, "source": {"type": "rtmpConn", "id": "x"}},
        {"name": "live/none/in", "online": True, "source": None},
        {"name": "live/hls/in", "online": True, "source": {"type": "hlsSource", "id": ""}},
    ]
    found = await MediaMtxServer(http(MediaMtxApi(paths=[*paths, *odd]))).published()
    assert len(found) == 502
    assert found[0] == Publisher("live/s0/in", "id-0", "id-0", "rtmpConn")
    assert found[-1] == Publisher("live/old/in", "x", "x", "rtspSession")


async def test_mediamtx_is_not_asked_for_paths_while_it_waits_for_us():
    api = MediaMtxApi(
        rtmpconns=[
            {"id": "1", "state": "publish", "path": "live/demo/out"},
            {"id": "2", "state": "read", "path": "live/demo/out"},
            {"id": "3", "state": "publish", "path": "live/other/out"},
        ],
        rtspsessions=[{"id": "4", "state": "publish", "path": "live/demo/out"}],
    )
    found = await MediaMtxServer(http(api)).publishers_of("live/demo/out")
    assert [(it.connection, it.kind) for it in found] == [("1", "rtmpConn"), ("4", "rtspSession")]
    assert not [url for url in api.asked if "/paths/" in url]


async def test_mediamtx_kicks_a_connection_where_it_belongs():
    api = MediaMtxApi(rtspsessions=[{"id": "4"}])
    server = MediaMtxServer(http(api))
    assert await server.kick(Publisher("live/demo/out", "4", "4", "rtspSession"))
    assert not await server.kick(Publisher("live/demo/out", "5", "5", "rtspSession"))
    assert api.asked[0] == "POST /v3/rtspsessions/kick/4"
    assert await server.source_id("4") == "4"


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(401), httpx.Response(200, text="no json"), httpx.Response(200, text="[]")],
)
async def test_mediamtx_answers_that_make_no_sense_are_an_error(answer: httpx.Response):
    with pytest.raises(MediaServerError):
        await MediaMtxServer(http(lambda _: answer)).published()


async def test_a_server_that_does_not_answer_is_an_error():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    for server in (MediaMtxServer(http(refuse)), NginxServer(http(refuse))):
        with pytest.raises(MediaServerError, match="RELAY_SERVER_API_URL"):
            await server.published()
        with pytest.raises(MediaServerError):
            await server.kick(Publisher("live/demo/out", "1", "1"))
        await server.close()


def stat(pid: int = 23978, uptime_s: int = 3, number: int = 14) -> str:
    return f"""<?xml version="1.0" encoding="utf-8" ?>
<rtmp><nginx_version>1.22.1</nginx_version><nginx_rtmp_version>1.1.4</nginx_rtmp_version>
<pid>{pid}</pid><uptime>{uptime_s}</uptime><server>
<application><name>live</name><live>
<stream><name>demo/in</name><time>1777</time>
<client><id>9</id><address>127.0.0.1</address></client>
<client><id>{number}</id><address>127.0.0.1</address><publishing/><active/></client>
<nclients>2</nclients><publishing/><active/></stream>
<stream><name>demo/out</name><client><id>10</id></client></stream>
<stream><name>odd</name><client><id>11</id><publishing/></client><publishing/></stream>
<nclients>4</nclients></live></application>
<application><name>vod</name><live>
<stream><name>demo/out</name><client><id>12</id><publishing/></client></stream></live></application>
</server></rtmp>"""


def nginx(*answers: str, boot_mark: Callable[[int], str] = lambda pid: f"t{pid}") -> NginxServer:
    queue = list(answers)
    return NginxServer(http(lambda _: httpx.Response(200, text=queue.pop(0))), boot_mark=boot_mark)


async def test_nginx_lists_what_is_published():
    found = await nginx(stat()).published()
    assert found == [Publisher("live/demo/in", "23978-t23978.14", "14")]


async def test_the_same_number_after_a_restart_is_another_source():
    server = nginx(stat(), stat(), stat(pid=23979))
    first, again, restarted = [await server.source_id("14") for _ in range(3)]
    assert first == again != restarted


async def test_without_proc_the_uptime_tells_a_restart():
    server = nginx(stat(uptime_s=500), stat(uptime_s=501), stat(uptime_s=0), boot_mark=lambda _: "")
    first, again, restarted = [await server.source_id("14") for _ in range(3)]
    assert first == again != restarted


async def test_a_stopping_nginx_is_still_named():
    server = nginx(stat(), "")
    first = await server.source_id("14")
    assert await server.source_id("14") == first
    with pytest.raises(MediaServerError):
        await nginx("").source_id("14")


async def test_nginx_drops_one_connection_by_its_number():
    asked: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.raw_path, "ascii"))
        return httpx.Response(200, text="1" if len(asked) == 1 else "0")

    server = NginxServer(http(reply))
    publisher = Publisher("live/demo/out", "x", "14")
    assert await server.kick(publisher)
    assert not await server.kick(publisher)
    assert asked[0] == "/control/drop/publisher?app=live&name=demo/out&clientid=14"


@pytest.mark.parametrize("text", ["", "<rtmp>", "<rtmp/>", "<rtmp><pid>x</pid><uptime>1</uptime></rtmp>"])
async def test_statistics_that_make_no_sense_are_an_error(text: str):
    with pytest.raises(MediaServerError):
        await nginx(text).published()


def test_a_process_has_one_start_and_a_hidden_one_has_none():
    assert process_start(os.getpid()) == process_start(os.getpid()) != ""
    assert process_start(2**30) == ""
