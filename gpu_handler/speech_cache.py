"""The media cache as the voices' stage sees it: which lines may lie there, what is taken out and what is put in."""

from __future__ import annotations

from gpu_handler.casting import Casting
from gpu_handler.engines.base import Speech, Synthesizer
from gpu_handler.interpreting import Wording
from gpu_handler.language_job import LanguageJob
from livedub.media_cache.policy import READ_RATE_HZ, CachePolicy, SpokenLine


class SpeechCache:
    """Finds and keeps speech; with no policy it only names keys.

    Imitated voices are left out: whoever reads the cache cannot be asked whether consent still stands.

    Args:
        synthesizer: whose model the speech is known by.
        casting: knows which voices are imitated.
        policy: what is looked up and stored, and when; owned by the caller.
    """

    def __init__(self, synthesizer: Synthesizer, casting: Casting, policy: CachePolicy | None = None) -> None:
        self._synthesizer = synthesizer
        self._casting = casting
        self._policy = policy

    def line(self, task: LanguageJob, wording: Wording) -> SpokenLine | None:
        """What the cache would know a wording by; None where it is to stay out of it."""
        if not wording.text.strip():
            return None
        if not self._casting.is_synthetic(task.voice, task.job.request.stream_id):
            return None
        info = self._synthesizer.info
        return SpokenLine(wording.text, task.voice, f"{info.name}:{info.model}")

    async def find(self, line: SpokenLine | None) -> Speech | None:
        """The line's speech at natural pace, where the cache gives it at once."""
        if self._policy is None or line is None:
            return None
        samples = await self._policy.lookup(line)
        return None if samples is None else Speech(samples, READ_RATE_HZ)

    def wants(self, line: SpokenLine | None) -> bool:
        """Whether the line is worth rendering at natural pace, to be kept."""
        return self._policy is not None and line is not None and self._policy.wants(line)

    def keep(self, line: SpokenLine | None, speech: Speech) -> None:
        """Store good speech in the background, if it is wanted and natural; what stands in for a voice is not."""
        if self._policy is None or line is None or speech.in_place:
            return
        if speech.natural:
            self._policy.offer(line, speech.samples, speech.sample_rate_hz)
