"""The programs people start: they come up, dub what is published, and leave nothing behind."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from local.ports import free_ports
from local.processes import ChildProcess, ProcessSpec, Supervisor
from local.publisher import publisher_argv
from local.python_child import python_spec
from local.rtmp_player import RtmpPlayer, StreamAbsentError
from local.rtmp_url import split_rtmp_url
from local.sync_clip import sync_clip

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(240)]

DELAY_MS = 5_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sync_clip("small", 20, tmp_path_factory.mktemp("clips"))


async def local(supervisor: Supervisor, *arguments: str, state: Path | None = None) -> ChildProcess:
    common = ("--profile", "mock", "--delay-ms", str(DELAY_MS), "--server", "nginx-rtmp")
    env = {"XDG_STATE_HOME": str(state)} if state else {}
    return await supervisor.start(
        python_spec("local", "local", *arguments, *common, env=env, stop_timeout_s=20)
    )


async def livedub(supervisor: Supervisor, *arguments: str, state: Path) -> str:
    """What a `livedub` command prints."""
    lines: list[str] = []
    spec = python_spec("livedub", "livedub.cli.main", *arguments, env={"XDG_STATE_HOME": str(state)})
    child = await supervisor.start(spec, on_stdout=lines.append)
    assert await asyncio.wait_for(child.wait(), 30) == 0, child.describe_end()
    return "\n".join(lines)


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(grandchild for child in children for grandchild in descendants(child))]


def running(pids: list[int]) -> list[str]:
    """Command lines of those that still run (an exited one that nobody has reaped has none)."""
    found = [Path(f"/proc/{pid}/cmdline") for pid in pids]
    return [line for line in (path.read_text() for path in found if path.exists()) if line]


async def first_video(url: str) -> int:
    """Timestamp of the first video message of a stream, once it appears."""
    while True:
        try:
            async with RtmpPlayer(split_rtmp_url(url)) as player:
                async for message in player.messages():
                    if message.type_id == 9:
                        return message.timestamp_ms
        except StreamAbsentError:  # noqa: PERF203 - it is what polling hears
            await asyncio.sleep(0.1)


async def logged(log: Path, text: str) -> None:
    """Return once `text` stands in `log`."""
    while text not in await asyncio.to_thread(log.read_text):  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_up_dubs_what_is_published_shows_it_and_ends_on_sigterm(
    supervisor: Supervisor, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TTS_MEDIA_CACHE_DEADLINE_MS", "60000")  # a slow machine is no slow cache
    rtmp_port, http_port = free_ports(2)
    ports = (
        "--stream-id",
        "gala",
        "--rtmp-port",
        str(rtmp_port),
        "--http-port",
        str(http_port),
        "--out",
        str(tmp_path / "up"),
        "--no-library",
        "--media-cache",
    )
    state = tmp_path / "state"
    up = await local(supervisor, "up", *ports, state=state)
    shown = await asyncio.wait_for(up.line("Stream Key"), 90)
    assert "Stream Key gala/in" in shown
    await asyncio.wait_for(up.line(r"Media cache https://127\.0\.0\.1:\d+, speech stays in"), 30)
    base = f"rtmp://127.0.0.1:{rtmp_port}/live/gala"
    publisher = ProcessSpec("publisher", publisher_argv(clip, f"{base}/in", loop=True))
    await supervisor.start(publisher)
    first_ms = await asyncio.wait_for(first_video(f"{base}/out"), 60)
    assert first_ms >= DELAY_MS, "pictures leave with their time plus D"
    assert "running" in await livedub(supervisor, "streams", "list", state=state)
    await asyncio.wait_for(logged(tmp_path / "up" / "logs" / "agent-1.log", "the media cache answers"), 90)
    shown = json.loads(await livedub(supervisor, "streams", "stop", "gala", "--json", state=state))
    assert shown["desired"] == "stopped"
    pids = descendants(up.pid)
    assert len(pids) >= 6, "AWS, functions, media server, speech service, relay, agent, worker"
    assert await supervisor.stop(up) == 130
    assert running(pids) == []
    assert not list(state.rglob("api.json"))
    assert not list((tmp_path / "up").rglob("postmaster.pid")), "the cache's catalogue was stopped"


async def test_up_names_a_taken_port(supervisor: Supervisor, tmp_path: Path):
    first, second = free_ports(2)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", first):
        arguments = ("--rtmp-port", str(first), "--http-port", str(second), "--out", str(tmp_path / "up"))
        up = await local(supervisor, "up", *arguments, "--no-library")
        assert await asyncio.wait_for(up.wait(), 30) == 2
    assert f"nginx cannot listen on 127.0.0.1:{first}" in up.describe_end()


@pytest.mark.slow
async def test_a_demo_that_is_interrupted_cleans_up(supervisor: Supervisor, clip: Path, tmp_path: Path):
    demo = await local(
        supervisor, "demo", "--input", str(clip), "--out", str(tmp_path / "out"), state=tmp_path / "state"
    )
    await asyncio.wait_for(demo.line("Publishing"), 90)
    pids = descendants(demo.pid)
    assert len(pids) >= 6
    os.kill(demo.pid, signal.SIGINT)
    assert await asyncio.wait_for(demo.wait(), 20) == 130
    assert running(pids) == []
    assert not list((tmp_path / "state").rglob("api.json"))


@pytest.mark.slow
async def test_a_demo_verifies_itself_and_leaves_its_results(
    supervisor: Supervisor, clip: Path, tmp_path: Path
):
    out = tmp_path / "out"
    arguments = ("--input", str(clip), "--seconds", "15", "--out", str(out))
    demo = await local(supervisor, "demo", *arguments, state=tmp_path / "state")
    code = await asyncio.wait_for(demo.wait(), 180)
    assert code in (0, 1), demo.describe_end()
    report = json.loads((out / "report.json").read_text())
    assert report["verified"] == (code == 0)
    # What a busy machine cannot spoil; how steady the wall clock was is the benchmarks' matter.
    sound = ("video_untouched", "video_complete", "delay_constant", "delay_as_configured", "audio_no_holes")
    broken = [name for name in (*sound, "sync_median", "sync_every_event") if not report["predicates"][name]]
    assert broken == [], report["video"]
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 0
    names = {"out.mp4", "in.mp4", "out.vtt", "events.jsonl", "report.json", "report.html"}
    assert names <= {path.name for path in out.iterdir() if path.stat().st_size}
