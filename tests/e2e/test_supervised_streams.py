"""Streams as they run in production: hook, relay, Lambda, state machine, queue, agent, worker. And what breaks them."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from livedub.cli.api_access import TOKEN_VARIABLE, URL_VARIABLE
from local.sync_clip import sync_clip
from tests.e2e.rig import REPOSITORY, clip_cache
from tests.e2e.supervised_rig import (
    GOP_MS,
    HEARTBEAT_S,
    REPORT_PERIOD_S,
    SupervisedRig,
    kill,
)

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

log = logging.getLogger(__name__)

START_MS = 3_000
"""What publish to first output packet may take beyond D on a warm host."""
SLOW_MACHINE_MS = 10_000
"""Room for a machine that does everything at once on two cores; the bars themselves are the proofs' matter."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SupervisedRig]:
    """One stack for the whole module: each test has streams of its own."""
    async with SupervisedRig(tmp_path_factory.mktemp("supervised"), agents=0) as running:
        yield running


@pytest.fixture(scope="module")
def clip() -> Path:
    return sync_clip("standard", 60, clip_cache())


def streams_list(rig: SupervisedRig) -> str:
    """What an operator sees."""
    access = rig.stack.control.access
    done = subprocess.run(
        [sys.executable, "-m", "livedub.cli.main", "streams", "list"],
        env={
            URL_VARIABLE: access.url,
            TOKEN_VARIABLE: access.token,
            "PATH": "/usr/bin:/bin",
            "COLUMNS": "120",
        },
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


async def test_work_waits_for_an_agent_says_so_and_costs_nothing(rig: SupervisedRig, clip: Path):
    publisher = await rig.publish("waits", clip, seconds=60)
    await rig.until_state("waits", "waiting_for_capacity")
    shown = await asyncio.to_thread(streams_list, rig)
    assert "waiting for capacity" in shown
    assert "no host has a free slot" in shown
    # Longer than a heartbeat: a clock that ran while the message waits would have ended the run by now.
    await asyncio.sleep(HEARTBEAT_S + 2)
    assert (await rig.detail("waits")).stream.generation == 1
    await rig.agents_running(1)
    await rig.until_published("waits")
    running = await rig.until_state("waits", "running")
    assert (running.stream.generation, running.stream.restarts) == (1, 0)
    await rig.stack.supervisor.stop(publisher)
    await rig.until_state("waits", "idle")


@pytest.mark.extended  # make deploy-local does, with what the cdk command deployed
async def test_a_stream_goes_through_everything_and_verifies(rig: SupervisedRig, clip: Path):
    await rig.agents_running(1)
    await rig.ask(lambda api: api.create("whole", {"target_language": "en"}, open_to_all=True))
    recorder = await rig.record("whole")
    began_ns = time.time_ns()
    publisher = await rig.publish("whole", clip, seconds=20)
    assert await asyncio.wait_for(publisher.wait(), 40) == 0
    over = await rig.until_state("whole", "idle")
    await rig.stack.supervisor.stop(recorder)
    assert (over.stream.last_outcome, over.stream.restarts) == ("source_lost", 0)
    first_ms = (rig.arrivals("whole")[0]["utc_ns"] - began_ns) / 1e6
    log.info("whole: first output packet %.0f ms after publish", first_ms)
    assert first_ms <= rig.delay_ms + START_MS + SLOW_MACHINE_MS
    report = await asyncio.to_thread(rig.report, "whole")
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 300
    assert report["audio"]["holes"] == 0
    for promise in ("delay_constant", "delay_as_configured", "sync_every_event"):
        assert report["predicates"][promise], report["reasons"]


async def test_a_killed_worker_is_replaced_on_the_same_timeline(rig: SupervisedRig, clip: Path):
    await rig.agents_running(1)
    recorder = await rig.record("worker")
    publisher = await rig.publish("worker", clip, seconds=90)
    first = await rig.on_air("worker")
    killed_at = len(rig.events)
    kill(rig.worker_pid("worker"))
    second = await rig.on_air("worker", since=killed_at)
    assert second["generation"] == first["generation"] + 1
    await end(rig, "worker", publisher, recorder)
    assert_continued(rig, "worker", extra_ms=0)
    assert (await rig.detail("worker")).stream.generation == 2


async def test_a_killed_agents_stream_is_taken_over_by_another(rig: SupervisedRig, clip: Path):
    await rig.agents_running(2)
    recorder = await rig.record("agent")
    publisher = await rig.publish("agent", clip, seconds=90)
    first = await rig.on_air("agent")
    dead = rig.agent_of("agent")
    killed_at = len(rig.events)
    kill(dead)
    second = await rig.on_air("agent", since=killed_at)
    assert second["generation"] == first["generation"] + 1
    assert rig.agent_of("agent") is not dead
    await end(rig, "agent", publisher, recorder)
    assert_continued(rig, "agent", extra_ms=HEARTBEAT_S * 1_000)


async def test_only_the_holder_publishes_out(rig: SupervisedRig, clip: Path):
    await rig.agents_running(1)
    await rig.ask(lambda api: api.create("thief", {}, open_to_all=True))
    for query in ("", "token=guessed"):
        refused = await rig.publish("thief", clip, seconds=5, name="out", query=query)
        assert await asyncio.wait_for(refused.wait(), 20) != 0
    publisher = await rig.publish("thief", clip, seconds=40)
    await rig.until_published("thief")
    refused = await rig.publish("thief", clip, seconds=5, name="out", query="token=guessed")
    assert await asyncio.wait_for(refused.wait(), 20) != 0
    assert (await rig.detail("thief")).stream.state == "running"
    await rig.until_published("thief")
    await rig.stack.supervisor.stop(publisher)
    await rig.until_state("thief", "idle")


async def test_a_wrong_stream_key_starts_nothing_and_the_right_one_does(rig: SupervisedRig, clip: Path):
    await rig.agents_running(1)
    created = await rig.ask(lambda api: api.create("keyed", {}))
    for query in ("", "key=guessed"):
        refused = await rig.publish("keyed", clip, seconds=5, query=query)
        assert await asyncio.wait_for(refused.wait(), 20) != 0
    assert (await rig.detail("keyed")).stream.generation == 0
    publisher = await rig.publish("keyed", clip, seconds=30, query=f"key={created.stream_key}")
    await rig.until_state("keyed", "running")
    await rig.stack.supervisor.stop(publisher)
    await rig.until_state("keyed", "idle")


async def test_a_stop_request_ends_out_within_the_delay(rig: SupervisedRig, clip: Path):
    await rig.agents_running(1)
    publisher = await rig.publish("stop", clip, seconds=60)
    await rig.on_air("stop")
    asked = time.monotonic()
    await rig.ask(lambda api: api.stop("stop"))
    gone = await rig.until_published("stop", gone=True)
    assert (gone - asked) * 1_000 <= 2_000 + rig.delay_ms + SLOW_MACHINE_MS
    stopped = await rig.until_state("stop", "stopped")
    assert stopped.stream.generation == 1
    await rig.stack.supervisor.stop(publisher)
    again = await rig.publish("stop", clip, seconds=4)
    assert await asyncio.wait_for(again.wait(), 20) == 0
    assert (await rig.detail("stop")).stream.generation == 1, "stopped stays stopped"


async def test_lost_hooks_of_both_kinds_are_repaired_by_the_path_list(rig: SupervisedRig, clip: Path):
    await rig.agents_running(1)
    rig.stack.gateway.lose("/v1/hooks/publish", "/v1/hooks/unpublish")
    try:
        publisher = await rig.publish("lost", clip, seconds=60)
        await rig.until_state("lost", "running", timeout_s=REPORT_PERIOD_S + 5 + SLOW_MACHINE_MS / 1_000)
        await rig.stack.supervisor.stop(publisher)
        idle = await rig.until_state("lost", "idle")
        assert idle.stream.source_id == ""
        assert {path.rsplit("/", 1)[1] for path in rig.stack.gateway.lost} == {"publish", "unpublish"}
    finally:
        rig.stack.gateway.lose()


async def test_changed_settings_reach_the_running_worker(rig: SupervisedRig, clip: Path):
    await rig.agents_running(1)
    publisher = await rig.publish("settings", clip, seconds=60)
    before = await rig.on_air("settings")
    since = len(rig.events)
    await rig.ask(lambda api: api.change_settings("settings", {"target_language": "fr"}))
    changed = await rig.until_event(
        "settings",
        lambda event: event["event"] == "fragment" and event.get("target_language") == "fr",
        since=since,
    )
    assert changed["generation"] == before["generation"], "no restart"
    await rig.stack.supervisor.stop(publisher)
    await rig.until_state("settings", "idle")


async def test_every_language_has_the_same_holder(rig: SupervisedRig, clip: Path):
    await rig.agents_running(1)
    settings = {"target_language": "en", "more_targets": "fr"}
    await rig.ask(lambda api: api.create("tongues", settings, open_to_all=True))
    publisher = await rig.publish("tongues", clip, seconds=90)
    for name in ("out", "out-fr"):
        await rig.until_published("tongues", name)
    await rig.ask(lambda api: api.change_settings("tongues", {"more_targets": ["fr", "de"]}))
    await rig.until_published("tongues", "out-de")
    first = await rig.on_air("tongues")
    killed_at = len(rig.events)
    kill(rig.worker_pid("tongues"))
    second = await rig.on_air("tongues", since=killed_at)
    assert second["generation"] == first["generation"] + 1
    await rig.until_event(
        "tongues",
        lambda event: (
            {"out", "out-fr", "out-de"}
            == {name for name, output in event.get("outputs", {}).items() if output["state"] == "live"}
        ),
        since=killed_at,
    )
    refused = await rig.publish("tongues", clip, seconds=5, name="out-it", query="token=guessed")
    assert await asyncio.wait_for(refused.wait(), 20) != 0
    detail = await rig.detail("tongues")
    assert detail.stream.outputs == [f"live/tongues/{name}" for name in ("out", "out-fr", "out-de")]
    await rig.ask(lambda api: api.change_settings("tongues", {"more_targets": []}))
    for name in ("out-fr", "out-de"):
        await rig.until_published("tongues", name, gone=True)
    assert await rig.publishers("tongues", "out")
    await rig.ask(lambda api: api.stop("tongues"))
    await rig.until_published("tongues", gone=True)
    await rig.until_state("tongues", "stopped")
    await rig.stack.supervisor.stop(publisher)


async def end(rig: SupervisedRig, stream_id: str, publisher, recorder) -> None:  # noqa: ANN001
    await asyncio.sleep(2)  # something to look at after the gap
    await rig.stack.supervisor.stop(publisher)
    await rig.until_state(stream_id, "idle")
    await rig.stack.supervisor.stop(recorder)


def assert_continued(rig: SupervisedRig, stream_id: str, *, extra_ms: int) -> None:
    """One gap of bounded length, over which the timestamps went on as the clock did."""
    gap = rig.longest_gap(stream_id)
    log.info("%s: gap %.0f ms, timestamps over it %.0f ms", stream_id, gap.wall_ms, gap.pts_step_ms)
    assert gap.wall_ms <= rig.delay_ms + START_MS + GOP_MS + extra_ms + SLOW_MACHINE_MS
    assert abs(gap.pts_step_ms - gap.wall_ms) < 1_000, "no reset, no jump"
    report = rig.report(stream_id)
    assert report["predicates"]["delay_constant"], report["reasons"]
    assert report["video"]["nal_identical"] > 0
    assert report["video"]["frames_altered"] == report["video"]["frames_foreign"] == 0
