"""Settings that hosts share, as an agent sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from livedub.errors import ConfigurationError
from media_edge.worker.agent.settings import AgentSettings
from media_edge.worker.agent.shared_watch import SharedWatch
from tests.unit.media_edge.agent.agent_world import Wires
from tests.unit.media_edge.agent.virtual_loop import run_virtual

QUEUE: dict[str, Any] = {"work_queue_url": "https://sqs/work", "streams_table": "streams"}


class Shelf:
    def __init__(self) -> None:
        self.values: dict[str, str] = {"STS_API_KEY": "k1"}
        self.broken: Exception | None = None

    def read(self) -> dict[str, str]:
        if self.broken is not None:
            raise self.broken
        return dict(self.values)


def test_changes_are_told_once_and_by_name_only(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    told: list[Mapping[str, str]] = []

    async def main() -> None:
        shelf = Shelf()
        watch = SharedWatch(shelf.read, Wires(), timeout_s=1)
        watch.on_change = told.append
        assert await watch.refresh()
        task = asyncio.create_task(watch.run(30))
        await asyncio.sleep(100)
        shelf.values = {"STS_API_KEY": "k2", "TTS_MEDIA_CACHE_CA_BUNDLE": "b"}
        await asyncio.sleep(100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert watch.current == shelf.values

    run_virtual(main())
    assert told == [{"STS_API_KEY": "k1"}, {"STS_API_KEY": "k2", "TTS_MEDIA_CACHE_CA_BUNDLE": "b"}]
    assert "STS_API_KEY, TTS_MEDIA_CACHE_CA_BUNDLE" in caplog.text
    assert "k2" not in caplog.text


@pytest.mark.parametrize("failure", [ConfigurationError("no object"), RuntimeError("bug")])
def test_what_was_known_stays_while_nothing_can_be_read(failure: Exception):
    async def main() -> None:
        shelf = Shelf()
        watch = SharedWatch(shelf.read, Wires(), timeout_s=1)
        assert await watch.refresh()
        shelf.broken = failure
        assert not await watch.refresh()
        assert watch.current == {"STS_API_KEY": "k1"}

    run_virtual(main())


def test_where_nothing_is_shared_nothing_is_asked():
    async def main() -> None:
        watch = SharedWatch(None, Wires(), timeout_s=1)
        assert await watch.refresh()
        await watch.run(1)

    run_virtual(main())


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"lifecycle_hook": "drain"}, "AGENT_LIFECYCLE_GROUP"),
        ({"lifecycle_group": "workers"}, "AGENT_IMDS_URL"),
    ],
)
def test_a_group_is_named_whole(given: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        AgentSettings(**QUEUE, **given)


def test_sources_are_lists():
    settings = AgentSettings(
        **QUEUE, shared_parameters="/livedub/dev/sts, /livedub/dev/voice", shared_secrets="livedub/dev/sts"
    )
    assert settings.shared_sources.parameters == ("/livedub/dev/sts", "/livedub/dev/voice")
    assert settings.shared_sources.secrets == ("livedub/dev/sts",)
    assert not AgentSettings(**QUEUE).shared_sources
    with pytest.raises(ConfigurationError, match="no path"):
        _ = AgentSettings(**QUEUE, shared_parameters="sts").shared_sources
