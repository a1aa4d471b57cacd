"""Where speech is: 20 ms level frames with a speech decision, for the fragmenter."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from livedub.audio.pcm import Samples

_SILENCE_DB = -120.0


@dataclass(frozen=True, slots=True)
class ActivityConfig:
    """Thresholds in dB; the defaults suit separated speech and clean programme audio alike.

    A frame is speech when it lies over the absolute threshold, over the noise floor by `over_floor_db`, and within
    `under_peak_db` of the recent speech peak (what a separator leaks in pauses lies further below).
    """

    absolute_db: float = -52.0
    over_floor_db: float = 8.0
    under_peak_db: float = 32.0
    floor_window_frames: int = 250
    peak_decay_db: float = 0.06
    attack_frames: int = 2
    hold_frames: int = 4


@dataclass(frozen=True, slots=True)
class ActivityFrame:
    """Level of one frame and whether it counts as speech."""

    level_db: float
    speech: bool


class SpeechActivity:
    """Level-based speech detection with an adaptive floor (minimum statistics, Martin 2001) and a hold."""

    def __init__(self, config: ActivityConfig | None = None) -> None:
        self._config = config or ActivityConfig()
        self._levels: deque[float] = deque(maxlen=self._config.floor_window_frames)
        self._peak_db = _SILENCE_DB
        self._run = 0
        self._hold = 0

    def interrupt(self) -> None:
        """The next frame does not follow on: nothing is held over, the learned levels stay."""
        self._run = 0
        self._hold = 0

    def push(self, frame: Samples) -> ActivityFrame:
        """Judge the next frame of mono samples."""
        mean_square = float(np.dot(frame, frame)) / max(1, frame.size)
        level_db = max(_SILENCE_DB, 10.0 * math.log10(mean_square + 1e-12))
        return ActivityFrame(level_db, self._is_speech(level_db))

    def _is_speech(self, level_db: float) -> bool:
        config = self._config
        self._levels.append(level_db)
        floor_db = min(self._levels)
        self._peak_db = max(level_db, self._peak_db - config.peak_decay_db)
        loud = (
            level_db > config.absolute_db
            and level_db > floor_db + config.over_floor_db
            and level_db > self._peak_db - config.under_peak_db
        )
        self._run = self._run + 1 if loud else 0
        if self._run >= config.attack_frames:
            self._hold = config.hold_frames
            return True
        if self._hold > 0:
            self._hold -= 1
            return True
        return False
