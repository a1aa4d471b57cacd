"""Is every frame that left the one that came, and how far apart are their timestamps?"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import dropwhile, pairwise
from statistics import median_low

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.verify.alignment import align
from livedub.verify.recording import AccessUnit, Recording
from livedub.verify.track import TIMELINE_RESET_NS

_SESSION_GAP_NS = NS_PER_S
"""A step in the input's decoding times larger than this, or a step back, is another session of the publisher."""
_SAME_MOMENT_NS = 3 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class SessionOffset:
    """One session of the publisher: where it starts in the input file, and output minus input PTS during it.

    `take` counts how often the input's timestamps started over before it.
    """

    take: int
    start_ns: int
    offset_ns: int


@dataclass(frozen=True, slots=True)
class VideoComparison:
    """What became of the frames that were due in the output.

    `offset_ns` is output PTS minus input PTS: the constant delay plus whatever origin the timeline has;
    `offset_deviation_ns` the largest departure from it of any frame, each session of the publisher by itself.
    """

    frames_due: int
    frames_matched: int
    frames_altered: int
    frames_missing: int
    frames_foreign: int
    nal_total: int
    nal_identical: int
    offset_ns: int
    offset_deviation_ns: int
    sessions: tuple[SessionOffset, ...]

    @property
    def overlap(self) -> float:
        """Share of the frames due that are in the output."""
        return (self.frames_matched + self.frames_altered) / self.frames_due if self.frames_due else 0.0


def compare_video(source: Recording, output: Recording) -> VideoComparison | None:
    """Compare the coded pictures of two recordings of one stream; None where no frame is in both.

    The two recordings need not start or end together: frames count as due when their decoding time plus the
    offset lies between the output's first and last packet of any track. A viewer who joins between two keyframes
    hears at once and sees from the next keyframe on: what comes before it is not due either.
    """
    pairs = align(
        [(unit.nal_digests, unit.dts_ns) for unit in source.video],
        [(unit.nal_digests, unit.dts_ns) for unit in output.video],
    )
    if not pairs:
        return None
    sessions = _sessions(source.video)
    offsets = _session_offsets(sessions, source.video, output.video, pairs)
    covered = [
        index
        for index, unit in enumerate(source.video)
        if output.start_ns - _SAME_MOMENT_NS
        <= unit.dts_ns + offsets[index]
        <= output.end_ns + _SAME_MOMENT_NS
    ]
    first_matched = pairs[0][0]
    due = list(dropwhile(lambda index: index < first_matched and not source.video[index].keyframe, covered))
    counts = _Counts.of(source.video, output.video, pairs, offsets)
    deviations = [abs(output.video[j].pts_ns - source.video[i].pts_ns - offsets[i]) for i, j in pairs]
    return VideoComparison(
        frames_due=len(due),
        frames_matched=len(pairs),
        frames_altered=counts.altered,
        frames_missing=counts.missing,
        frames_foreign=counts.foreign,
        nal_total=counts.nal_total,
        nal_identical=counts.nal_identical,
        offset_ns=offsets[pairs[0][0]],
        offset_deviation_ns=max(deviations),
        sessions=tuple(
            SessionOffset(take, source.video[first].dts_ns, offsets[first]) for first, take in sessions
        ),
    )


def _sessions(source: tuple[AccessUnit, ...]) -> list[tuple[int, int]]:
    """(index of the first frame, take) of each publisher session."""
    sessions = [(0, 0)]
    for index, (before, after) in enumerate(pairwise(source), start=1):
        step_ns = after.dts_ns - before.dts_ns
        if step_ns < -TIMELINE_RESET_NS:
            sessions.append((index, sessions[-1][1] + 1))
        elif step_ns > _SESSION_GAP_NS:
            sessions.append((index, sessions[-1][1]))
    return sessions


def _session_offsets(
    sessions: list[tuple[int, int]],
    source: tuple[AccessUnit, ...],
    output: tuple[AccessUnit, ...],
    pairs: list[tuple[int, int]],
) -> list[int]:
    """Output minus input PTS expected of every input frame: the median over its publisher session's matches."""
    firsts = [first for first, _ in sessions]
    session_of = [bisect_right(firsts, index) - 1 for index in range(len(source))]
    matched: dict[int, list[int]] = {}
    for i, j in pairs:
        matched.setdefault(session_of[i], []).append(output[j].pts_ns - source[i].pts_ns)
    medians = {session: median_low(values) for session, values in matched.items()}
    nearest = [
        medians[min(medians, key=lambda known: abs(known - session))] for session in range(len(sessions))
    ]
    return [nearest[session] for session in session_of]


@dataclass(frozen=True, slots=True)
class _Counts:
    altered: int
    missing: int
    foreign: int
    nal_total: int
    nal_identical: int

    @classmethod
    def of(
        cls,
        source: tuple[AccessUnit, ...],
        output: tuple[AccessUnit, ...],
        pairs: list[tuple[int, int]],
        offsets: list[int],
    ) -> _Counts:
        """Count NAL units over the stretch in which the output carries video, both sides' unmatched frames included."""
        matched_in = {i for i, _ in pairs}
        matched_out = {j for _, j in pairs}
        first_ns, last_ns = output[0].dts_ns - _SAME_MOMENT_NS, output[-1].dts_ns + _SAME_MOMENT_NS
        lost = [
            i
            for i, unit in enumerate(source)
            if i not in matched_in and first_ns <= unit.dts_ns + offsets[i] <= last_ns
        ]
        strangers = [
            j for j in range(len(output)) if j not in matched_out and _inside(output[j], source, offsets)
        ]
        nal_identical = sum(len(source[i].nal_digests) for i, _ in pairs)
        nal_total = nal_identical
        altered = 0
        for i in lost:
            nal_total += len(source[i].nal_digests)
            due_ns = source[i].pts_ns + offsets[i]
            twin = next((j for j in strangers if abs(output[j].pts_ns - due_ns) <= _SAME_MOMENT_NS), None)
            if twin is not None:
                strangers.remove(twin)
                altered += 1
                common = Counter(source[i].nal_digests) & Counter(output[twin].nal_digests)
                nal_identical += common.total()
        nal_total += sum(len(output[j].nal_digests) for j in strangers)
        return cls(altered, len(lost) - altered, len(strangers), nal_total, nal_identical)


def _inside(unit: AccessUnit, source: tuple[AccessUnit, ...], offsets: list[int]) -> bool:
    """Whether an output frame falls into what the input recording covers: earlier and later ones it cannot know."""
    return (
        source[0].dts_ns + offsets[0] - _SAME_MOMENT_NS
        <= unit.dts_ns
        <= source[-1].dts_ns + offsets[-1] + _SAME_MOMENT_NS
    )
