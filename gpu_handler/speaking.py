"""From a wording to a dub that lies in its fragment: synthesis, a check with one more try, fitting."""

from __future__ import annotations

import asyncio
import logging
import time

from gpu_handler.engines.base import ASR_SAMPLE_RATE_HZ, Line, Speech, Utterance
from gpu_handler.interpreting import Wording
from gpu_handler.language_job import LanguageJob
from gpu_handler.quality.back_check import similarity
from gpu_handler.speech_cache import SpeechCache
from gpu_handler.stage_errors import StageError
from gpu_handler.stage_set import LaidIn, Spoken, StageSet
from gpu_handler.stream_tempos import StreamTempos
from livedub.audio.fit import plan_tempo
from livedub.audio.resample import resample
from livedub.media_cache.policy import SpokenLine
from livedub.sts.contract import KEY_START_LENGTH, Dub, ErrorCode, Stage

log = logging.getLogger(__name__)

_RENDERINGS = 2
_LEAST_ALIKE = 0.5
"""Of the letters: a recogniser's own errors on clear synthetic speech are far fewer."""


class Speaker:
    """Speaks each language of a fragment.

    Args:
        stages: where voices and fitting work.
        tempos: of the dubs before.
        cache: speech of earlier dubs.
        back_check: recognise every dub and compare it with what it was to say.
    """

    def __init__(
        self, stages: StageSet, tempos: StreamTempos, cache: SpeechCache, *, back_check: bool = False
    ) -> None:
        self._stages = stages
        self._cache = cache
        self._back_check = back_check
        self._tempos = tempos

    async def dub(self, task: LanguageJob, wording: Wording, line: SpokenLine | None) -> Dub:
        """Speak a wording in its source's time; `line` is what the cache knows it by.

        Raises:
            StageError: the deadline cannot be met, an engine failed, or the voice failed twice to say it.
        """
        if not wording.text.strip():
            task.to_tts.over()
            return Dub(language=task.language, translated_text="")
        plan = plan_tempo(wording.natural_ms, task.heard.slot, neighbours=self._tempos.near(task))
        self._tempos.learn(task, plan.tempo)
        laid_in = found = await self._find(task, wording, line)
        if laid_in is None:
            # What is to be kept is spoken at natural pace, and stretched where the fragment asks for more.
            speed = 1.0 if self._cache.wants(line) or _is_wanted(task, line) else plan.tts_speed
            laid_in = await self._render(task, wording, speed, line)
        self._tempos.learn(task, laid_in.tempo)
        return Dub(
            language=task.language,
            translated_text=wording.text,
            audio=laid_in.audio,
            tempo=round(laid_in.tempo, 4),
            cache_hit=found is not None,
            cache_key=line.key if line else "",
            voice=task.voice,
            natural=laid_in.natural if line is not None and found is None else None,
            natural_audio=laid_in.natural_audio,
        )

    async def _find(self, task: LanguageJob, wording: Wording, line: SpokenLine | None) -> LaidIn | None:
        """The dub from speech in the cache; None where there is none, or none that can be used."""
        started_s = time.monotonic()
        speech = await self._cache.find(line)
        task.job.spend("tts_ms", time.monotonic() - started_s)
        if speech is None:
            return None
        task.to_tts.over()
        laid_in = await self._fit(task, wording, speech, wanted=False)
        if laid_in.verdict.fine:
            return laid_in
        log.warning(
            "%s: the cached speech of %r is no good: %s", task.name, wording.text, laid_in.verdict.detail
        )
        return None

    async def _render(
        self, task: LanguageJob, wording: Wording, speed: float, line: SpokenLine | None
    ) -> LaidIn:
        """Speak and check, once more with another seed where the first rendering is no good."""
        faults: list[str] = []
        for seed in range(_RENDERINGS):
            speech = await self._stages.tts.run(
                task.job,
                Line(wording.text, task.voice, speed, seed),
                rest_ns=self._stages.fit.least_ns(),
                approach=task.to_tts,
            )
            laid_in = await self._fit(task, wording, speech, wanted=_is_wanted(task, line))
            if laid_in.verdict.fine:
                misheard = await self._misheard(task, wording.text, speech)
                if not misheard:
                    self._cache.keep(line, speech)
                    return laid_in
                faults.append(misheard)
            else:
                faults.append(f"{laid_in.verdict.fault.value} ({laid_in.verdict.detail})")
            log.info("%s: rendering %d of %r: %s", task.name, seed + 1, wording.text, faults[-1])
        raise StageError(
            Stage.TTS,
            ErrorCode.MODEL_ERROR,
            f"{task.voice} made no usable speech in {_RENDERINGS} renderings: {'; '.join(faults)}.",
            retryable=False,
        )

    async def _fit(self, task: LanguageJob, wording: Wording, speech: Speech, *, wanted: bool) -> LaidIn:
        spoken = Spoken(
            speech,
            wording.text,
            wording.natural_ms,
            task.heard.slot,
            self._tempos.near(task),
            task.job.request.audio.format,
            wanted,
        )
        return await self._stages.fit.run(task.job, spoken)

    async def _misheard(self, task: LanguageJob, text: str, speech: Speech) -> str:
        """What is wrong with the dub as a recogniser hears it; empty where nothing is, or nobody asked."""
        if not self._back_check or speech.in_place:
            return ""
        samples = await asyncio.to_thread(resample, speech.samples, speech.sample_rate_hz, ASR_SAMPLE_RATE_HZ)
        heard = await self._stages.asr.run(task.job, Utterance(samples, task.language))
        alike = similarity(text, heard.text)
        return "" if alike >= _LEAST_ALIKE else f"heard as {heard.text!r} ({alike:.2f} alike)"


def _is_wanted(task: LanguageJob, line: SpokenLine | None) -> bool:
    """Whether the caller would keep a line's speech."""
    wanted = task.job.request.config.wanted_speech
    return bool(wanted) and line is not None and line.key[:KEY_START_LENGTH] in wanted
