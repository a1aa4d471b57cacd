"""Where in its fragment a dub goes."""

from __future__ import annotations

from dataclasses import dataclass

from livedub.timeline.clock import NS_PER_MS


@dataclass(frozen=True, slots=True)
class Slot:
    """Milliseconds from the fragment's start.

    `room_end_ms` is the last moment at which the dub may sound, past the fragment's end where the pause that
    follows is free.
    """

    fragment_ms: int
    speech_start_ms: int
    speech_end_ms: int
    room_end_ms: int

    @property
    def speech_ns(self) -> int:
        """How long the source spoke."""
        return (self.speech_end_ms - self.speech_start_ms) * NS_PER_MS

    @property
    def room_ns(self) -> int:
        """From the source's first word to the end of the room."""
        return (self.room_end_ms - self.speech_start_ms) * NS_PER_MS
