"""Listens to the programme: keeps it, splits speech from background, finds fragments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from livedub.audio.activity import SpeechActivity
from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ, Samples, to_mono
from livedub.audio.ring import SampleRing
from livedub.audio.separation import SpeechSeparator
from livedub.timeline.clock import samples_to_ns
from livedub.timeline.fragmenter import FragmentCut, Fragmenter, FragmenterConfig, LevelFrame

_FRAME_SAMPLES = PROGRAMME_RATE_HZ // 50


class ProgrammeAnalysis:
    """Takes the programme in order; answers with fragments to dub and keeps what playout mixes from.

    `original` and `background` hold (n, 2) samples, `speech` mono ones; all are addressed by absolute position.
    Without a separator `speech` is the mid channel and `background` stays empty.
    """

    def __init__(
        self,
        fragmenter: FragmenterConfig,
        capacity_samples: int,
        separator_factory: Callable[[], SpeechSeparator] | None,
    ) -> None:
        self.original = SampleRing(capacity_samples, PROGRAMME_CHANNELS)
        self.background = SampleRing(capacity_samples if separator_factory else 1, PROGRAMME_CHANNELS)
        self.speech = SampleRing(capacity_samples, 1)
        self._split = _AlignedSplit(separator_factory()) if separator_factory else None
        self._fragmenter = Fragmenter(fragmenter)
        self._activity = SpeechActivity()
        self._next_position: int | None = None
        self._frame = np.zeros(0, dtype=np.float32)
        self._frame_position = 0

    def push(self, position: int, samples: Samples) -> list[FragmentCut]:
        """Take (n, 2) samples at `position`; returns the fragments that this completed."""
        cuts: list[FragmentCut] = []
        if position != self._next_position:
            cuts += self.flush()
            self._start_at(position)
        self._next_position = position + len(samples)
        self.original.write(position, samples)
        mono = to_mono(samples)
        if self._split is None:
            return cuts + self._listen(position, mono)
        for speech_position, speech in self._split.push(mono):
            cuts += self._take_speech(speech_position, speech)
        return cuts

    def flush(self) -> list[FragmentCut]:
        """End of a continuous stretch: what is inside the separator comes out, the open fragment is cut."""
        cuts: list[FragmentCut] = []
        if self._split is not None:
            for position, speech in self._split.flush():
                cuts += self._take_speech(position, speech)
        return cuts + self._fragmenter.flush()

    def close(self) -> None:
        """Free the separator."""
        if self._split is not None:
            self._split.close()

    def _start_at(self, position: int) -> None:
        self._activity.interrupt()
        self._frame = np.zeros(0, dtype=np.float32)
        self._frame_position = position
        if self._split is not None:
            self._split.start_at(position)

    def _take_speech(self, position: int, speech: Samples) -> list[FragmentCut]:
        programme = self.original.read(position, len(speech))
        self.background.write(position, programme - speech[:, None])
        return self._listen(position, speech)

    def _listen(self, position: int, mono: Samples) -> list[FragmentCut]:
        self.speech.write(position, mono)
        pending = np.concatenate((self._frame, mono)) if self._frame.size else mono
        cuts: list[FragmentCut] = []
        whole = len(pending) // _FRAME_SAMPLES * _FRAME_SAMPLES
        for first in range(0, whole, _FRAME_SAMPLES):
            heard = self._activity.push(pending[first : first + _FRAME_SAMPLES])
            start_ns = samples_to_ns(self._frame_position, PROGRAMME_RATE_HZ)
            cuts += self._fragmenter.push(LevelFrame(start_ns, heard.level_db, heard.speech))
            self._frame_position += _FRAME_SAMPLES
        self._frame = pending[whole:].copy()
        return cuts


class _AlignedSplit:
    """A separator whose output is addressed by the position of the input it belongs to."""

    def __init__(self, separator: SpeechSeparator) -> None:
        self._separator = separator
        self._fed = 0
        self._produced = 0
        self._stretch_start_index = 0
        self._stretch_position = 0
        self._stretch_fed = 0

    def start_at(self, position: int) -> None:
        """A new continuous stretch begins at `position`; call `flush` first."""
        self._stretch_start_index = self._fed
        self._stretch_position = position
        self._stretch_fed = 0

    def push(self, mono: Samples) -> list[tuple[int, Samples]]:
        """Feed the stretch; returns (position, speech) blocks."""
        self._stretch_fed += len(mono)
        return self._feed(mono)

    def flush(self) -> list[tuple[int, Samples]]:
        """Push the tail of the stretch out of the separator's delay with silence."""
        if self._stretch_fed == 0:
            return []
        return self._feed(np.zeros(2 * self._separator.delay_samples, dtype=np.float32))

    def close(self) -> None:
        self._separator.close()

    def _feed(self, mono: Samples) -> list[tuple[int, Samples]]:
        self._fed += len(mono)
        speech = self._separator.process(mono)
        first_index = self._produced
        self._produced += len(speech)
        offset = first_index - self._stretch_start_index - self._separator.delay_samples
        skip = max(0, -offset)
        keep = min(len(speech), self._stretch_fed - offset)
        if skip >= keep:
            return []
        return [(self._stretch_position + offset + skip, speech[skip:keep])]
