"""The worker's side of the pipe: commands, the timeline, the first line, settings that change."""

from __future__ import annotations

import asyncio
import io
import json
import os
import queue
import threading
from collections.abc import Generator
from typing import Any

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.origin import TimelineOrigin
from media_edge.worker.command_inbox import MAX_LINE_BYTES, CommandInbox, ObjectReader
from media_edge.worker.lease_watch import LeaseWatch
from media_edge.worker.progress import ProgressWriter
from media_edge.worker.settings import WorkerSettings, read_settings, with_hot_changes
from media_edge.worker.supervised import PreloadedSeparators, read_assignment, secrets_of
from media_edge.worker.timeline_pipe_store import TimelinePipeStore

BOUND_S = 10.0
GIVEN: dict[str, Any] = {
    "stream_id": "stadium",
    "generation": 3,
    "input_url": "rtmp://127.0.0.1/live/stadium/in",
    "output_url": "rtmp://127.0.0.1/live/stadium/out?token=s3cret-token",
}
ORIGIN = TimelineOrigin(utc_ns=1, media_offset_ns=-2, delay_ms=8_000, generation=2)


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    os.close(read_fd)
    try:
        os.close(write_fd)
    except OSError:
        return


def write_all(descriptor: int, data: bytes) -> threading.Thread:
    """From a thread: a pipe takes 64 KiB before somebody must read."""

    def run() -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.close(descriptor)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_objects_are_read_whole_and_everything_else_left_out(pipe: tuple[int, int]):
    big = {"glossary": {f"word-{n}": "x" * 180 for n in range(1_000)}}
    lines = [
        b'{"a": 1}',
        b"no json",
        b"[1]",
        b"",
        b"x" * (MAX_LINE_BYTES + 200_000),
        json.dumps(big).encode(),
    ]
    thread = write_all(pipe[1], b"\n".join([*lines, b'{"b": 2}', b'{"unfinished": ']))
    reader = ObjectReader(pipe[0])
    assert [reader.next() for _ in range(4)] == [{"a": 1}, big, {"b": 2}, None]
    thread.join(BOUND_S)


async def test_commands_reach_the_loop_early_and_late_ones(pipe: tuple[int, int]):
    gone = threading.Event()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    inbox = CommandInbox(ObjectReader(pipe[0]), gone.set)
    os.write(pipe[1], b'{"command": "settings"}\n{"command": "drain"}\n')
    inbox.start()
    await asyncio.sleep(0)
    inbox.deliver_to(heard.put_nowait, asyncio.get_running_loop())
    assert (await asyncio.wait_for(heard.get(), BOUND_S))["command"] == "settings"
    assert (await asyncio.wait_for(heard.get(), BOUND_S))["command"] == "drain"
    os.write(pipe[1], b'{"command": "stop"}\n')
    assert (await asyncio.wait_for(heard.get(), BOUND_S))["command"] == "stop"
    assert not gone.is_set()
    os.close(pipe[1])
    assert await asyncio.to_thread(gone.wait, BOUND_S)


def test_a_lease_is_heard_by_the_reading_thread_itself(pipe: tuple[int, int]):
    granted: queue.Queue[float] = queue.Queue()
    gone = threading.Event()
    CommandInbox(ObjectReader(pipe[0]), gone.set, on_lease=granted.put).start()
    os.write(pipe[1], b'{"command": "lease"}\n{"command": "lease", "valid_ms": 1500}\n')
    assert granted.get(timeout=BOUND_S) == 1.5
    os.close(pipe[1])
    assert gone.wait(BOUND_S)
    assert granted.empty()


def test_a_lease_ends_unless_it_is_granted_again():
    expired = threading.Event()
    watch = LeaseWatch(expired.set)
    watch.grant(600.0)
    watch.grant(600.0)
    assert not expired.is_set()
    watch.grant(0.0)
    assert expired.wait(BOUND_S)


def test_the_timeline_comes_from_and_goes_to_the_supervisor():
    stream = io.StringIO()
    progress = ProgressWriter(stream)
    store = TimelinePipeStore(None, progress)
    assert store.load("stadium") is None
    store.save("stadium", ORIGIN)
    assert store.load("stadium") == ORIGIN
    progress.close()
    assert json.loads(stream.getvalue()) == {
        "event": "timeline",
        "stream_id": "stadium",
        "origin": ORIGIN.to_json(),
    }


def test_the_first_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKER_DELAY_MS", "5000")
    monkeypatch.setenv("WORKER_TARGET_LANGUAGE", "fr")
    monkeypatch.setenv("STS_SERVICE_URL", "http://127.0.0.1:9")
    line = {"settings": {**GIVEN, "target_language": "de"}, "timeline": ORIGIN.to_json()}
    settings, origin = read_assignment(line)
    assert (settings.stream_id, settings.generation, settings.target_language) == ("stadium", 3, "de")
    assert (settings.delay_ms, settings.sts_url) == (5_000, "http://127.0.0.1:9")  # this host's defaults
    assert origin == ORIGIN
    assert read_assignment({"settings": GIVEN, "timeline": None})[1] is None
    assert "s3cret-token" in secrets_of(settings)
    assert "s3cret-token" not in repr(settings)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({}, "first line"),
        ({"settings": [], "timeline": None}, "first line"),
        ({"settings": GIVEN, "timeline": 7}, "first line"),
        ({"settings": GIVEN, "timeline": {"utc_ns": "x"}}, "utc_ns"),
        ({"settings": {**GIVEN, "colour": "red"}}, "colour"),
        ({"settings": {**GIVEN, "delay_ms": 1}}, "WORKER_DELAY_MS"),
        ({"settings": {"stream_id": "stadium"}}, "WORKER_INPUT_URL"),
    ],
)
def test_a_first_line_that_cannot_be_used_says_why(
    line: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("WORKER_INPUT_URL", raising=False)
    with pytest.raises((ConfigurationError, InvalidInputError), match=problem) as error:
        read_assignment(line)
    assert "s3cret-token" not in str(error.value)


def test_hot_settings_change_and_others_are_refused():
    settings = read_settings({**GIVEN, "target_language": "en", "voice": "en/a", "sts_url": "http://sts:1"})
    changed = with_hot_changes(settings, {"target_language": "de", "voice": "", "glossary": {"a": "b"}})
    assert (changed.target_language, changed.voice, changed.glossary) == ("de", "", {"a": "b"})
    before, after = settings.model_dump(), changed.model_dump()
    assert {name for name in before if before[name] != after[name]} == {
        "target_language",
        "voice",
        "glossary",
    }
    for wrong in ({"delay_ms": 4_000}, {"generation": 4}, {"output_url": "rtmp://x/y/z"}):
        with pytest.raises(ConfigurationError, match="Restart"):
            with_hot_changes(settings, wrong)
    with pytest.raises(ConfigurationError, match="WORKER_VOICE"):
        with_hot_changes(settings, {"target_language": "de"})  # the voice speaks English


def test_settings_given_win_over_the_environment_under_either_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STS_SERVICE_URL", "http://env:1")
    assert read_settings({**GIVEN, "sts_url": "http://given:1"}).sts_url == "http://given:1"
    assert read_settings(GIVEN).sts_url == "http://env:1"
    assert isinstance(read_settings(GIVEN), WorkerSettings)


def test_the_first_separator_is_the_one_loaded_in_advance():
    made: list[object] = []

    def make() -> Any:
        made.append(object())
        return made[-1]

    separators = PreloadedSeparators(load=True, make=make)
    assert len(made) == 1
    assert separators() is made[0]
    assert separators() is made[1]
    assert PreloadedSeparators(load=False, make=make)() is made[2]
