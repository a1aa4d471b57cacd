"""Everything that figures are measured from, read once."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ
from livedub.timeline.clock import NS_PER_MS, Span, ns_to_samples
from livedub.verify.events import EventLog, FragmentEvent
from livedub.verify.recording import Recording, read_audio, read_recording
from livedub.verify.track import AudioTrack
from livedub.verify.video import SessionOffset, VideoComparison, compare_video

_PLAUSIBLE_DELAY_ERROR_NS = 100 * NS_PER_MS


class CannotTell(Exception):  # noqa: N818 - it is an answer, not a failure
    """These recordings do not hold what a figure needs; the message says what is missing."""


@dataclass(frozen=True)
class Evidence:
    """Two recordings, what connects their timelines, and the event log where there is one."""

    source: Recording
    output: Recording
    events: EventLog | None

    @classmethod
    def read(cls, source: Path, output: Path, events: EventLog | None) -> Evidence:
        """Read both files; raises `InvalidInputError` for one that cannot be read."""
        return cls(read_recording(source), read_recording(output), events)

    @cached_property
    def comparison(self) -> VideoComparison | None:
        """The frames of both, None where none is in both."""
        return compare_video(self.source, self.output)

    @cached_property
    def output_audio(self) -> AudioTrack:
        """The output's audio at its own timestamps (the longest take, should they have started over)."""
        takes = read_audio(self.output.path)
        if not takes:
            raise CannotTell("the output carries no audio")
        return max(takes, key=lambda take: len(take.samples))

    @cached_property
    def input_takes(self) -> tuple[AudioTrack, ...]:
        """The input's audio at its own timestamps."""
        takes = read_audio(self.source.path)
        if not takes:
            raise CannotTell("the input carries no audio")
        return takes

    @cached_property
    def input_on_output(self) -> AudioTrack:
        """The input's audio moved to where it is due in the output: over exactly the output's time."""
        comparison = self.comparison
        if comparison is None:
            raise CannotTell("no frame of the input is in the output, so their timelines cannot be aligned")
        output = self.output_audio
        moved = np.zeros((len(output.samples), PROGRAMME_CHANNELS), dtype=np.float32)
        for take_number, take in enumerate(self.input_takes):
            sessions = [session for session in comparison.sessions if session.take == take_number]
            for session, until_ns in zip(sessions, [s.start_ns for s in sessions[1:]] + [None], strict=True):
                first_ns = take.start_ns if session is sessions[0] else session.start_ns
                _move(take, first_ns, until_ns, session, output, moved)
        return AudioTrack(output.start_ns, moved)

    @property
    def wire_delay_ns(self) -> int:
        """D as the timestamps show it: output PTS minus media time."""
        if self.comparison is None:
            raise CannotTell("no frame of the input is in the output")
        if not (self.source.wire_timestamps and self.output.wire_timestamps):
            raise CannotTell(
                "only FLV keeps the stream's timestamps; this container starts each file at zero"
            )
        media_offset_ns = (
            self.events.sessions[0].media_offset_ns if self.events and self.events.sessions else 0
        )
        return self.comparison.offset_ns - media_offset_ns

    @property
    def log(self) -> EventLog:
        """The event log."""
        if self.events is None:
            raise CannotTell("no event log was given")
        return self.events

    @property
    def media_to_output_ns(self) -> int:
        """What to add to a media time of the event log to find it in the output: D."""
        delay_ns = self.wire_delay_ns
        stated_ns = self.log.delay_ns
        if stated_ns is None:
            raise CannotTell("the event log has no session line, so its times cannot be placed in the output")
        if abs(delay_ns - stated_ns) > _PLAUSIBLE_DELAY_ERROR_NS:
            raise CannotTell(
                "the recordings' timestamps are not on the event log's timeline "
                f"(D is {delay_ns / NS_PER_MS:.0f} ms in the files and {stated_ns / NS_PER_MS:.0f} ms in the log)"
            )
        return stated_ns

    def fragments_on_output(self) -> list[tuple[FragmentEvent, Span]]:
        """Every fragment that lies wholly in the output's audio, with its time there."""
        output = self.output_audio
        shift_ns = self.media_to_output_ns
        placed = [(fragment, fragment.span.shifted(shift_ns)) for fragment in self.log.fragments]
        return [
            (fragment, span)
            for fragment, span in placed
            if output.start_ns <= span.start_ns and span.end_ns <= output.end_ns
        ]


def session_at(sessions: tuple[SessionOffset, ...], at_ns: int) -> SessionOffset:
    """The session that an input time of the first take belongs to."""
    first_take = [session for session in sessions if session.take == sessions[0].take]
    return first_take[max(0, bisect_right([session.start_ns for session in first_take], at_ns) - 1)]


def _move(
    take: AudioTrack,
    first_ns: int,
    until_ns: int | None,
    session: SessionOffset,
    output: AudioTrack,
    moved: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    """Copy one session's part of a take to where it is due."""
    part = take.samples[
        max(0, take.position(first_ns)) : None if until_ns is None else take.position(until_ns)
    ]
    start_ns = max(first_ns, take.start_ns) + session.offset_ns
    at = ns_to_samples(start_ns - output.start_ns, PROGRAMME_RATE_HZ)
    begin, end = max(0, at), min(len(moved), at + len(part))
    if begin < end:
        moved[begin:end] = part[begin - at : end - at]
