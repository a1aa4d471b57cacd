"""Settings that change while a session runs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from livedub.audio.pcm import Samples
from livedub.dubbing.session import DubbingSession
from livedub.dubbing.virtual import VirtualClock, dub_programme
from livedub.errors import ConfigurationError
from tests.unit.livedub.dubbing.programme import (
    DUB_HZ,
    RATE,
    SPEECH_HZ,
    DelayedCopySeparator,
    ScriptedSts,
    bursts,
    chunks,
    config,
    level,
)

SPEECH = ((1.0, 2.5), (9.0, 10.5))
CHANGE_AT_S = 6


async def run_with_change(**changes: Any):
    before = config()
    clock = VirtualClock()
    sts = ScriptedSts()
    events: list[dict[str, Any]] = []
    session = DubbingSession(before, sts, clock, events.append, separator_factory=DelayedCopySeparator)
    out = []

    def programme():
        for position, samples in chunks(bursts(*SPEECH, seconds=12)):
            if position == CHANGE_AT_S * RATE:
                session.reconfigure(replace(before, **changes))
            yield position, samples

    try:
        async for _, block in dub_programme(session, clock, before, programme()):
            out.append(block.samples)
    finally:
        await session.aclose()
    fragments = [event for event in events if event["event"] == "fragment"]
    return np.concatenate(out), sts, fragments, events


def around(out: Samples, second: float):
    return out[int(second * RATE) : int((second + 0.5) * RATE)]


async def test_languages_voice_and_glossary_change_with_the_next_fragment():
    _, sts, fragments, events = await run_with_change(
        target_language="de", voice="de/anna", glossary={"gol": "Tor"}
    )
    first, second = sts.requests
    assert (first.config.targets[0].language, first.config.targets[0].voice) == ("en", "")
    assert (second.config.targets[0].language, second.config.targets[0].voice) == ("de", "de/anna")
    assert (first.config.glossary, second.config.glossary) == ({}, {"gol": "Tor"})
    assert [fragment["target_language"] for fragment in fragments] == ["en", "de"]
    assert [fragment["rung"] for fragment in fragments] == ["dub", "dub"]
    assert [event["target_language"] for event in events if event["event"] == "settings"] == ["de"]


async def test_a_fragment_on_its_way_airs_as_it_was_asked_for():
    """The first fragment airs 6 s after it was cut, long after the change at 6 s: it keeps language and gain."""
    out, _, fragments, _ = await run_with_change(target_language="de", dub_gain=0.5, duck_gain=0.05)
    assert [fragment["rung"] for fragment in fragments] == ["dub", "dub"]
    first, second = around(out, 1.4), around(out, 9.4)
    assert level(first, DUB_HZ) == pytest.approx(0.3, abs=0.02)
    assert level(first, SPEECH_HZ) == pytest.approx(0.1, abs=0.02)
    assert level(second, DUB_HZ) == pytest.approx(0.15, abs=0.02)
    assert level(second, SPEECH_HZ) == pytest.approx(0.025, abs=0.01)


@pytest.mark.parametrize("change", [{"delay_ns": 8_000_000_000}, {"separate": True}, {"generation": 4}])
async def test_what_needs_a_new_session_is_refused(change: dict[str, Any]):
    with pytest.raises(ConfigurationError, match="Restart"):
        await run_with_change(**change)
