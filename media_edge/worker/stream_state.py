"""What a stream is doing, in the words of its progress lines."""

from __future__ import annotations

from enum import Enum


class StreamState(str, Enum):
    """What an operator wants to know first."""

    WAITING = "waiting"
    BUFFERING = "buffering"
    LIVE = "live"
    INPUT_ABSENT = "input_absent"
    OUTPUT_DOWN = "output_down"
    DRAINING = "draining"
    ENDED = "ended"
