"""Small parts: bounded calls, the fence's clock, progress, settings of worker and agent, exit reports, metrics."""

from __future__ import annotations

import asyncio
import configparser
import json
import threading
import urllib.request
from pathlib import Path

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.supervision.record import Media, StreamRecord
from livedub.supervision.store_errors import StoreUnavailableError
from media_edge.worker.agent.assignment import PublishToken, compare, plain, worker_settings
from media_edge.worker.agent.calls import DetachedCalls
from media_edge.worker.agent.fence_clock import FenceClock
from media_edge.worker.agent.metrics import AgentMetrics
from media_edge.worker.agent.ports import CallTimeoutError
from media_edge.worker.agent.progress_watch import ProgressWatch
from media_edge.worker.agent.settings import AgentSettings, read_settings
from tests.unit.media_edge.agent.waiting import BOUND_S, eventually

ROOT = Path(__file__).resolve().parents[4]


async def test_calls_return_raise_and_are_given_up():
    calls = DetachedCalls()
    assert await calls("adding", lambda: 1 + 1, BOUND_S) == 2
    with pytest.raises(ZeroDivisionError):
        await calls("dividing", lambda: 1 // 0, BOUND_S)
    release = threading.Event()
    with pytest.raises(CallTimeoutError, match=r"hanging took longer than 0\.05 s"):
        await calls("hanging", lambda: release.wait(BOUND_S), 0.05)
    assert calls.under_way == 1
    release.set()
    await eventually(lambda: calls.under_way == 0)


async def test_calls_that_hang_hold_up_neither_others_nor_the_loop():
    calls = DetachedCalls(most_at_once=5)
    release = threading.Event()
    hanging = [asyncio.create_task(calls("x", lambda: release.wait(BOUND_S), BOUND_S)) for _ in range(4)]
    await asyncio.sleep(0)
    assert await calls("quick", lambda: "done", BOUND_S) == "done"
    hanging.append(asyncio.create_task(calls("x", lambda: release.wait(BOUND_S), BOUND_S)))
    await asyncio.sleep(0)
    with pytest.raises(CallTimeoutError, match="under way"):
        await calls("one too many", lambda: None, BOUND_S)
    release.set()
    assert await asyncio.gather(*hanging) == [True] * 5


@pytest.mark.parametrize(("ttl_s", "allowed_s"), [(30.0, 25.0), (12.0, 10.0), (6.0, 5.0), (2.0, 1.0)])
def test_the_fence_falls_a_margin_before_the_lease_ends(ttl_s: float, allowed_s: float):
    fence = FenceClock(ttl_s, 100.0)
    assert fence.deadline_s == 100.0 + allowed_s
    fence.confirm(110.0)
    fence.confirm(105.0)  # a late answer of an earlier call takes nothing back
    assert fence.deadline_s == 110.0 + allowed_s
    assert fence.deadline_s < fence.worker_deadline_s < 110.0 + ttl_s


def test_progress_is_output_that_advances():
    watch = ProgressWatch(0.0, 45.0)
    assert watch.moved_at_s(30.0) == 30.0  # may still be loading
    assert watch.moved_at_s(60.0) == 45.0
    watch.hear({"event": "state", "state": "live"}, 50.0)
    watch.hear({"event": "progress", "output_media_ms": 1_000}, 50.0)
    watch.hear({"event": "progress", "output_media_ms": 1_000}, 51.0)
    watch.hear({"event": "progress", "output_media_ms": 900}, 52.0)
    watch.hear({"event": "progress", "output_media_ms": None}, 53.0)
    watch.hear({"event": "fragment"}, 54.0)
    assert watch.moved_at_s(55.0) == 50.0
    watch.hear({"event": "progress", "output_media_ms": 1_001}, 55.0)
    assert watch.moved_at_s(56.0) == 55.0


@pytest.mark.parametrize("state", ["input_absent", "draining"])
def test_a_stream_shorter_than_its_delay_is_waited_for(state: str):
    watch = ProgressWatch(0.0, 45.0)
    silent = {"event": "progress", "output_media_ms": None}
    watch.hear({"event": "state", "state": "buffering"}, 10.0)
    watch.hear({"event": "session", "delay_ms": 60_000}, 10.0)
    watch.hear(silent, 11.0)
    watch.hear({"event": "state", "state": state}, 15.0)
    for now_s in (40.0, 70.0, 71.0):
        watch.hear(silent, now_s)
    assert watch.moved_at_s(72.0) == 70.0
    watch.hear({"event": "progress", "output_media_ms": 100}, 73.0)
    watch.hear({"event": "progress", "output_media_ms": 100}, 74.0)
    assert watch.moved_at_s(75.0) == 73.0


def test_a_row_without_media_server_starts_no_worker():
    with pytest.raises(InvalidInputError, match="media server"):
        worker_settings(StreamRecord("a"), 1, PublishToken.make(), None)


def test_publish_tokens_are_their_own_and_hide_themselves():
    tokens = {PublishToken.make().value for _ in range(100)}
    assert len(tokens) == 100
    token = PublishToken.make()
    assert token.value not in repr(token)
    assert len(token.sha256) == 64


def test_every_stream_has_its_event_log():
    record = StreamRecord("a", media=Media("r", "rtmp://m", "rtmp://m"))
    settings = worker_settings(record, 1, PublishToken.make(), Path("/var/log"))
    assert settings["events_path"] == "/var/log/a.jsonl"


def test_settings_compare_hot_cold_and_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKER_TARGET_LANGUAGE", "fr")
    same = StreamRecord("a", settings={"voice": "de/x", "target_language": "de"})
    assert compare(dict(same.settings), same) == compare({}, StreamRecord("a"))
    back = compare(dict(same.settings), StreamRecord("a"))
    assert back.hot == {"target_language": "fr", "voice": ""}  # this host's default
    mixed = compare({}, StreamRecord("a", settings={"target_language": "de", "delay_ms": 4_000}))
    assert (mixed.hot, mixed.cold) == ({}, ("delay_ms",))


def test_languages_are_told_as_json_has_them():
    chosen = {"more_targets": [{"language": "fr", "voice": "", "glossary": {"gol": "but"}}]}
    change = compare({}, StreamRecord("a", settings=chosen))
    assert json.loads(json.dumps(change.hot)) == chosen
    assert compare(plain(chosen), StreamRecord("a", settings=chosen)).hot == {}
    twice = StreamRecord("a", settings={"target_language": "fr", **chosen})
    with pytest.raises(ConfigurationError, match="fr"):
        compare({}, twice)


def test_the_agents_settings_come_from_its_environment(monkeypatch: pytest.MonkeyPatch):
    for name in ("AGENT_ID", "AGENT_WORK_QUEUE_URL", "AGENT_STREAMS_TABLE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="AGENT_WORK_QUEUE_URL"):
        read_settings()
    monkeypatch.setenv("AGENT_WORK_QUEUE_URL", "http://q")
    monkeypatch.setenv("AGENT_STREAMS_TABLE", "streams")
    first = read_settings()
    assert first.name
    assert first.name == read_settings().name
    monkeypatch.setenv("AGENT_ID", "host 1")
    with pytest.raises(ConfigurationError, match="AGENT_ID"):
        read_settings()
    monkeypatch.setenv("AGENT_ID", "host-1")
    assert read_settings().name == "host-1"


def test_metrics_show_slots_beats_and_workers():
    metrics = AgentMetrics()
    port = metrics.serve("127.0.0.1", 0)
    try:
        metrics.slots.set(4)
        metrics.claims.labels(result="bound").inc()
        metrics.observe_worker("a", {"event": "progress", "output_media_ms": 7, "cpu_percent": None})
        metrics.observe_worker(
            "a", {"event": "progress", "outputs": {"out": {"state": "live"}, "out-fr": {}}}
        )
        metrics.observe_worker("a", {"event": "progress", "outputs": {"out": {"state": "live"}}})
        metrics.observe_worker("a", {"event": "state"})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=BOUND_S) as answer:
            text = answer.read().decode()
        for line in (
            "agent_slots 4.0",
            'agent_claims_total{result="bound"} 1.0',
            'agent_worker_output_media_ms{stream_id="a"} 7.0',
            'agent_worker_output_live{output="out",stream_id="a"} 1.0',
        ):
            assert line in text
        assert "out-fr" not in text
        metrics.forget_worker("a")
        metrics.forget_worker("never there")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=BOUND_S) as answer:
            assert "stream_id" not in answer.read().decode()
    finally:
        metrics.close()
        metrics.close()


def test_an_unavailable_call_is_one_kind_of_error():
    assert issubclass(CallTimeoutError, StoreUnavailableError)


def test_the_systemd_unit_lets_the_agent_drain_and_locks_it_in():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "media_edge/worker/livedub-agent.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("-m media_edge.worker agent")
    # Workers must not get the SIGTERM: the agent drains them.
    assert service["KillMode"] == "mixed"
    drain_s = AgentSettings.model_fields["drain_timeout_s"].default
    assert int(service["TimeoutStopSec"]) > drain_s + 15
    assert service["Restart"] == "on-failure"
    for name in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictSUIDSGID", "LockPersonality"):
        assert service[name] == "true"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
