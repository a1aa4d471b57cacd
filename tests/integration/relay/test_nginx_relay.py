"""nginx and the relay: who gets in, who is put out, and what the control plane hears of it."""

import asyncio

import httpx
import pytest

from local.processes import ChildProcess

from .conftest import Rig, until


async def test_a_publisher_with_the_stream_key_is_let_in_announced_and_reported(rig: Rig):
    rig.rules.stream_keys["demo"] = "k-1"
    publisher = await rig.publish("demo", query="key=k-1")
    await rig.published("demo", "in")

    async def reported() -> bool:
        return any(report.paths for report in rig.control_plane.reports)

    await until(reported)
    await rig.supervisor.stop(publisher)

    async def both_told() -> bool:
        return len(rig.control_plane.hooks) >= 2

    await until(both_told)
    (came, arrival), (left, departure) = rig.control_plane.hooks
    assert (came, left) == ("publish", "unpublish")
    assert arrival.source_id == departure.source_id
    assert arrival.path == departure.path == "live/demo/in"
    assert arrival.relay_id == "media-1"
    assert arrival.media.publish_base_url == rig.server.rtmp_base_url
    listed = [report.paths for report in rig.control_plane.reports if report.paths]
    assert {(path.path, path.source_id) for paths in listed for path in paths} == {
        ("live/demo/in", arrival.source_id)
    }
    assert rig.control_plane.rejected == []


async def test_a_publisher_with_a_wrong_stream_key_is_refused_and_no_news(rig: Rig):
    rig.rules.stream_keys["demo"] = "k-1"
    assert await rig.refused(await rig.publish("demo", query="key=k-2"))
    assert await rig.refused(await rig.publish("demo"))
    assert await rig.server.paths() == []
    assert rig.control_plane.hooks == []


async def test_only_the_holder_publishes_out(rig: Rig):
    rig.rules.holders["demo"] = ("token-1", 1)
    assert await rig.refused(await rig.publish("demo", "out"))
    assert await rig.refused(await rig.publish("demo", "out", "token=token-0"))
    assert await rig.server.paths() == []
    await rig.publish("demo", "out", "token=token-1")
    await rig.published("demo", "out")
    assert rig.control_plane.hooks == [], "the worker's own output is no news"


async def takeover(rig: Rig) -> tuple[ChildProcess, ChildProcess]:
    rig.rules.holders["demo"] = ("token-1", 1)
    old = await rig.publish("demo", "out", "token=token-1")
    await rig.published("demo", "out")
    rig.rules.holders["demo"] = ("token-2", 2)
    new = await rig.publish("demo", "out", "token=token-2")
    assert await rig.refused(old)
    await rig.published("demo", "out")
    return old, new


async def test_a_newer_generation_takes_the_path_over_and_the_older_does_not_come_back(rig: Rig):
    _, new = await takeover(rig)
    assert await rig.refused(await rig.publish("demo", "out", "token=token-1"))
    rig.rules.holders["demo"] = ("token-1", 1)  # an answer that was given before the takeover and comes late
    assert await rig.refused(await rig.publish("demo", "out", "token=token-1"))
    assert new.returncode is None
    assert (await rig.health())["counters"]["takeovers"] == 1


async def kick(rig: Rig, token: str, path: str = "live/demo/out") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.post(f"{rig.relay_url}/v1/kick", json={"path": path, "token": token})


async def test_the_holder_of_the_token_has_the_publisher_kicked_and_nobody_else(rig: Rig):
    assert (await kick(rig, "token-1")).status_code == 404
    rig.rules.holders["demo"] = ("token-1", 1)
    publisher = await rig.publish("demo", "out", "token=token-1")
    await rig.published("demo", "out")
    assert (await kick(rig, "token-2")).status_code == 403
    assert publisher.returncode is None
    answer = await kick(rig, "token-1")
    assert (answer.status_code, answer.json()) == (200, {"kicked": True})
    assert await rig.refused(publisher)
    assert (await kick(rig, "token-1")).json() == {"kicked": False}


async def test_a_replaced_holder_cannot_kick_its_successor(rig: Rig):
    _, new = await takeover(rig)
    assert (await kick(rig, "token-1")).status_code == 403
    assert new.returncode is None


async def test_a_second_publisher_of_in_is_refused_and_its_end_is_no_news(rig: Rig):
    rig.rules.stream_keys["demo"] = "k-1"
    first = await rig.publish("demo", query="key=k-1")
    await rig.published("demo", "in")
    assert await rig.refused(await rig.publish("demo", query="key=k-1"))
    await rig.supervisor.stop(first)

    async def left() -> bool:
        return "unpublish" in [event for event, _ in rig.control_plane.hooks]

    await until(left)
    assert [event for event, _ in rig.control_plane.hooks] == ["publish", "unpublish"]
    assert len({source_id for _, source_id in rig.control_plane.events()}) == 1


async def test_what_a_client_puts_into_its_query_is_not_believed(rig: Rig):
    rig.rules.stream_keys.update({"demo": "k-1", "other": "k-2"})
    for query in (
        "key=k-1&name=other/in",
        "key=k-1&call=publish_done&name=demo/in",
        "key=k-1&addr=127.0.0.1",
    ):
        assert await rig.refused(await rig.publish("demo", query=query))
    assert rig.control_plane.hooks == []
    assert rig.control_plane.questions == []


@pytest.mark.slow
async def test_nobody_gets_in_while_the_control_plane_is_away_and_hooks_wait_for_it(rig: Rig):
    assert rig.relay is not None
    await rig.supervisor.stop(rig.relay)
    await rig.start_relay(RELAY_AUTH_TIMEOUT_MS="1500")
    rig.rules.stream_keys["demo"] = "k-1"
    publisher = await rig.publish("demo", query="key=k-1")
    await rig.published("demo", "in")
    rig.control_plane.stop()
    assert await rig.refused(await rig.publish("other", query="key=k-1"))
    await rig.supervisor.stop(publisher)

    async def waiting() -> bool:
        return (await rig.health())["hooks_waiting"] > 0

    await until(waiting)
    rig.control_plane.start()

    async def told() -> bool:
        return [event for event, _ in rig.control_plane.hooks] == ["publish", "unpublish"]

    await until(told)
    assert rig.control_plane.rejected == []


async def test_a_hook_that_was_not_taken_is_sent_again(rig: Rig):
    rig.rules.stream_keys["demo"] = "k-1"
    rig.rules.hook_failures = 2
    await rig.publish("demo", query="key=k-1")

    async def told() -> bool:
        return [event for event, _ in rig.control_plane.hooks] == ["publish"]

    await until(told)
    assert rig.control_plane.rejected == [], "every try has its own nonce"


@pytest.mark.slow
async def test_readers_are_asked_about_and_refused(rig: Rig):
    rig.rules.stream_keys["demo"] = "k-1"
    await rig.publish("demo", query="key=k-1")
    await rig.published("demo", "in")
    assert await plays(rig)
    rig.rules.readers_refused = True
    assert rig.relay is not None
    await rig.supervisor.stop(rig.relay)  # forgets the yes it remembers
    await rig.start_relay()
    assert not await plays(rig)


async def plays(rig: Rig) -> bool:
    process = await asyncio.create_subprocess_exec(
        *("ffprobe", "-v", "error", "-rw_timeout", "5000000", "-analyzeduration", "2000000"),
        *("-show_entries", "stream=codec_type"),
        *(
            "-rtmp_app",
            "live",
            "-rtmp_playpath",
            "demo/in",
            "-rtmp_live",
            "live",
            rig.server.play_url("demo", "in"),
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return b"video" in output


async def test_a_stopping_relay_sends_what_waits(rig: Rig):
    rig.rules.stream_keys["demo"] = "k-1"
    rig.rules.hook_failures = 1
    await rig.publish("demo", query="key=k-1")
    await rig.published("demo", "in")
    assert rig.relay is not None
    assert await rig.supervisor.stop(rig.relay) == 0
    assert [event for event, _ in rig.control_plane.hooks] == ["publish"]


async def test_no_credential_is_logged(rig: Rig):
    rig.rules.stream_keys["demo"] = "secret-key-1"
    rig.rules.holders["demo"] = ("secret-token-1", 1)
    await rig.publish("demo", query="key=secret-key-1")
    await rig.publish("demo", "out", "token=secret-token-1")
    await rig.published("demo", "in")
    await rig.published("demo", "out")
    assert await rig.refused(await rig.publish("demo", "out", "token=secret-token-0"))
    await kick(rig, "secret-token-2")
    log = (rig.folder / "logs" / "relay.log").read_text()
    assert "refused" in log
    assert "secret-" not in log
