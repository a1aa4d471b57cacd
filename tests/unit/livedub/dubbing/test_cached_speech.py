"""A session beside a media cache: what was said before is not said again, and no cache costs a dub."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.audio import fit as fit_module
from livedub.audio.codec import encode_audio
from livedub.audio.pcm import Samples
from livedub.dubbing.cached_speech import CachedSpeech
from livedub.dubbing.session import DubbingSession
from livedub.dubbing.virtual import VirtualClock, dub_tracks
from livedub.errors import MissingPrerequisiteError
from livedub.media_cache.errors import MediaCacheUnavailableError
from livedub.media_cache.key import Variant
from livedub.media_cache.policy import LOOKUP_BREAKER, READ_RATE_HZ, CachePolicy, PolicyConfig, SpokenLine
from livedub.media_cache.stored_audio import encode_variant
from livedub.sts.contract import (
    MAX_WANTED_SPEECH,
    AudioFormat,
    Dub,
    PartialKind,
    SpeechSpan,
    Status,
    StsPartial,
    StsRequest,
    StsResult,
    Target,
    Transcript,
)
from livedub.sts.errors import StsFailure, StsTimeout
from livedub.sts.slot import slot_of
from tests.unit.livedub.dubbing.programme import RATE, OnPartial, bursts, chunks, config, level
from tests.unit.livedub.media_cache.memory_store import MemoryStore

PATIENT = PolicyConfig(lookup_ms=30_000)
"""Where no time is to pass, so that a slow machine changes nothing."""
AMPLE_NS = 40_000_000_000
"""A delay within which any machine fits a second of speech."""
MODEL = "kokoro:kokoro-82m"
SPOKEN_HZ = 600.0
STORED_HZ = 900.0
SPEECH = ((1.0, 2.5), (4.0, 5.5), (7.0, 8.5))


def line(text: str, language: str = "en") -> SpokenLine:
    return SpokenLine(text, f"{language}/voice", MODEL)


def tone(hz: float, milliseconds: int) -> Samples:
    n = np.arange(READ_RATE_HZ * milliseconds // 1_000)
    return (0.3 * np.sin(2 * np.pi * hz * n / READ_RATE_HZ)).astype(np.float32)


def stored(*lines: SpokenLine, samples: Samples | None = None) -> MemoryStore:
    body = encode_variant(tone(STORED_HZ, 1_200) if samples is None else samples, READ_RATE_HZ, Variant.PCM)
    return MemoryStore({(one.key, Variant.PCM): body for one in lines})


@dataclass
class Voices:
    """An STS that says the texts of a script, one for each fragment, as real ones do: first the words, then the sound.

    In a fragment of `mute` it goes on for ever after the words; in one of `failing` it ends with the failure there.
    """

    texts: Sequence[str]
    mute: set[int] = field(default_factory=set)
    failing: dict[int, StsFailure] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    """In what it says of each dub with sound."""
    models: dict[str, str] = field(default_factory=lambda: {"synthesizer": MODEL})
    wanted: list[tuple[str, ...]] = field(default_factory=list)
    """How the keys begin whose speech each request asked for."""
    cancelled: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        number = request.sequence_number
        worded = [self._worded(number, target) for target in request.config.targets]
        transcript = Transcript(text="hola", language="es")
        self.wanted.append(request.config.wanted_speech)
        assert on_partial is not None
        try:
            await on_partial(
                StsPartial(
                    kind=PartialKind.TEXT,
                    fragment_id=request.fragment_id,
                    transcript=transcript,
                    dubs=tuple(worded),
                    models=self.models,
                )
            )
            if number in self.mute:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if number in self.failing:
            raise self.failing[number]
        self.answered.append(number)
        return StsResult(
            fragment_id=request.fragment_id,
            status=Status.SUCCESS,
            transcript=transcript,
            dubs=tuple(self._spoken(request, dub) for dub in worded),
            models=self.models,
        )

    def _worded(self, number: int, target: Target) -> Dub:
        said = line(self.texts[number], target.language)
        return Dub(
            language=target.language, translated_text=said.sentence, cache_key=said.key, voice=said.voice
        )

    def _spoken(self, request: StsRequest, dub: Dub) -> Dub:
        slot = slot_of(request)
        samples = np.zeros(slot.fragment_ms * READ_RATE_HZ // 1_000, np.float32)
        end_ms = min(slot.speech_start_ms + 1_200, slot.fragment_ms)
        first = slot.speech_start_ms * READ_RATE_HZ // 1_000
        voice = tone(SPOKEN_HZ, end_ms - slot.speech_start_ms)
        samples[first : first + len(voice)] = voice
        natural = SpeechSpan(start_ms=slot.speech_start_ms, end_ms=end_ms)
        audio = encode_audio(samples, READ_RATE_HZ, request.audio.format)
        return dub.model_copy(update={"audio": audio, "natural": natural, **self.changed})


@dataclass
class Aired:
    """What went to air, by track, and the log's lines."""

    tracks: dict[str, list[Samples]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fragments(self) -> list[dict[str, Any]]:
        lines = [event for event in self.events if event["event"] == "fragment"]
        return sorted(lines, key=lambda entry: entry["sequence_number"])

    def hits(self) -> list[bool]:
        return [entry["cache_hit"] for entry in self.fragments]

    def level(self, hz: float, fragment: int, track: str = "") -> float:
        start = int((SPEECH[fragment][0] + 0.3) * RATE)
        return level(np.concatenate(self.tracks[track])[start : start + RATE // 2], hz)


async def run(sts: Voices, policy: CachePolicy, **changes: Any) -> Aired:
    """Dub the three pieces of speech; whatever is kept of one is stored before the next begins."""
    settings, clock, aired = config(**changes), VirtualClock(), Aired()
    session = DubbingSession(settings, sts, clock, aired.events.append, cache_policy=policy)
    try:
        programme = chunks(bursts(*SPEECH, seconds=10))
        async for _, blocks in dub_tracks(session, clock, settings, programme):
            assert session._cached is not None
            await session._cached.settle()
            for track, block in blocks.items():
                aired.tracks.setdefault(track, []).append(block.samples)
    finally:
        await session.aclose()
        await policy.aclose()
    return aired


async def test_what_is_said_the_third_time_comes_from_the_cache_and_sts_is_stopped():
    store = MemoryStore()
    sts = Voices(["Goal!"] * 3, mute={2})
    aired = await run(sts, CachePolicy(store, PATIENT), in_flight_limit=1)
    assert aired.hits() == [False, False, True]
    assert [entry["rung"] for entry in aired.fragments] == ["dub"] * 3
    assert aired.fragments[2]["translated_text"] == "Goal!"
    assert sts.cancelled == [2]
    assert aired.level(SPOKEN_HZ, 2) == pytest.approx(0.3, abs=0.03)
    (upload,) = store.uploads
    assert (upload.sentence, upload.voice, upload.model) == ("Goal!", "en/voice", MODEL)


async def test_what_is_kept_is_the_line_alone():
    store = MemoryStore()
    await run(Voices(["Goal!"] * 3), CachePolicy(store, PATIENT), in_flight_limit=1)
    (body,) = store.objects.values()
    kept = np.frombuffer(body, "<i2") / 32_768
    assert np.allclose(kept, tone(SPOKEN_HZ, 1_200), atol=2e-3)


async def test_cached_speech_starts_where_the_source_s_did():
    sts = Voices(["One", "Two", "Three"], mute={0, 1, 2})
    aired = await run(sts, CachePolicy(stored(line("One"), line("Two"), line("Three")), PATIENT))
    assert aired.hits() == [True] * 3
    for (start_s, _), entry in zip(SPEECH, aired.fragments, strict=True):
        assert abs(entry["dub_start_ns"] / 1e9 - start_s) < 0.045
        assert entry["tempo"] == 1.0
        assert entry["models"] == {"synthesizer": MODEL}
        assert entry["stage_timings"] is not None


async def test_a_language_that_is_not_in_the_cache_is_spoken_beside_one_that_is():
    sts = Voices(["Goal!"] * 3)
    aired = await run(sts, CachePolicy(stored(line("Goal!")), PATIENT), more_targets=(Target(language="fr"),))
    first = aired.fragments[0]
    assert sts.answered[:1] == [0]
    assert first["languages"]["fr"]["cache_hit"] is False
    assert aired.level(SPOKEN_HZ, 0, "fr") == pytest.approx(0.3, abs=0.03)


async def test_sts_is_stopped_once_every_language_is_found():
    store = stored(line("Goal!"), line("Goal!", "fr"))
    sts = Voices(["Goal!"] * 3, mute={0, 1, 2})
    aired = await run(sts, CachePolicy(store, PATIENT), more_targets=(Target(language="fr"),))
    assert sorted(sts.cancelled) == [0, 1, 2]
    for track in ("", "fr"):
        assert aired.level(STORED_HZ, 1, track) == pytest.approx(0.3, abs=0.03)
    assert all(entry["languages"]["fr"]["cache_hit"] for entry in aired.fragments)


async def test_a_voice_that_fails_is_no_loss_where_the_cache_has_the_line():
    sts = Voices(["Goal!", "Corner.", "Goal!"], failing={0: StsTimeout("tts"), 1: StsTimeout("tts")})
    aired = await run(sts, CachePolicy(stored(line("Goal!")), PATIENT), delay_ns=AMPLE_NS)
    assert [entry["rung"] == "dub" for entry in aired.fragments] == [True, False, True]
    assert aired.hits()[0] is True
    assert aired.level(STORED_HZ, 0) == pytest.approx(0.3, abs=0.03)


async def test_cached_speech_keeps_near_the_tempo_of_the_dub_before():
    sts = Voices(["Slow", "Goal!", "Slow"], mute={1}, changed={"tempo": 1.3})
    aired = await run(sts, CachePolicy(stored(line("Goal!")), PATIENT))
    assert aired.fragments[1]["cache_hit"]
    assert aired.fragments[1]["tempo"] == pytest.approx(1.3 / 1.08, rel=0.01)


async def test_cached_speech_that_is_long_is_hastened_into_its_room():
    long = stored(line("Goal!"), samples=tone(STORED_HZ, 2_600))
    aired = await run(Voices(["Goal!"] * 3, mute={0, 1, 2}), CachePolicy(long, PATIENT), max_overflow_ms=0)
    assert aired.hits() == [True] * 3
    for entry in aired.fragments:
        assert entry["tempo"] > 1.1
        assert abs(entry["dub_duration_ns"] - entry["duration_ns"]) < 25_000_000


@pytest.mark.parametrize(
    "policy",
    [
        CachePolicy(MemoryStore(hang=asyncio.Event()), PolicyConfig(lookup_ms=1), clock_ns=lambda: 0),
        CachePolicy(MemoryStore(failure=MediaCacheUnavailableError("down")), PATIENT, clock_ns=lambda: 0),
        CachePolicy(MemoryStore(failure=ValueError("bug")), PATIENT, clock_ns=lambda: 0),
    ],
    ids=["hangs", "down", "broken"],
)
async def test_a_cache_that_does_not_answer_costs_no_dub(policy: CachePolicy):
    aired = await run(Voices(["a", "b", "c"]), policy)
    assert [entry["rung"] for entry in aired.fragments] == ["dub"] * 3
    assert aired.hits() == [False] * 3
    assert policy.counts.late + policy.counts.failed == LOOKUP_BREAKER.failures_to_open


@pytest.mark.parametrize("samples", [np.zeros(24_000, np.float32), np.zeros(1, np.float32)])
async def test_what_the_cache_has_may_be_no_speech_at_all(samples: Samples):
    sts = Voices(["Goal!"] * 3)
    aired = await run(sts, CachePolicy(stored(line("Goal!"), samples=samples), PATIENT))
    assert sts.answered == [0, 1, 2]
    assert aired.hits() == [False] * 3
    assert aired.level(SPOKEN_HZ, 1) == pytest.approx(0.3, abs=0.03)


async def test_without_rubber_band_a_line_that_must_be_hastened_is_spoken(monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object) -> Samples:
        raise MissingPrerequisiteError("rubberband is not installed.")

    monkeypatch.setattr(fit_module, "stretch", missing)
    long = stored(line("Goal!"), samples=tone(STORED_HZ, 3_000))
    aired = await run(Voices(["Goal!"] * 3), CachePolicy(long, PATIENT), max_overflow_ms=0)
    assert [entry["rung"] for entry in aired.fragments] == ["dub"] * 3
    assert aired.hits() == [False] * 3


async def test_speech_of_a_line_that_was_hastened_is_asked_for():
    store = MemoryStore()
    sts = Voices(["Goal!", "Corner.", "Goal!"], changed={"natural": None})
    await run(sts, CachePolicy(store, PATIENT), in_flight_limit=1)
    goal, corner = (line(text).key[:16] for text in ("Goal!", "Corner."))
    assert sts.wanted == [(), (goal,), (goal, corner)]


async def test_speech_that_comes_apart_from_its_dub_is_kept_and_not_asked_for_again():
    store = MemoryStore()
    audio = encode_audio(tone(STORED_HZ, 3_000), READ_RATE_HZ, AudioFormat.PCM_S16LE)
    sts = Voices(["Goal!"] * 3, changed={"natural": None, "natural_audio": audio})
    await run(sts, CachePolicy(store, PATIENT), in_flight_limit=1)
    assert sts.wanted == [()] * 3
    (upload,) = store.uploads
    assert upload.variant.duration_ms == 3_000


async def test_who_may_not_write_asks_for_no_speech():
    store = MemoryStore(writes=False)
    sts = Voices(["Goal!"] * 3, changed={"natural": None})
    await run(sts, CachePolicy(store, PATIENT))
    assert sts.wanted == [()] * 3


def test_only_so_much_speech_is_asked_for():
    speech = CachedSpeech(CachePolicy(MemoryStore(), PATIENT))
    dub = Dub(language="en", translated_text="x")
    lines = [line(f"{number}") for number in range(MAX_WANTED_SPEECH + 10)]
    for one in [*lines, lines[-5]]:
        speech.keep(one, dub)
    starts = [one.key[:16] for one in lines]
    assert speech.wanted() == (*starts[10:-5], *starts[-4:], starts[-5])


@pytest.mark.parametrize(
    "changed", [{"natural": None}, {"cache_hit": True}], ids=["stretched", "the service's own hit"]
)
async def test_only_speech_as_it_was_spoken_is_kept(changed: dict[str, Any]):
    store = MemoryStore()
    policy = CachePolicy(store, PATIENT)
    await run(Voices(["Goal!"] * 3, changed=changed), policy, in_flight_limit=1)
    assert policy.counts.misses == 3
    assert store.uploads == []


async def test_what_the_cache_gave_is_not_stored_again():
    store = stored(line("Goal!"))
    policy = CachePolicy(store, PATIENT)
    aired = await run(Voices(["Goal!"] * 3), policy, in_flight_limit=1)
    assert policy.counts.hits == 3
    assert store.uploads == []
    assert [entry["rung"] for entry in aired.fragments] == ["dub"] * 3


@pytest.mark.parametrize("models", [{}, {"synthesizer": "another:model"}])
async def test_a_key_that_means_something_else_is_not_looked_up(models: dict[str, str]):
    store = stored(line("Goal!"))
    aired = await run(Voices(["Goal!"] * 3, models=models), CachePolicy(store, PATIENT))
    assert store.reads == 0
    assert aired.hits() == [False] * 3


async def test_closing_the_session_stops_what_is_under_way():
    asked = asyncio.Event()

    class Silent(MemoryStore):
        async def get(self, key: str, variant: Variant) -> bytes | None:
            asked.set()
            await asyncio.Event().wait()

    policy = CachePolicy(Silent(), PATIENT)
    sts, clock = Voices(["Goal!"], mute={0}), VirtualClock()
    session = DubbingSession(config(), sts, clock, lambda _: None, cache_policy=policy)
    for position, samples in chunks(bursts((1.0, 2.5), seconds=5)):
        session.push(position, samples)
    await asyncio.wait_for(asked.wait(), 30)
    await asyncio.wait_for(session.aclose(), 30)
    await asyncio.wait_for(policy.aclose(), 30)
    assert sts.cancelled == [0]
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()


@settings(max_examples=25, deadline=None)
@given(
    held=st.sets(st.tuples(st.integers(0, 2), st.sampled_from(["en", "fr"]))),
    silent=st.sets(st.integers(0, 2)),
    failing=st.sets(st.integers(0, 2)),
)
def test_a_language_has_its_dub_wherever_anybody_has_it(
    held: set[tuple[int, str]], silent: set[int], failing: set[int]
):
    texts = ["One", "Two", "Three"]
    store = stored(*(line(texts[number], language) for number, language in held))
    # Who stays silent for ever where the cache lacks a language would hold up this clock, which waits.
    mute = {number for number in silent if {(number, "en"), (number, "fr")} <= held}
    sts = Voices(texts, mute=mute, failing={number: StsTimeout("tts") for number in failing - mute})
    aired = asyncio.run(
        run(sts, CachePolicy(store, PATIENT), more_targets=(Target(language="fr"),), delay_ns=AMPLE_NS)
    )
    assert len(aired.fragments) == 3
    for number, entry in enumerate(aired.fragments):
        for language, dub in (("en", entry), ("fr", entry["languages"]["fr"])):
            has_one = (number, language) in held or number not in failing
            assert (dub["dub_duration_ns"] is not None) == has_one
            assert dub["cache_hit"] <= ((number, language) in held)
            assert has_one or dub["reason"] == StsTimeout("tts").reason
