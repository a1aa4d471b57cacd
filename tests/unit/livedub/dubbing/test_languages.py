"""Several languages in one session: each is dubbed by its own answers, and none hears of another."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.audio.codec import encode_audio
from livedub.audio.pcm import Samples
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.event_log import event_in_language
from livedub.dubbing.session import DubbingSession
from livedub.dubbing.virtual import VirtualClock, dub_tracks
from livedub.errors import ConfigurationError
from livedub.sts.contract import (
    Dub,
    ErrorCode,
    PartialKind,
    Stage,
    Status,
    StsError,
    StsPartial,
    StsRequest,
    StsResult,
    Target,
    Transcript,
)
from livedub.sts.errors import StsUnavailable
from tests.unit.livedub.dubbing.programme import (
    RATE,
    DelayedCopySeparator,
    OnPartial,
    ScriptedSts,
    bursts,
    chunks,
    config,
    level,
)

SPEECH = ((1.0, 2.5), (4.0, 6.0), (8.0, 9.5))
TONES_HZ = {"en": 600.0, "fr": 800.0, "de": 1_000.0}
FRENCH, GERMAN = Target(language="fr"), Target(language="de")


def dub_in(language: str, request: StsRequest, text: str = "") -> Dub:
    """A tone of the language's own where the request says that speech is."""
    rate_hz = 24_000
    n = np.arange(request.audio.duration_ms * rate_hz // 1_000)
    audible = np.zeros(len(n), bool)
    for span in request.speech:
        audible[span.start_ms * rate_hz // 1_000 : span.end_ms * rate_hz // 1_000] = True
    tone = np.where(audible, 0.3 * np.sin(2 * np.pi * TONES_HZ[language] * n / rate_hz), 0)
    audio = encode_audio(tone.astype(np.float32), rate_hz, request.audio.format)
    return Dub(language=language, translated_text=text or f"{language} text", audio=audio)


def result_of(request: StsRequest, *dubs: Dub) -> StsResult:
    missing = len(dubs) < len(request.config.targets)
    problem = StsError(stage=Stage.TTS, code=ErrorCode.GPU_OOM, message="scripted", retryable=True)
    return StsResult(
        fragment_id=request.fragment_id,
        status=Status.PARTIAL if missing else Status.SUCCESS,
        transcript=Transcript(text="hola", language="es"),
        dubs=dubs,
        error=problem if missing else None,
    )


@dataclass
class ManyVoices:
    """An STS that dubs into every language asked for, leaves some out, and tells parts ahead where asked to."""

    left_out: set[tuple[int, str]] = field(default_factory=set)
    ahead: tuple[str, ...] = ()
    hold: asyncio.Event | None = None
    fail_after_partials: bool = False
    requests: list[StsRequest] = field(default_factory=list)

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        self.requests.append(request)
        await asyncio.sleep(0)
        wanted = [target.language for target in request.config.targets]
        number = request.sequence_number
        dubs = {it: dub_in(it, request) for it in wanted if (number, it) not in self.left_out}
        if on_partial is not None and self.ahead:
            texts = tuple(dub.model_copy(update={"audio": None}) for dub in dubs.values())
            transcript = Transcript(text="hola", language="es")
            await on_partial(self._partial(request, PartialKind.TEXT, *texts, transcript=transcript))
            for language in self.ahead:
                await on_partial(self._partial(request, PartialKind.AUDIO, dubs[language]))
        if self.hold is not None:
            await self.hold.wait()
        if self.fail_after_partials:
            raise StsUnavailable("scripted")
        return result_of(request, *dubs.values())

    def _partial(self, request: StsRequest, kind: PartialKind, *dubs: Dub, **more: Any) -> StsPartial:
        return StsPartial(kind=kind, fragment_id=request.fragment_id, dubs=dubs, **more)


@dataclass
class Heard:
    """What came out of a session, by track, and its event log."""

    tracks: dict[str, list[tuple[int, Samples]]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def samples(self, track: str = "") -> Samples:
        return np.concatenate([samples for _, samples in self.tracks[track]])

    @property
    def fragments(self) -> list[dict[str, Any]]:
        lines = [event for event in self.events if event["event"] == "fragment"]
        return sorted(lines, key=lambda line: line["sequence_number"])

    def in_language(self, language: str) -> list[dict[str, Any]]:
        seen = (event_in_language(line, language) for line in self.fragments)
        return [line for line in seen if line is not None]


async def run(
    sts: Any,
    programme: Samples,
    *,
    at: dict[int, Callable[[DubbingSession], None]] | None = None,
    **changes: Any,
) -> Heard:
    """Dub on a virtual clock; `at` does something to the session before the block of that number is pushed."""
    first = config(**changes)
    clock, heard = VirtualClock(), Heard()
    session = DubbingSession(first, sts, clock, heard.events.append, separator_factory=DelayedCopySeparator)
    session.start()

    def pushed() -> Any:
        for index, chunk in enumerate(chunks(programme)):
            if at and index in at:
                at[index](session)
            yield chunk

    try:
        async for position, blocks in dub_tracks(session, clock, first, pushed()):
            for track, block in blocks.items():
                heard.tracks.setdefault(track, []).append((position, block.samples))
    finally:
        await session.aclose()
    return heard


def reconfigured(**changes: Any) -> Callable[[DubbingSession], None]:
    return lambda session: session.reconfigure(config(**changes))


def around(samples: Samples, start_s: float, length_s: float = 0.5) -> Samples:
    return samples[int(start_s * RATE) : int((start_s + length_s) * RATE)]


def assert_first_unchanged(alone: Heard, together: Heard) -> None:
    assert np.array_equal(alone.samples(), together.samples())
    for one, many in zip(alone.fragments, together.fragments, strict=True):
        assert {**one, "languages": {}} == {**many, "languages": {}}


async def test_every_language_is_dubbed_from_one_request():
    sts = ManyVoices()
    heard = await run(sts, bursts(*SPEECH, seconds=11), more_targets=(FRENCH, GERMAN))
    assert len(sts.requests) == 3
    assert [target.language for target in sts.requests[0].config.targets] == ["en", "fr", "de"]
    for track, language in (("", "en"), ("fr", "fr"), ("de", "de")):
        inside = around(heard.samples(track), 4.6)
        assert level(inside, TONES_HZ[language]) == pytest.approx(0.3, abs=0.02)
        assert all(level(inside, hz) < 0.01 for name, hz in TONES_HZ.items() if name != language)
    line = heard.fragments[0]
    assert (line["target_language"], line["translated_text"]) == ("en", "en text")
    assert {name: entry["translated_text"] for name, entry in line["languages"].items()} == {
        "fr": "fr text",
        "de": "de text",
    }


async def test_a_second_language_changes_not_one_sample_of_the_first():
    programme = bursts(*SPEECH, seconds=11)
    for separate in (False, True):
        alone = await run(ManyVoices(), programme, separate=separate)
        together = await run(ManyVoices(), programme, separate=separate, more_targets=(FRENCH,))
        assert_first_unchanged(alone, together)


@settings(max_examples=15)
@given(
    left_out=st.sets(st.tuples(st.integers(0, 2), st.sampled_from(["fr", "de"]))),
    added_at=st.integers(0, 110),
    stays_for=st.integers(0, 110),
    ahead=st.sampled_from([(), ("en",), ("fr", "en")]),
)
def test_languages_that_come_go_and_fail_change_not_one_sample_of_the_first(
    left_out: set[tuple[int, str]], added_at: int, stays_for: int, ahead: tuple[str, ...]
):
    programme = bursts(*SPEECH, seconds=11)
    left_out = {it for it in left_out if it[1] not in ahead}

    async def both() -> tuple[Heard, Heard]:
        alone = await run(ManyVoices(), programme)
        changes = {
            added_at: reconfigured(more_targets=(FRENCH, GERMAN)),
            added_at + stays_for + 1: reconfigured(more_targets=(GERMAN,)),
        }
        sts = ManyVoices(left_out, ahead=() if added_at else ahead)
        return alone, await run(sts, programme, at=changes)

    alone, together = asyncio.run(both())
    assert_first_unchanged(alone, together)


async def test_one_languages_failure_leaves_the_others_rungs_alone():
    sts = ManyVoices({(0, "fr"), (1, "fr"), (2, "fr")})
    heard = await run(sts, bursts(*SPEECH, seconds=11), more_targets=(FRENCH,))
    assert [line["rung"] for line in heard.fragments] == ["dub"] * 3
    french = heard.in_language("fr")
    assert [line["rung"] for line in french] == ["ducked", "ducked", "original"]
    assert {line["reason"] for line in french} == {"sts_error:GPU_OOM"}


async def test_a_dub_that_comes_ahead_airs_though_the_answer_never_does():
    """English is told ahead; French would only be in the answer, which does not come in time."""
    never = asyncio.Event()
    settings_ = config(more_targets=(FRENCH,))
    clock, heard = VirtualClock(), Heard()
    sts = ManyVoices(ahead=("en",), hold=never)
    session = DubbingSession(settings_, sts, clock, heard.events.append)
    behind = int((settings_.delay_ns - settings_.mixer_lead_ns) * RATE / 1e9)
    rungs: dict[str, set[str]] = {"": set(), "fr": set()}
    for position, samples in chunks(bursts((1.0, 2.5), seconds=10)):
        session.push(position, samples)
        clock.position = position + len(samples)
        for _ in range(5):
            await asyncio.sleep(0)
        if position >= behind:
            for track, heard_rungs in rungs.items():
                heard_rungs.add(session.tracks[track].render(position - behind, 4_800).rung)
    assert rungs == {"": {"original", "dub"}, "fr": {"original", "ducked"}}
    assert not heard.fragments  # its line waits for the whole answer
    never.set()
    await session.settle(10 * RATE)
    await session.aclose()
    (line,) = heard.fragments
    assert (line["rung"], line["reason"]) == ("dub", "aired")
    assert (line["languages"]["fr"]["reason"], line["languages"]["fr"]["late"]) == ("late", True)
    assert line["languages"]["fr"]["translated_text"] == "fr text"


async def test_what_came_ahead_stays_when_the_answer_fails():
    sts = ManyVoices(ahead=("en",), fail_after_partials=True)
    heard = await run(sts, bursts(*SPEECH, seconds=11), more_targets=(FRENCH,))
    assert [line["rung"] for line in heard.fragments] == ["dub"] * 3
    assert {line["reason"] for line in heard.in_language("fr")} == {"sts_error:UNAVAILABLE"}
    assert {line["transcript"] for line in heard.fragments} == {"hola"}
    assert {line["translated_text"] for line in heard.in_language("fr")} == {"fr text"}
    assert sts.requests[1].config.context == "hola"


async def test_a_language_that_is_added_airs_the_original_up_to_its_first_fragment():
    programme = bursts(*SPEECH, seconds=11)
    sts = ManyVoices()
    heard = await run(sts, programme, at={50: reconfigured(more_targets=(FRENCH,))})
    assert [len(request.config.targets) for request in sts.requests] == [1, 2, 2]
    french = np.concatenate([samples for _, samples in heard.tracks["fr"]])
    begins = heard.tracks["fr"][0][0]
    early = around(programme, begins / RATE, 0.4)
    assert np.array_equal(french[: len(early)], early)
    inside = french[int(4.6 * RATE) - begins : int(5.0 * RATE) - begins]
    assert level(inside, TONES_HZ["fr"]) == pytest.approx(0.3, abs=0.02)
    assert [line["sequence_number"] for line in heard.in_language("fr")] == [1, 2]


async def test_a_language_that_is_removed_ends_at_once_and_says_so():
    heard = await run(
        ManyVoices(), bursts(*SPEECH, seconds=11), more_targets=(FRENCH,), at={66: reconfigured()}
    )
    french = heard.in_language("fr")
    assert [line["reason"] for line in french] == ["aired", "language_removed"]
    assert [line["rung"] for line in heard.fragments] == ["dub"] * 3
    assert [event["more_targets"] for event in heard.events if event["event"] == "settings"] == [[]]


async def test_removed_and_added_again_a_language_starts_afresh():
    at = {66: reconfigured(), 68: reconfigured(more_targets=(FRENCH,))}
    heard = await run(ManyVoices(), bursts(*SPEECH, seconds=11), more_targets=(FRENCH,), at=at)
    assert [line["reason"] for line in heard.in_language("fr")] == ["aired", "language_removed", "aired"]


async def test_each_language_has_its_own_terms():
    sts = ManyVoices()
    german = Target(language="de", glossary={"gol": "Tor"})
    await run(
        sts,
        bursts((1.0, 2.0), seconds=4),
        glossary={"gol": "goal", "Messi": "Messi"},
        more_targets=(FRENCH, german),
    )
    asked = sts.requests[0].config
    assert asked.glossary == {"Messi": "Messi"}
    assert [target.glossary for target in asked.targets] == [
        {"gol": "goal", "Messi": "Messi"},
        {},
        {"gol": "Tor"},
    ]


async def test_a_single_language_is_asked_for_without_partials():
    sts = ScriptedSts()
    heard = await run(sts, bursts((1.0, 2.0), seconds=4))
    assert [line["rung"] for line in heard.fragments] == ["dub"]
    assert sts.listeners == [None]


def test_a_language_named_twice_is_refused():
    with pytest.raises(ConfigurationError, match="en"):
        config(more_targets=(Target(language="en"),))
    with pytest.raises(ConfigurationError, match="fr"):
        config(more_targets=(FRENCH, FRENCH))
    assert isinstance(config(more_targets=(FRENCH,)), DubbingConfig)


def test_a_line_is_seen_in_each_of_its_languages():
    line = {
        "event": "fragment",
        "target_language": "en",
        "rung": "dub",
        "languages": {"fr": {"rung": "ducked"}},
    }
    assert event_in_language(line, "en") == line
    seen = event_in_language(line, "fr")
    assert seen is not None
    assert (seen["rung"], seen["languages"]) == ("ducked", {})
    assert event_in_language(line, "de") is None
    assert event_in_language({"event": "session"}, "de") == {"event": "session"}
    session: dict[str, Any] = {"event": "session", "target_language": "en", "voice": "en/a"}
    session["more_targets"] = [{"language": "fr", "voice": "fr/siwis"}]
    assert event_in_language(session, "fr") == {
        "event": "session",
        "target_language": "fr",
        "voice": "fr/siwis",
        "more_targets": [],
    }
