"""One target language of one fragment on its way through translation, voice and fitting."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_handler.job import Job
from gpu_handler.recognition import Heard
from gpu_handler.stages import Approach
from livedub.sts.contract import Target


@dataclass(frozen=True, slots=True)
class LanguageJob:
    """What is wanted in one language.

    Attributes:
        job: the fragment.
        heard: what was said in it.
        target: the language.
        voice: who will say it: each takes its own time.
        glossary: the caller's terms for this language.
        to_translation: where this language is announced.
        to_tts: tells the voice's stage that a line is about to come.
    """

    job: Job
    heard: Heard
    target: Target
    voice: str
    glossary: dict[str, str]
    to_translation: Approach
    to_tts: Approach

    @property
    def source(self) -> str:
        """The language that was spoken."""
        return self.heard.recognition.language

    @property
    def language(self) -> str:
        """The language to be spoken."""
        return self.target.language

    @property
    def name(self) -> str:
        """For log lines."""
        return f"{self.job.request.fragment_id} in {self.language}"
