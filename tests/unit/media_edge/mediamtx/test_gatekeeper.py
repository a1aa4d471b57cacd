import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Sequence

import httpx
import pytest

from media_edge.mediamtx.relay.gatekeeper import Gatekeeper, Network, RefusedError
from media_edge.mediamtx.relay.incoming import Access, LocalAccess
from media_edge.mediamtx.relay.publishers import Publisher
from media_edge.mediamtx.relay.read_cache import ReadCache

from .fakes import FakeApi, FakeServer, Reply, permit, refusal


def access(path: str = "live/demo/in", credential: str = "k-1", connection: str = "7", *, read: bool = False):
    return Access("read" if read else "publish", path, credential, "192.0.2.7", "rtmp", connection)


def holder(connection: str, credential: str = "token") -> Access:
    return access("live/demo/out", credential, connection)


class Setup:
    def __init__(
        self,
        reply: Reply,
        *,
        timeout_s: float = 5.0,
        ask_about_reads: bool = True,
        api_networks: Sequence[Network] = (),
    ) -> None:
        self.api = FakeApi(reply)
        self.server = FakeServer()
        self.now_s = 1_000.0
        self.counters: Counter[str] = Counter()
        self.gatekeeper = Gatekeeper(
            self.api.control_plane(),
            self.server,
            relay_id="media-1",
            timeout_s=timeout_s,
            reads=ReadCache(fresh_s=10, stale_s=60, monotonic_s=lambda: self.now_s)
            if ask_about_reads
            else None,
            counters=self.counters,
            api_networks=api_networks,
        )

    async def refused(self, it: Access | LocalAccess) -> str:
        with pytest.raises(RefusedError) as caught:
            await self.gatekeeper.decide(it)
        return caught.value.code


async def test_the_control_plane_is_asked_about_every_publisher():
    setup = Setup(lambda _: permit())
    await setup.gatekeeper.decide(access())
    await setup.gatekeeper.decide(access())
    assert len(setup.api.asked) == 2
    assert setup.api.asked[0] == (
        "/v1/media/authorize",
        {
            "schema_version": 1,
            "relay_id": "media-1",
            "action": "publish",
            "path": "live/demo/in",
            "credential": "k-1",
            "remote_address": "192.0.2.7",
            "protocol": "rtmp",
        },
    )
    assert setup.counters["publish_permitted"] == 2


async def test_its_no_is_ours(caplog: pytest.LogCaptureFixture):
    setup = Setup(lambda _: refusal(403, "WRONG_STREAM_KEY"))
    with caplog.at_level(logging.INFO):
        assert await setup.refused(access(credential="secret-key")) == "WRONG_STREAM_KEY"
    assert "refused publish of live/demo/in from 192.0.2.7" in caplog.text
    assert "secret-key" not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="yes"),
        httpx.Response(200, json={"allowed": False, "stream_id": "demo"}),
        httpx.Response(200, json={"allowed": True, "stream_id": "other", "generation": 1}),
        httpx.Response(200, json={"allowed": True, "stream_id": "demo", "generation": None}),
        httpx.Response(204),
        httpx.Response(302, headers={"location": "https://elsewhere.test/"}),
    ],
)
async def test_an_answer_that_is_no_permit_lets_nobody_in(answer: httpx.Response):
    setup = Setup(lambda _: answer)
    assert await setup.refused(holder("7")) in ("MALFORMED_ANSWER", "REFUSED")


async def test_a_control_plane_that_cannot_be_reached_lets_nobody_in():
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    setup = Setup(unreachable, timeout_s=0.3)
    assert await setup.refused(access()) == "TIMEOUT"
    assert len(setup.api.asked) >= 2, "it is asked again as long as the server waits"
    assert len(set(setup.api.nonces)) == len(setup.api.nonces)


async def test_a_moment_of_trouble_is_waited_out():
    answers = [httpx.Response(503), httpx.Response(401), permit()]
    setup = Setup(lambda _: answers.pop(0))
    await setup.gatekeeper.decide(access())
    assert len(setup.api.asked) == 3


async def test_the_present_publisher_makes_room_for_the_next_holder():
    setup = Setup(lambda _: permit(generation=2))
    old, other = Publisher("live/demo/out", "s1", "1"), Publisher("live/other/out", "s2", "2")
    setup.server.present = [old, other]
    await setup.gatekeeper.decide(holder("7"))
    assert setup.server.kicked == [old]
    assert setup.counters["takeovers"] == 1


async def test_a_publisher_of_in_makes_nobody_leave():
    setup = Setup(lambda _: permit())
    setup.server.present = [Publisher("live/demo/in", "s1", "1")]
    await setup.gatekeeper.decide(access())
    assert setup.server.kicked == []


async def test_an_older_generation_stays_out():
    generations = [2, 1]
    setup = Setup(lambda _: permit(generation=generations.pop(0)))
    await setup.gatekeeper.decide(holder("7"))
    setup.server.present = [Publisher("live/demo/out", "s7", "7")]
    assert await setup.refused(holder("8")) == "NOT_THE_HOLDER"
    assert setup.server.kicked == []


async def test_of_two_at_once_the_newer_generation_gets_in():
    gate, waiting = asyncio.Event(), asyncio.Event()
    generations = [1, 2]
    setup = Setup(lambda _: permit(generation=generations.pop(0)))
    publishers_of = setup.server.publishers_of

    async def slow(path: str) -> list[Publisher]:
        if not waiting.is_set():  # the first one
            waiting.set()
            await gate.wait()
        return await publishers_of(path)

    setup.server.publishers_of = slow
    first = asyncio.create_task(setup.refused(holder("1", "token-1")))
    await waiting.wait()
    await setup.gatekeeper.decide(holder("2", "token-2"))
    gate.set()
    assert await first == "NOT_THE_HOLDER"


async def test_a_server_that_cannot_be_asked_to_make_room_refuses_by_itself():
    setup = Setup(lambda _: permit(generation=1))
    setup.server.broken = True
    await setup.gatekeeper.decide(holder("7"))


async def test_a_replaced_holder_that_stayed_is_kicked_later():
    generations = [1, 2]
    setup = Setup(lambda _: permit(generation=generations.pop(0)))
    await setup.gatekeeper.decide(holder("1"))
    await setup.gatekeeper.decide(holder("2"))
    stayed, unknown = Publisher("live/demo/out", "s1", "1"), Publisher("live/else/out", "s9", "9")
    setup.server.present = [stayed, unknown]
    await setup.gatekeeper.enforce(list(setup.server.present))
    assert setup.server.kicked == [stayed]
    await setup.gatekeeper.enforce([Publisher("live/demo/out", "s2", "2")])
    assert setup.server.kicked == [stayed]


async def test_the_token_kicks_its_own_connection_only():
    setup = Setup(lambda _: permit(generation=1))
    await setup.gatekeeper.decide(holder("1", "token-1"))
    mine, strange = Publisher("live/demo/out", "s1", "1"), Publisher("live/demo/out", "s2", "2")
    setup.server.present = [strange, mine]
    assert await setup.gatekeeper.kick_holder("live/demo/out", "token-1")
    assert setup.server.kicked == [mine]
    assert not await setup.gatekeeper.kick_holder("live/demo/out", "token-1")


async def test_readers_are_remembered_for_a_while():
    answers = [permit(), refusal(403, "NOT_A_READER"), permit()]
    setup = Setup(lambda _: answers.pop(0))
    await setup.gatekeeper.decide(access(read=True))
    await setup.gatekeeper.decide(access(read=True))
    assert len(setup.api.asked) == 1
    assert await setup.refused(access(read=True, credential="other")) == "NOT_A_READER"
    assert await setup.refused(access(read=True, credential="other")) == "READER_REFUSED"
    assert len(setup.api.asked) == 2
    setup.now_s += 11
    await setup.gatekeeper.decide(access(read=True))
    assert len(setup.api.asked) == 3


async def test_a_reader_stays_permitted_in_an_outage_and_a_new_one_does_not_get_in():
    answers = [permit(), httpx.Response(503), httpx.Response(503), httpx.Response(503)]
    setup = Setup(lambda _: answers.pop(0))
    await setup.gatekeeper.decide(access(read=True))
    setup.now_s += 30
    await setup.gatekeeper.decide(access(read=True))
    assert await setup.refused(access("live/other/out", read=True)) == "API_UNREACHABLE"
    setup.now_s += 31
    assert await setup.refused(access(read=True)) == "API_UNREACHABLE"


async def test_readers_need_not_be_asked_about():
    setup = Setup(lambda _: refusal(403, "NOT_A_READER"), ask_about_reads=False)
    await setup.gatekeeper.decide(access(read=True))
    assert setup.api.asked == []


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.7", False),
        ("", False),
        ("localhost", False),
    ],
)
async def test_the_servers_own_api_is_for_its_own_host(address: str, *, allowed: bool):
    setup = Setup(lambda _: permit())
    if allowed:
        await setup.gatekeeper.decide(LocalAccess(address))
    else:
        assert await setup.refused(LocalAccess(address)) == "NOT_LOCAL"
    assert setup.api.asked == []


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("10.0.16.9", True), ("::ffff:10.0.16.9", True), ("127.0.0.1", True), ("10.1.0.1", False), ("", False)],
)
async def test_networks_that_may_use_the_servers_own_api_are_named(address: str, *, allowed: bool):
    setup = Setup(lambda _: permit(), api_networks=[ipaddress.ip_network("10.0.0.0/16")])
    if allowed:
        await setup.gatekeeper.decide(LocalAccess(address))
    else:
        assert await setup.refused(LocalAccess(address)) == "NOT_LOCAL"


def language(connection: str, name: str, credential: str = "token-1") -> Access:
    return access(f"live/demo/out-{name}", credential, connection)


async def test_a_takeover_clears_every_language_of_the_stream():
    generations = [1, 1, 1, 2]
    setup = Setup(lambda _: permit(generation=generations.pop(0)))
    await setup.gatekeeper.decide(holder("1"))
    await setup.gatekeeper.decide(language("2", "fr"))
    await setup.gatekeeper.decide(language("3", "de"))
    old = [
        Publisher("live/demo/out", "s1", "1"),
        Publisher("live/demo/out-fr", "s2", "2"),
        Publisher("live/demo/out-de", "s3", "3"),
    ]
    other = Publisher("live/other/out-fr", "s9", "9")
    setup.server.present = [*old, other]
    await setup.gatekeeper.decide(holder("7", "token-2"))
    assert setup.server.kicked == old


async def test_one_token_kicks_every_language_it_came_with():
    setup = Setup(lambda _: permit(generation=1))
    await setup.gatekeeper.decide(holder("1", "token-1"))
    await setup.gatekeeper.decide(language("2", "fr", "token-1"))
    mine = [Publisher("live/demo/out", "s1", "1"), Publisher("live/demo/out-fr", "s2", "2")]
    setup.server.present = [*mine, Publisher("live/demo/out-fr", "s3", "3")]
    assert await setup.gatekeeper.kick_holder("live/demo/out", "token-1")
    assert setup.server.kicked == mine


async def test_a_language_that_stayed_behind_a_takeover_is_kicked_later():
    generations = [1, 2]
    setup = Setup(lambda _: permit(generation=generations.pop(0)))
    await setup.gatekeeper.decide(language("2", "fr"))
    await setup.gatekeeper.decide(holder("7", "token-2"))
    stayed = Publisher("live/demo/out-fr", "s2", "2")
    setup.server.present = [stayed]
    await setup.gatekeeper.enforce([stayed])
    assert setup.server.kicked == [stayed]
