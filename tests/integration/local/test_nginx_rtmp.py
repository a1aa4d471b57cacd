import asyncio
from pathlib import Path

import pytest

from livedub.errors import ConfigurationError
from local.loopback_client import http_request, http_status
from local.media_servers.base import MediaServer, StreamPath
from local.media_servers.nginx_rtmp import NginxRtmp, remove_old_parts
from local.processes import Supervisor

from .streams import is_published, publish, until

IN = StreamPath("demo", "in")


async def test_a_published_path_is_listed_until_its_publisher_leaves(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path
):
    assert await nginx.paths() == []
    publisher = await publish(supervisor, small_clip, nginx.publish_url("demo"))
    await until(lambda: is_published(nginx, IN))
    await supervisor.stop(publisher)

    async def gone():
        return not await is_published(nginx, IN)

    await until(gone)


async def test_hls_of_a_path_with_a_slash_can_be_fetched(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path
):
    await publish(supervisor, small_clip, nginx.publish_url("demo"))

    async def listed():
        return await http_status(nginx.hls_url("demo", "in"), timeout_s=10) == 200

    await until(listed)
    playlist = await http_request("GET", nginx.hls_url("demo", "in"), timeout_s=10)
    part = next(line for line in playlist.splitlines() if line and not line.startswith("#"))
    base = nginx.hls_url("demo", "in").split("/hls/")[0]
    assert part.startswith("/hls/demo/in-")
    assert await http_status(base + part, timeout_s=10) == 200


async def test_a_kicked_publisher_is_disconnected(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path
):
    publisher = await publish(supervisor, small_clip, nginx.publish_url("demo"))
    await until(lambda: is_published(nginx, IN))
    assert await nginx.kick(IN)
    assert await asyncio.wait_for(publisher.wait(), 30) != 0
    assert not await nginx.kick(IN)


async def test_a_second_publisher_of_a_taken_path_is_refused(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path
):
    first = await publish(supervisor, small_clip, nginx.publish_url("demo"), "first")
    await until(lambda: is_published(nginx, IN))
    second = await publish(supervisor, small_clip, nginx.publish_url("demo"), "second")
    assert await asyncio.wait_for(second.wait(), 30) != 0
    assert first.returncode is None


async def test_a_path_outside_the_naming_scheme_cannot_be_published(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path
):
    url = nginx.publish_url("demo").replace("demo/in", "demo/elsewhere")
    publisher = await publish(supervisor, small_clip, url)
    assert await asyncio.wait_for(publisher.wait(), 30) != 0
    assert await nginx.paths() == []


async def test_the_watch_page_is_served(nginx: MediaServer):
    page = await http_request("GET", nginx.watch_url("demo").split("?")[0], timeout_s=10)
    assert "<video" in page


async def test_a_taken_port_is_named_before_anything_starts(nginx: MediaServer, supervisor: Supervisor):
    with pytest.raises(ConfigurationError, match=f":{nginx.options.rtmp_port}.*another address or port"):
        await NginxRtmp(nginx.options, supervisor).start()


async def test_stopping_twice_is_harmless(nginx: MediaServer):
    await nginx.stop()
    await nginx.stop()


def test_parts_nobody_wrote_lately_are_removed(tmp_path: Path):
    stream = tmp_path / "demo"
    stream.mkdir()
    for name in ("old.ts", "old.m3u8", "notes.txt"):
        (stream / name).touch()
    remove_old_parts(tmp_path, older_than_s=-1)
    assert [path.name for path in stream.iterdir()] == ["notes.txt"]
    (stream / "new.ts").touch()
    remove_old_parts(tmp_path, older_than_s=60)
    assert (stream / "new.ts").exists()
