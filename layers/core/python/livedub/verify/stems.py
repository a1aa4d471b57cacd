"""The stems of a made clip, laid over the output."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.errors import InvalidInputError
from livedub.timeline.clock import NS_PER_S, Span
from livedub.verify.evidence import CannotTell, Evidence, session_at
from livedub.verify.lag import delayed, find_lag
from livedub.verify.recording import read_audio
from livedub.verify.reference import ClipReference, read_reference
from livedub.verify.track import AudioTrack

_CLIP_REACH_S = 120
_REFINE_REACH = PROGRAMME_RATE_HZ // 10
_CLEAR = 8.0


@dataclass(frozen=True)
class StemsOnOutput:
    """A clip's reference with its stems at the output's times.

    The clip is found in the input by correlating the sum of its stems with the input's sound; from there the
    measured offset between the recordings leads to the output.
    """

    evidence: Evidence
    reference: ClipReference
    folder: Path

    @classmethod
    def read(cls, evidence: Evidence, reference: Path) -> StemsOnOutput:
        """Read a clip.reference.json; the stems lie beside it."""
        return cls(evidence, read_reference(reference), reference.parent)

    @cached_property
    def speech(self) -> AudioTrack:
        """The speech alone, at clip time."""
        return self._stem(self.reference.stems.speech)

    @cached_property
    def music(self) -> AudioTrack:
        """The background alone, at clip time."""
        return self._stem(self.reference.stems.music)

    @cached_property
    def clip_to_input_ns(self) -> int:
        """What to add to a clip time to find it in the input."""
        take = self.evidence.input_takes[0]
        both = self.speech.samples + self.music.samples
        reach = min(_CLIP_REACH_S * PROGRAMME_RATE_HZ, max(len(both), len(take.samples)))
        lag = find_lag(both.mean(axis=1), take.mono(), reach)
        if lag is None or lag.clarity < _CLEAR:
            raise CannotTell("the input is not the clip that the reference describes")
        return take.start_ns + round(lag.samples * NS_PER_S / PROGRAMME_RATE_HZ)

    @cached_property
    def clip_to_output_ns(self) -> int:
        """What to add to a clip time to find when it is due in the output."""
        comparison = self.evidence.comparison
        if comparison is None:
            raise CannotTell("no frame of the input is in the output")
        return self.clip_to_input_ns + session_at(comparison.sessions, self.clip_to_input_ns).offset_ns

    def speech_spans(self) -> list[Span]:
        """Where the source speaks, at the output's times, as far as the output was recorded."""
        output = self.evidence.output_audio
        spans = [
            span.span.shifted(self.clip_to_output_ns)
            for sentence in self.reference.sentences
            for span in sentence.spans
        ]
        return [span for span in spans if output.start_ns <= span.start_ns and span.end_ns <= output.end_ns]

    @cached_property
    def music_on_output(self) -> AudioTrack:
        """The background as it should lie in the output, moved to where it does lie: to a fraction of a sample.

        A background that is late by less than 100 ms is still the background; how late it is, `audio.lag_ms` tells.
        """
        output = self.evidence.output_audio
        due = AudioTrack(self.clip_to_output_ns, self.music.samples)
        laid = due.slice(output.start_ns, len(output.samples))
        lag = find_lag(laid.mean(axis=1), output.mono(), _REFINE_REACH)
        if lag is None or lag.clarity < _CLEAR:
            raise CannotTell("the music stem is not heard in the output")
        return AudioTrack(output.start_ns, delayed(laid, lag.samples))

    def speech_between(self, span: Span) -> Samples:
        """The source's speech (mono) over a span of the output's time."""
        count = span.duration_ns * PROGRAMME_RATE_HZ // NS_PER_S
        start_ns = span.start_ns - self.clip_to_output_ns
        return self.speech.slice(start_ns, count).mean(axis=1, dtype=np.float32)

    def _stem(self, name: str) -> AudioTrack:
        takes = read_audio(self.folder / name)
        if not takes:
            raise InvalidInputError(
                f"stem {name} carries no audio.", remedy="Make the clip again: python -m local.demo_clip."
            )
        return takes[0]
