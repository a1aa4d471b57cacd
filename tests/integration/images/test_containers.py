"""The services of compose.yaml as the processes that their containers run, one by one and with a stream through all."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from livedub.library.storage import LibraryStorage
from local.media_servers.base import MediaServer, MediaServerOptions, StreamPath
from local.media_servers.nginx_rtmp import NginxRtmp
from local.object_store import object_store
from local.ports import free_port
from local.processes import ProcessSpec, Supervisor
from local.publisher import publisher_argv
from local.sync_clip import sync_clip
from tests.integration.images.container_rig import Containers, Images

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STREAM = "demo"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Which the containers' user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="livedub-containers-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def images(folder: Path) -> Images:
    return Images(folder)


@pytest_asyncio.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path / "logs") as running:
        yield running


@pytest.fixture
def containers(images: Images, supervisor: Supervisor, folder: Path) -> Iterator[Containers]:
    volumes = folder / "volumes"
    yield Containers(images, supervisor, volumes, {"WORKER_DELAY_MS": "6000"})
    shutil.rmtree(volumes, ignore_errors=True)


async def test_the_mock_serves_and_ends(containers: Containers, supervisor: Supervisor):
    mock = await containers.start("sts-service-mock")
    assert await supervisor.stop(mock) == 0


async def test_the_cache_serves_and_its_token_outlives_it(containers: Containers, supervisor: Supervisor):
    left = containers.volume("run") / "media-cache.env"
    said: list[str] = []
    for _ in range(2):
        cache = await containers.start("media-cache")
        assert left.stat().st_mode & 0o077 == 0
        said.append(left.read_text())
        assert await supervisor.stop(cache) == 0
    assert said[0] == said[1]
    assert "TTS_MEDIA_CACHE_UPLOAD_TOKEN=" in said[0]


async def test_the_control_plane_leaves_what_the_others_need_and_takes_it_along(
    containers: Containers, supervisor: Supervisor
):
    orchestration = await containers.start("stream-orchestration")
    run = containers.volume("run")
    left = {path.name for path in run.iterdir() if path.is_file()}
    assert left == {"agent.env", "relay.env", "relay.key"}
    assert all((run / name).stat().st_mode & 0o077 == 0 for name in left)
    assert await supervisor.stop(orchestration) == 0
    assert not [path for path in run.iterdir() if path.is_file()]


@pytest.mark.realtime
@pytest.mark.extended
async def test_a_stream_goes_through_all_of_them(
    containers: Containers, supervisor: Supervisor, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    clip = sync_clip("small", 20, tmp_path_factory.mktemp("clips"))
    in_a_loop = publisher_argv(clip, f"rtmp://127.0.0.1:{containers.ports[1935]}/live/{STREAM}/in", loop=True)
    # nginx is MediaMTX here, whose binary need not be at hand; it tells the same relay.
    relay_url = f"http://127.0.0.1:{containers.ports[9996]}"
    server = NginxRtmp(
        MediaServerOptions(tmp_path / "nginx", containers.ports[1935], free_port(), relay_url=relay_url),
        supervisor,
    )
    with object_store(tmp_path / "objects", port=containers.ports[9000]) as store:
        await asyncio.gather(
            server.start(),
            containers.start("stream-orchestration"),
            containers.start("sts-service-mock"),
            containers.start("media-cache"),
        )
        buckets = await containers.start("minio-init")
        assert await asyncio.wait_for(buckets.wait(), 60) == 0
        await containers.start("media-relay", RELAY_SERVER="nginx", RELAY_SERVER_API_URL=server.control_url)
        # As worker.env would say it: the clip beeps, which a separation takes for noise.
        worker = await containers.start("stream-worker", WORKER_SEPARATION="off")
        await supervisor.start(ProcessSpec("publisher", in_a_loop, stop_timeout_s=5))
        events = containers.volume("artefacts") / "events" / f"{STREAM}.jsonl"
        await asyncio.wait_for(_dubbed(events), 90)
        assert StreamPath(STREAM, "out") in await server.paths()
        storage = LibraryStorage(store.settings)
        assert await asyncio.wait_for(worker.stop(), 120) == 0  # drained: subtitles leave with it
        stored = [found.key for found in storage.list_objects(storage.bucket_in, f"live/{STREAM}/")]
        assert any(key.endswith(".vtt") for key in stored), stored
        await server.stop()


@pytest.mark.realtime
@pytest.mark.extended
async def test_what_comes_in_is_republished_as_it_is(
    containers: Containers, supervisor: Supervisor, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    clip = sync_clip("small", 20, tmp_path_factory.mktemp("clips"))
    server = NginxRtmp(
        MediaServerOptions(tmp_path / "nginx", containers.ports[1935], free_port()), supervisor
    )
    await server.start()
    publisher = publisher_argv(clip, server.publish_url(STREAM), loop=True)
    await supervisor.start(ProcessSpec("publisher", publisher, stop_timeout_s=5))
    copier = await containers.start("republish")
    await asyncio.wait_for(_is_out(server), 60)
    assert await supervisor.stop(copier) == 0
    await server.stop()


async def _is_out(server: MediaServer) -> None:
    while StreamPath(STREAM, "out") not in await server.paths():  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0.2)


async def _dubbed(events: Path) -> None:
    while not any(fragment.get("rung") == "dub" for fragment in _fragments(events)):  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.2)


def _fragments(events: Path) -> list[dict[str, object]]:
    lines = events.read_text().splitlines() if events.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]
