from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.fragmenter import CutReason, FragmentCut, Fragmenter, FragmenterConfig, LevelFrame

FRAME_NS = 20 * NS_PER_MS

FRAMES = st.integers(1, 100)  # durations, in frames


@st.composite
def configs(draw: st.DrawFn) -> FragmenterConfig:
    short_pause = draw(st.integers(1, 10))
    pre_roll = draw(st.integers(0, 10))
    minimum = draw(st.integers(pre_roll + 1, 60))
    return FragmenterConfig(
        min_ns=minimum * FRAME_NS,
        max_ns=(minimum + draw(st.integers(0, 150))) * FRAME_NS,
        pause_ns=(short_pause + draw(st.integers(0, 20))) * FRAME_NS,
        short_pause_ns=short_pause * FRAME_NS,
        pre_roll_ns=pre_roll * FRAME_NS,
        frame_ns=FRAME_NS,
    )


@st.composite
def recordings(draw: st.DrawFn) -> list[LevelFrame]:
    """Runs of speech, silence and missing time, with levels that vary."""
    start_ns = draw(st.integers(0, 10**15))
    frames: list[LevelFrame] = []
    runs = st.tuples(
        st.sampled_from(["speech", "speech", "silence", "silence", "hole"]), FRAMES, st.integers(-70, 0)
    )
    for kind, length, level_db in draw(st.lists(runs, max_size=30)):
        for index in range(length):
            if kind != "hole":
                level = level_db - (index * 7 + length) % 11
                frames.append(LevelFrame(start_ns, float(level), speech=kind == "speech"))
            start_ns += FRAME_NS
    return frames


def fragment(config: FragmenterConfig, frames: list[LevelFrame]) -> tuple[list[FragmentCut], list[int]]:
    """The cuts, and after how many frames each was known."""
    fragmenter = Fragmenter(config)
    known: list[int] = []
    cuts: list[FragmentCut] = []
    for index, frame in enumerate(frames):
        cuts += fragmenter.push(frame)
        known += [index + 1] * (len(cuts) - len(known))
    cuts += fragmenter.flush()
    known += [len(frames)] * (len(cuts) - len(known))
    return cuts, known


def inside(frames: list[LevelFrame], start_ns: int, end_ns: int) -> list[LevelFrame]:
    return [frame for frame in frames if start_ns <= frame.start_ns < end_ns]


@settings(deadline=None)
@given(config=configs(), frames=recordings())
def test_fragments_rise_and_stay_within_bounds(config: FragmenterConfig, frames: list[LevelFrame]):
    cuts, _ = fragment(config, frames)

    assert all(left.end_ns <= right.start_ns for left, right in pairwise(cuts))
    for cut in cuts:
        assert FRAME_NS <= cut.end_ns - cut.start_ns <= config.max_ns
        if cut.end_ns - cut.start_ns < config.min_ns:
            assert cut.reason in {CutReason.PAUSE, CutReason.FLUSH, CutReason.DISCONTINUITY}


@settings(deadline=None)
@given(config=configs(), frames=recordings())
def test_every_frame_of_speech_is_in_exactly_one_fragment(config: FragmenterConfig, frames: list[LevelFrame]):
    cuts, _ = fragment(config, frames)

    for frame in frames:
        if frame.speech:
            holders = [cut for cut in cuts if cut.start_ns <= frame.start_ns < cut.end_ns]
            assert len(holders) == 1
            assert sum(span.contains(frame.start_ns) for span in holders[0].speech) == 1


@settings(deadline=None)
@given(config=configs(), frames=recordings())
def test_speech_spans_begin_and_end_with_speech(config: FragmenterConfig, frames: list[LevelFrame]):
    speech_starts = {frame.start_ns for frame in frames if frame.speech}
    cuts, _ = fragment(config, frames)

    for cut in cuts:
        assert cut.speech
        for span in cut.speech:
            assert span.start_ns in speech_starts
            assert span.end_ns - FRAME_NS in speech_starts
            assert cut.start_ns <= span.start_ns < span.end_ns <= cut.end_ns
        assert all(
            right.start_ns - left.end_ns >= config.short_pause_ns for left, right in pairwise(cut.speech)
        )
        assert cut.speech[0].start_ns - cut.start_ns <= config.pre_roll_ns


@settings(deadline=None)
@given(config=configs(), frames=recordings())
def test_a_word_is_cut_only_where_no_pause_could_spare_it(config: FragmenterConfig, frames: list[LevelFrame]):
    cuts, known = fragment(config, frames)

    for cut, count in zip(cuts, known, strict=True):
        held = inside(frames[:count], cut.start_ns, cut.start_ns + config.max_ns)
        if cut.reason is CutReason.QUIETEST:
            eligible = inside(held, cut.start_ns + config.min_ns - FRAME_NS, cut.start_ns + config.max_ns)
            assert len(held) * FRAME_NS == config.max_ns // FRAME_NS * FRAME_NS
            assert all(frame.speech for frame in eligible)
        elif cut.reason in {CutReason.PAUSE, CutReason.SHORT_PAUSE}:
            assert not inside(held, cut.start_ns, cut.end_ns)[-1].speech


@settings(deadline=None)
@given(config=configs(), frames=recordings())
def test_a_pause_that_is_long_enough_ends_the_fragment_at_once(
    config: FragmenterConfig, frames: list[LevelFrame]
):
    cuts, known = fragment(config, frames)

    for cut, count in zip(cuts, known, strict=True):
        pause_ns = cut.end_ns - cut.speech[-1].end_ns
        assert pause_ns <= max(2 * config.pause_ns, config.min_ns)
        if cut.reason is CutReason.PAUSE:
            assert pause_ns >= config.pause_ns - config.pre_roll_ns
        if cut.reason in {CutReason.PAUSE, CutReason.SHORT_PAUSE, CutReason.QUIETEST}:
            assert frames[count - 1].start_ns + FRAME_NS - cut.start_ns <= config.max_ns


@settings(deadline=None)
@given(config=configs(), frames=recordings(), at=st.integers(0, 500))
def test_what_is_cut_does_not_depend_on_what_comes_later(
    config: FragmenterConfig, frames: list[LevelFrame], at: int
):
    cuts, known = fragment(config, frames)
    earlier, _ = fragment(config, frames[:at])

    settled = [cut for cut, count in zip(cuts, known, strict=True) if count <= min(at, len(frames) - 1)]
    assert earlier[: len(settled)] == settled
