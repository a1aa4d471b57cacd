import asyncio
from collections import Counter

import httpx
import pytest

from livedub.errors import InvalidInputError
from livedub.supervision.contract import MediaAddresses, SourceHook
from media_edge.mediamtx.relay.control_plane_client import ControlPlane
from media_edge.mediamtx.relay.hook_forwarder import HookForwarder
from media_edge.mediamtx.relay.incoming import Event

from .fakes import KEY, FakeApi, Reply

OK = httpx.Response(200)


def hook(source_id: str = "s1", path: str = "live/demo/in") -> SourceHook:
    media = MediaAddresses(play_base_url="rtmp://host", publish_base_url="rtmp://host")
    return SourceHook(relay_id="r", path=path, source_id=source_id, occurred_at_ms=1, media=media)


class Setup:
    def __init__(self, reply: Reply, *, tries: int = 3, queue_size: int = 4) -> None:
        self.api = FakeApi(reply)
        self.counters: Counter[str] = Counter()
        self.forwarder = HookForwarder(
            self.api.control_plane(),
            tries=tries,
            queue_size=queue_size,
            counters=self.counters,
            first_pause_s=0.001,
        )

    def offer(self, event: Event, source_id: str = "s1", path: str = "live/demo/in") -> bool:
        return self.forwarder.offer(event, hook(source_id, path))

    async def finish(self, timeout_s: float = 10) -> list[tuple[str, str]]:
        await self.forwarder.close(timeout_s)
        return [(path.rpartition("/")[2], body["source_id"]) for path, body in self.api.asked]


async def test_hooks_of_one_path_leave_in_order():
    setup = Setup(lambda _: OK)
    told: list[tuple[Event, str]] = [("publish", "s1"), ("unpublish", "s1"), ("publish", "s2")]
    for event, source_id in told:
        assert setup.offer(event, source_id)
    assert await setup.finish() == told
    assert setup.counters == {"hooks_forwarded": 3}


async def test_a_try_that_failed_is_repeated_with_a_nonce_of_its_own():
    answers = [httpx.Response(503), httpx.Response(401), OK, OK]
    setup = Setup(lambda _: answers.pop(0))
    setup.offer("publish")
    setup.offer("unpublish")
    sent = await setup.finish()
    assert sent == [("publish", "s1")] * 3 + [("unpublish", "s1")]
    assert len(set(setup.api.nonces)) == 4


async def test_what_cannot_be_delivered_is_given_up_counted_and_logged(caplog: pytest.LogCaptureFixture):
    setup = Setup(lambda _: httpx.Response(503))
    setup.offer("publish")
    assert len(await setup.finish()) == 3
    assert setup.counters == {"hooks_lost": 1}
    assert (
        "the publish hook of live/demo/in (source s1) was lost: the control plane answered 503" in caplog.text
    )


async def test_a_refusal_is_not_argued_with():
    setup = Setup(lambda _: httpx.Response(404))
    setup.offer("publish")
    assert len(await setup.finish()) == 1
    assert setup.counters == {"hooks_lost": 1}


async def test_one_path_does_not_wait_for_another():
    def reply(request: httpx.Request) -> httpx.Response:
        return OK if b"live/b/in" in request.content else httpx.Response(503)

    setup = Setup(reply, tries=2)
    setup.offer("publish", path="live/a/in")
    setup.offer("publish", path="live/b/in")
    await setup.finish()
    assert setup.counters == {"hooks_forwarded": 1, "hooks_lost": 1}


async def test_what_mediamtx_says_twice_is_sent_once():
    setup = Setup(lambda _: OK)
    for event in ("publish", "publish", "unpublish", "unpublish"):
        assert setup.offer(event)
    assert await setup.finish() == [("publish", "s1"), ("unpublish", "s1")]


async def test_a_storm_of_hooks_leaves_room_for_questions():
    under_way, most = 0, 0

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            for _ in range(5):
                await asyncio.sleep(0)
            under_way -= 1
            return httpx.Response(200)

    counters: Counter[str] = Counter()
    api = ControlPlane("https://api.test", KEY, timeout_s=5, transport=Slow())
    forwarder = HookForwarder(api, tries=1, queue_size=64, counters=counters)
    for index in range(20):
        for stream in range(50):
            assert forwarder.offer("publish", hook(f"s{index}", f"live/stream{stream}/in"))
    await forwarder.close(30)
    assert counters == {"hooks_forwarded": 1_000}
    assert 1 < most <= 20


async def test_a_full_queue_keeps_the_newest():
    setup = Setup(lambda _: OK, queue_size=3)
    for index in range(6):
        setup.offer("publish", f"s{index}")
    assert await setup.finish() == [("publish", "s0"), ("publish", "s4"), ("publish", "s5")]
    assert setup.counters == {"hooks_forwarded": 3, "hooks_lost": 3}


async def test_stopping_is_bounded_and_takes_nothing_new():
    setup = Setup(lambda _: httpx.Response(503), tries=20)
    setup.offer("publish")
    setup.offer("unpublish")
    await asyncio.wait_for(setup.finish(timeout_s=0.05), 5)
    assert setup.counters["hooks_lost"] == 2
    assert not setup.offer("publish")
    assert setup.forwarder.waiting == 0


def test_a_queue_needs_room_for_the_one_under_way():
    with pytest.raises(InvalidInputError, match="too short"):
        Setup(lambda _: OK, queue_size=1)
