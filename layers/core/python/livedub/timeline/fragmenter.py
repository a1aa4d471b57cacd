"""Cuts speech into fragments at pauses, while it is being spoken.

A fragment opens at the first speech frame, with up to `pre_roll_ns` of the silence before it, because a voice detector
is late by a syllable. It closes at the first pause that is long enough. What "long enough" means falls as the
utterance grows, from `pause_ns` to `short_pause_ns`: a sentence is worth waiting for at first, latency counts later.

When `max_ns` is reached all the same, the fragment is cut back at the best pause it holds, even one of a single frame,
and what follows that pause opens the next fragment. Only where speech never paused is a word cut, at the quietest
point. Silence between fragments belongs to none.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.clock import NS_PER_MS, Span

_FRAME_TOLERANCE_NS = NS_PER_MS
_NEIGHBOURS = (
    2  # frames each side of a boundary that decide how quiet it is: 80 ms, longer than a plosive's closure
)


@dataclass(frozen=True, slots=True)
class LevelFrame:
    """What a voice detector says about one frame: media time, level in dBFS, and whether it holds speech."""

    start_ns: int
    level_db: float
    speech: bool


@dataclass(frozen=True, slots=True)
class FragmenterConfig:
    """Bounds of a fragment; durations in nanoseconds, counted in whole frames.

    Attributes:
        min_ns: no pause shorter than twice `pause_ns` ends a fragment before this length, pre-roll and pause included.
        max_ns: no fragment is longer; follows from D (see `delay.fragment_max_ns`).
        pause_ns: a pause that ends an utterance of `min_ns`.
        short_pause_ns: a pause that ends an utterance of `max_ns`; a gap shorter than this does not split a span of
            `FragmentCut.speech`.
        pre_roll_ns: silence taken along before the first speech frame.
        frame_ns: length of a `LevelFrame`.

    Raises:
        ConfigurationError: values that contradict each other.
    """

    min_ns: int = 1000 * NS_PER_MS
    max_ns: int = 4000 * NS_PER_MS
    pause_ns: int = 300 * NS_PER_MS
    short_pause_ns: int = 100 * NS_PER_MS
    pre_roll_ns: int = 120 * NS_PER_MS
    frame_ns: int = 20 * NS_PER_MS

    def __post_init__(self) -> None:
        if not 0 < self.frame_ns <= self.short_pause_ns <= self.pause_ns:
            raise ConfigurationError(
                f"frame_ns ({self.frame_ns}), short_pause_ns ({self.short_pause_ns}) and pause_ns ({self.pause_ns})"
                " are not positive and rising.",
                remedy="Set 0 < frame_ns <= short_pause_ns <= pause_ns.",
            )
        if not 0 <= self.pre_roll_ns < self.min_ns <= self.max_ns or self.max_ns < self.frame_ns:
            raise ConfigurationError(
                f"pre_roll_ns ({self.pre_roll_ns}), min_ns ({self.min_ns}) and max_ns ({self.max_ns}) leave no room"
                " for speech.",
                remedy="Set 0 <= pre_roll_ns < min_ns <= max_ns, and max_ns to a frame at least.",
            )


class CutReason(str, Enum):
    """Why a fragment ended where it did."""

    PAUSE = "pause"
    """A pause of `pause_ns` or more."""
    SHORT_PAUSE = "short_pause"
    """A shorter pause, because the utterance had grown long or `max_ns` was reached."""
    QUIETEST = "quietest"
    """`max_ns` was reached and speech had not paused: the quietest point, perhaps inside a word."""
    FLUSH = "flush"
    """The stream ended, or the caller would not wait."""
    DISCONTINUITY = "discontinuity"
    """The next frame did not follow on."""


@dataclass(frozen=True, slots=True)
class FragmentCut:
    """A fragment of the media timeline.

    Attributes:
        start_ns: first sample, pre-roll included.
        end_ns: end of speech plus the pause seen so far, which a dub longer than its source may use.
        speech: where speech lies, in absolute media time.
        reason: why it ended.
    """

    start_ns: int
    end_ns: int
    speech: tuple[Span, ...]
    reason: CutReason


class Fragmenter:
    """Turns a run of `LevelFrame`s into fragments: rising, never overlapping, every speech frame in exactly one.

    A frame that does not start where the one before ended (to a millisecond) ends the open fragment.
    """

    def __init__(self, config: FragmenterConfig | None = None) -> None:
        self._config = config or FragmenterConfig()
        self._max_frames = self._config.max_ns // self._config.frame_ns
        self._min_frames = min(-(-self._config.min_ns // self._config.frame_ns), self._max_frames)
        self._pre_roll_frames = self._config.pre_roll_ns // self._config.frame_ns
        self._silence: deque[LevelFrame] = deque(maxlen=self._pre_roll_frames)
        self._frames: list[LevelFrame] = []  # the open fragment; empty, or holding speech
        self._next_ns: int | None = None

    def push(self, frame: LevelFrame) -> list[FragmentCut]:
        """Take the next frame; returns the fragments it completed (none, mostly).

        Raises:
            InvalidInputError: the frame starts before the end of the one before it.
        """
        cuts = self._break_if_apart(frame)
        start_ns = frame.start_ns if self._next_ns is None else self._next_ns
        self._next_ns = start_ns + self._config.frame_ns
        frame = LevelFrame(start_ns, frame.level_db, frame.speech)
        if not self._frames and not frame.speech:
            self._silence.append(frame)
            return cuts
        if not self._frames:
            self._frames.extend(self._silence)
            self._silence.clear()
        self._frames.append(frame)
        return cuts + self._cut_if_due()

    def flush(self) -> list[FragmentCut]:
        """End the open fragment, if there is one, where it stands and whatever its length."""
        return self._end_run(CutReason.FLUSH)

    def _break_if_apart(self, frame: LevelFrame) -> list[FragmentCut]:
        apart_ns = 0 if self._next_ns is None else frame.start_ns - self._next_ns
        if abs(apart_ns) <= _FRAME_TOLERANCE_NS:
            return []
        if apart_ns < 0:
            raise InvalidInputError(
                f"The frame at start_ns {frame.start_ns} overlaps the one before it by {-apart_ns} ns.",
                remedy="Push frames in the order of time, each once.",
            )
        self._next_ns = None
        return self._end_run(CutReason.DISCONTINUITY)

    def _end_run(self, reason: CutReason) -> list[FragmentCut]:
        self._silence.clear()
        return [self._cut(len(self._frames), reason)] if self._frames else []

    def _cut_if_due(self) -> list[FragmentCut]:
        count = len(self._frames)
        pause = next(i for i, frame in enumerate(reversed(self._frames)) if frame.speech)
        pause_ns = pause * self._config.frame_ns
        long_enough = count >= self._min_frames or pause_ns >= 2 * self._config.pause_ns
        if long_enough and pause_ns >= self._required_pause_ns(count - pause):
            return [self._cut(count, self._pause_reason(pause))]
        return [self._cut_back()] if count >= self._max_frames else []

    def _required_pause_ns(self, utterance: int) -> int:
        """The pause that ends an utterance of so many frames: falls in a straight line from min to max."""
        config = self._config
        span_ns = config.max_ns - config.min_ns
        grown_ns = min(max(utterance * config.frame_ns - config.min_ns, 0), span_ns)
        fallen_ns = (config.pause_ns - config.short_pause_ns) * grown_ns // max(1, span_ns)
        return config.pause_ns - fallen_ns

    def _cut_back(self) -> FragmentCut:
        """Cut a fragment that reached its limit: at its longest pause, the later of equals, else where it is quietest."""
        options = [(end - begin, at) for begin, end in self._pauses() if (at := self._cut_point(begin, end))]
        if options:
            pause, at = max(options)
            return self._cut(at, self._pause_reason(pause))
        return self._cut(self._quietest(), CutReason.QUIETEST)

    def _pauses(self) -> list[tuple[int, int]]:
        """Index ranges of the frames without speech, less the pre-roll."""
        runs: list[tuple[int, int]] = []
        begin = 0
        for speech, run in groupby(self._frames, key=lambda frame: frame.speech):
            end = begin + sum(1 for _ in run)
            if not speech and begin > 0:
                runs.append((begin, end))
            begin = end
        return runs

    def _cut_point(self, begin: int, end: int) -> int | None:
        """Where a pause may be cut so that what follows keeps a pre-roll, at most half of the pause.

        None if the pause lies before `min_ns` and is no full one: a fragment that short needs a better reason.
        """
        pre_roll = 0 if end == len(self._frames) else min(self._pre_roll_frames, (end - begin) // 2)
        if end >= self._min_frames:
            return max(end - pre_roll, self._min_frames)
        return end - pre_roll if (end - begin) * self._config.frame_ns >= self._config.pause_ns else None

    def _quietest(self) -> int:
        """The boundary, from `min_ns` on, with the least level around it; the later of equals."""
        levels = [frame.level_db for frame in self._frames]

        def loudness_db(boundary: int) -> float:
            around = levels[max(0, boundary - _NEIGHBOURS) : boundary + _NEIGHBOURS]
            return sum(around) / len(around)

        return min(range(len(levels), self._min_frames - 1, -1), key=loudness_db)

    def _pause_reason(self, pause: int) -> CutReason:
        full = pause * self._config.frame_ns >= self._config.pause_ns
        return CutReason.PAUSE if full else CutReason.SHORT_PAUSE

    def _cut(self, count: int, reason: CutReason) -> FragmentCut:
        """Close the open fragment after `count` frames; the others stay open."""
        head, self._frames = self._frames[:count], self._frames[count:]
        end_ns = head[-1].start_ns + self._config.frame_ns
        return FragmentCut(head[0].start_ns, end_ns, self._speech_spans(head), reason)

    def _speech_spans(self, frames: list[LevelFrame]) -> tuple[Span, ...]:
        spans: list[Span] = []
        for frame in frames:
            if not frame.speech:
                continue
            end_ns = frame.start_ns + self._config.frame_ns
            if spans and frame.start_ns - spans[-1].end_ns < self._config.short_pause_ns:
                spans[-1] = Span(spans[-1].start_ns, end_ns)
            else:
                spans.append(Span(frame.start_ns, end_ns))
        return tuple(spans)
