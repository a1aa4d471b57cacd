"""Speech that was said before: taken from the media cache and laid into its fragment, kept where it is said again.

A `text` partial names what each language is about to say. Where the cache has that speech, the fragment need not wait
for a voice; where it is said once more, its dub is kept. Nothing here costs a dub: a cache that is late, broken or
wrong leaves everything to STS.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from livedub.audio.codec import decode_audio
from livedub.audio.fit import fit
from livedub.audio.pcm import Samples
from livedub.dubbing.exchange import read_speech
from livedub.dubbing.fragment import DubbingFragment, Outcome
from livedub.errors import LivedubError
from livedub.media_cache.policy import READ_RATE_HZ, CachePolicy, SpokenLine
from livedub.sts.contract import (
    KEY_START_LENGTH,
    MAX_WANTED_SPEECH,
    SPEAKING_MODEL,
    Audio,
    Dub,
    SpeechSpan,
    StsPartial,
    StsRequest,
)
from livedub.sts.slot import slot_of
from livedub.timeline.clock import NS_PER_S
from livedub.timeline.isochrony import TempoRange
from livedub.timeline.tempo_memory import TempoMemory

logger = logging.getLogger(__name__)

Found = Callable[[str, Outcome], None]
"""Told a language and its dub, made of speech from the cache."""

_NO_LINES: Mapping[str, SpokenLine] = MappingProxyType({})
_CLOSING_S = 1.0


class CachedSpeech:
    """One session's view of the cache. Belongs to one asyncio loop.

    Args:
        policy: what is looked up and stored, and when; stays the caller's to close.
    """

    def __init__(self, policy: CachePolicy) -> None:
        self.policy = policy
        self._tempos = TempoMemory()
        self._keeping: set[asyncio.Task[None]] = set()
        self._hastened: OrderedDict[str, None] = OrderedDict()

    def wanted(self) -> tuple[str, ...]:
        """How the keys begin of lines whose dubs could not be kept so far: next time STS is to bring their speech."""
        return tuple(self._hastened) if self.policy.writes else ()

    def near(self, fragment: DubbingFragment, language: str) -> TempoRange:
        """Tempos near the dub before `fragment`'s in one language."""
        return self._tempos.allowed(
            fragment.config.stream_id,
            language,
            sequence_number=fragment.sequence_number,
            now_s=fragment.cut.start_ns / NS_PER_S,
        )

    def learn(self, fragment: DubbingFragment, language: str, tempo: float) -> None:
        """Tell how fast a dub speaks, wherever it came from."""
        self._tempos.learn(
            fragment.config.stream_id,
            language,
            tempo,
            sequence_number=fragment.sequence_number,
            now_s=fragment.cut.start_ns / NS_PER_S,
        )

    def keep(self, line: SpokenLine, dub: Dub) -> None:
        """Store a dub's speech in the background, if it is wanted; remember that where it does not hold it."""
        start = line.key[:KEY_START_LENGTH]
        self._hastened.pop(start, None)
        if dub.natural is None and dub.natural_audio is None:
            self._hastened[start] = None
            while len(self._hastened) > MAX_WANTED_SPEECH:
                self._hastened.popitem(last=False)
            return
        if not self.policy.wants(line):
            return
        task = asyncio.create_task(self._keep(line, dub), name="keep speech")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def settle(self) -> None:
        """Wait until everything kept so far is stored, or has failed to be."""
        if self._keeping:
            await asyncio.wait(set(self._keeping))
        await self.policy.settle()

    async def aclose(self) -> None:
        """Hand what is being kept over to the policy, within a second; the policy stays open."""
        if self._keeping:
            _, late = await asyncio.wait(set(self._keeping), timeout=_CLOSING_S)
            for task in late:
                task.cancel()

    async def _keep(self, line: SpokenLine, dub: Dub) -> None:
        audio = dub.natural_audio or dub.audio
        if audio is None:
            return
        try:
            samples = await asyncio.to_thread(_part, audio, None if dub.natural_audio else dub.natural)
            self.policy.offer(line, samples, audio.sample_rate_hz)
        except LivedubError as error:
            logger.warning("speech was not kept: %s", error)
        except Exception:
            logger.exception("speech could not be kept")


class FragmentLines:
    """What one fragment is about to say, by language, and what the cache has of it.

    Args:
        speech: the session's.
        fragment: the one.
        request: what STS was asked for it.
        found: told what the cache gave, at once; a language that has its dub by then is to be left alone.
    """

    def __init__(
        self, speech: CachedSpeech, fragment: DubbingFragment, request: StsRequest, found: Found
    ) -> None:
        self._speech = speech
        self._fragment = fragment
        self._request = request
        self._found = found
        self._lines = _NO_LINES
        self._cached: set[str] = set()
        self._fitting: set[asyncio.Task[None]] = set()

    async def look_up(self, part: StsPartial, languages: Collection[str]) -> None:
        """Ask the cache for the lines of a `text` partial in `languages`; what it gives is fitted in the background.

        Takes no longer than the policy lets a lookup take.
        """
        lines = {dub.language: _line(dub, part.models) for dub in part.dubs if dub.language in languages}
        self._lines = {language: line for language, line in lines.items() if line is not None}
        found = await asyncio.gather(*(self._speech.policy.lookup(line) for line in self._lines.values()))
        for line, samples in zip(self._lines.items(), found, strict=True):
            if samples is not None:
                self._cached.add(line[0])
                task = asyncio.create_task(self._lay_in(*line, samples), name="fit cached speech")
                self._fitting.add(task)
                task.add_done_callback(self._fitting.discard)

    async def fitted(self, timeout_s: float) -> None:
        """Wait until what the cache gave is fitted."""
        if self._fitting:
            await asyncio.wait(set(self._fitting), timeout=max(0.0, timeout_s))

    def keep(self, dub: Dub) -> None:
        """Tell what STS made of a line."""
        line = self._lines.get(dub.language)
        if (
            line is not None
            and dub.audio is not None
            and dub.language not in self._cached
            and not dub.cache_hit
        ):
            self._speech.keep(line, dub)

    def close(self) -> None:
        """Nobody needs what the cache gave any more."""
        for task in self._fitting:
            task.cancel()

    async def _lay_in(self, language: str, line: SpokenLine, samples: Samples) -> None:
        near = self._speech.near(self._fragment, language)
        try:
            outcome = await asyncio.to_thread(self._fit, line.sentence, samples, near)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, STS speaks the line instead
            logger.warning("cached speech of %r could not be fitted: %s", line.sentence, error)
            return
        if outcome.airable:
            self._found(language, outcome)
        else:
            logger.warning("cached speech of %r is no good: %s", line.sentence, outcome.reason)

    def _fit(self, text: str, samples: Samples, near: TempoRange) -> Outcome:
        fitted = fit(samples, READ_RATE_HZ, slot_of(self._request), neighbours=near)
        return read_speech(
            self._fragment,
            fitted.samples,
            fitted.sample_rate_hz,
            Outcome(text=text, tempo=round(fitted.tempo, 4), cache_hit=True),
        )


def _line(dub: Dub, models: Mapping[str, str]) -> SpokenLine | None:
    """What the cache knows a dub's line by; None where it is to stay out of it, or STS means something else by its key."""
    model = models.get(SPEAKING_MODEL, "")
    if not (dub.cache_key and dub.voice and model and dub.translated_text.strip()):
        return None
    line = SpokenLine(dub.translated_text, dub.voice, model)
    return line if line.key == dub.cache_key else None


def _part(audio: Audio, span: SpeechSpan | None) -> Samples:
    samples = decode_audio(audio)
    if span is None:
        return samples
    rate_hz = audio.sample_rate_hz
    return samples[span.start_ms * rate_hz // 1_000 : span.end_ms * rate_hz // 1_000]
