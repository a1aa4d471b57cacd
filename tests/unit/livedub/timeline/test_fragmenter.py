from __future__ import annotations

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.clock import NS_PER_MS, Span
from livedub.timeline.fragmenter import CutReason, FragmentCut, Fragmenter, FragmenterConfig, LevelFrame

FRAME_MS = 20
LOUD_DB = -20.0
SILENT_DB = -70.0


class Microphone:
    """Feeds a fragmenter with runs of speech and silence; times in milliseconds."""

    def __init__(self, config: FragmenterConfig | None = None, start_ms: int = 0) -> None:
        self._fragmenter = Fragmenter(config)
        self._now_ms = start_ms
        self.cuts: list[FragmentCut] = []
        self.cut_at_ms: list[int] = []

    def speak(self, duration_ms: int, level_db: float = LOUD_DB) -> Microphone:
        return self._run(duration_ms, LevelFrame(0, level_db, speech=True))

    def pause(self, duration_ms: int) -> Microphone:
        return self._run(duration_ms, LevelFrame(0, SILENT_DB, speech=False))

    def skip(self, duration_ms: int) -> Microphone:
        self._now_ms += duration_ms
        return self

    def flush(self) -> Microphone:
        self._take(self._fragmenter.flush())
        return self

    def _run(self, duration_ms: int, frame: LevelFrame) -> Microphone:
        assert duration_ms % FRAME_MS == 0
        for _ in range(duration_ms // FRAME_MS):
            frame = LevelFrame(self._now_ms * NS_PER_MS, frame.level_db, frame.speech)
            self._now_ms += FRAME_MS
            self._take(self._fragmenter.push(frame))
        return self

    def _take(self, cuts: list[FragmentCut]) -> None:
        self.cuts.extend(cuts)
        self.cut_at_ms.extend(self._now_ms for _ in cuts)

    @property
    def bounds_ms(self) -> list[tuple[int, int, CutReason]]:
        return [(cut.start_ns // NS_PER_MS, cut.end_ns // NS_PER_MS, cut.reason) for cut in self.cuts]


def spans_ms(*bounds: tuple[int, int]) -> tuple[Span, ...]:
    return tuple(Span(start * NS_PER_MS, end * NS_PER_MS) for start, end in bounds)


def test_silence_is_no_fragment():
    assert Microphone().pause(60_000).flush().cuts == []


def test_a_sentence_ends_at_its_pause_with_pre_roll_and_the_pause_seen_so_far():
    microphone = Microphone().pause(1000).speak(1500).pause(2000)

    # 1620 ms of utterance: the pause required has fallen from 300 ms to 259, which takes 13 frames
    assert microphone.bounds_ms == [(880, 2760, CutReason.SHORT_PAUSE)]
    assert microphone.cuts[0].speech == spans_ms((1000, 2500))
    assert microphone.cut_at_ms == [2760]


def test_a_short_utterance_waits_for_a_full_pause():
    microphone = Microphone().speak(900).pause(280).speak(400).pause(280)

    assert microphone.bounds_ms == [(0, 1860, CutReason.SHORT_PAUSE)]
    assert microphone.cuts[0].speech == spans_ms((0, 900), (1180, 1580))


def test_a_word_alone_becomes_a_short_fragment_after_a_long_pause():
    microphone = Microphone().speak(200).pause(2000)

    assert microphone.bounds_ms == [(0, 800, CutReason.PAUSE)]


def test_a_word_with_a_sentence_soon_after_is_not_torn_off():
    microphone = Microphone().speak(200).pause(560).speak(1000).pause(400)

    assert microphone.bounds_ms[0][0] == 0
    assert microphone.cuts[0].speech == spans_ms((0, 200), (760, 1760))
    assert len(microphone.cuts) == 1


@pytest.mark.parametrize(("speech_ms", "pause_ms"), [(1000, 300), (2500, 200), (3400, 140)])
def test_the_pause_required_falls_as_the_fragment_grows(speech_ms: int, pause_ms: int):
    too_short = Microphone().speak(speech_ms).pause(pause_ms - FRAME_MS).speak(FRAME_MS)
    long_enough = Microphone().speak(speech_ms).pause(pause_ms)

    assert all(end > speech_ms + pause_ms for _, end, _ in too_short.bounds_ms)
    assert [end for _, end, _ in long_enough.bounds_ms] == [speech_ms + pause_ms]


def test_at_the_limit_the_longest_earlier_pause_is_used_and_the_rest_goes_on():
    microphone = Microphone().speak(1500).pause(80).speak(800).pause(140).speak(1480).pause(1000)

    # The pause of 140 ms: half of it is pre-roll for what follows.
    assert microphone.bounds_ms[0] == (0, 2460, CutReason.SHORT_PAUSE)
    assert microphone.cut_at_ms[0] == 4000
    assert microphone.bounds_ms[1][0] == 2460
    assert microphone.cuts[1].speech == spans_ms((2520, 4000))


def test_even_a_pause_of_one_frame_spares_a_word():
    microphone = Microphone().speak(2000).pause(20).speak(3000)

    assert microphone.bounds_ms == [(0, 2020, CutReason.SHORT_PAUSE)]


def test_of_equal_pauses_the_later_is_used():
    microphone = Microphone().speak(1500).pause(60).speak(1500).pause(60).speak(880)

    assert microphone.bounds_ms == [(0, 3100, CutReason.SHORT_PAUSE)]


def test_a_pause_at_the_limit_itself_is_used_whole():
    microphone = Microphone().speak(1500).pause(60).speak(2360).pause(80)

    assert microphone.bounds_ms == [(0, 4000, CutReason.SHORT_PAUSE)]


def test_a_full_pause_before_the_minimum_is_better_than_a_cut_word():
    microphone = Microphone().speak(300).pause(400).speak(4000)

    assert microphone.bounds_ms[0] == (0, 580, CutReason.PAUSE)
    assert microphone.cuts[1].start_ns == 580 * NS_PER_MS


def test_an_early_pause_that_is_not_a_full_one_is_no_place_to_cut():
    microphone = Microphone().speak(300).pause(280).speak(4000)

    assert microphone.bounds_ms == [(0, 4000, CutReason.QUIETEST)]


def test_bounds_are_inclusive():
    at_the_minimum = Microphone().speak(700).pause(400)
    back_to_the_minimum = Microphone().speak(900).pause(100).speak(4000)
    full_early_pause = Microphone().speak(300).pause(300).speak(4000)

    assert at_the_minimum.bounds_ms == [(0, 1000, CutReason.PAUSE)]
    assert back_to_the_minimum.bounds_ms[0] == (0, 1000, CutReason.SHORT_PAUSE)
    assert full_early_pause.bounds_ms[0] == (0, 480, CutReason.PAUSE)


def test_a_delay_that_leaves_no_choice_of_length_still_dubs():
    config = FragmenterConfig(min_ns=1010 * NS_PER_MS, max_ns=1010 * NS_PER_MS)
    microphone = Microphone(config).speak(1500).pause(700)

    assert [(start, end) for start, end, _ in microphone.bounds_ms] == [(0, 1000), (1000, 2000)]


def test_a_gap_within_a_phrase_does_not_split_it():
    microphone = Microphone().speak(500).pause(80).speak(500).pause(100).speak(500).flush()

    assert microphone.cuts[0].speech == spans_ms((0, 1080), (1180, 1680))


def test_speech_that_never_pauses_is_cut_where_it_is_quietest():
    microphone = (
        Microphone().speak(500).speak(200, -60.0).speak(1800).speak(80, -30.0).speak(1420).speak(60, -35.0)
    )

    # Not at 500-700 ms, which is quieter but before the minimum, nor at the latest quiet point, which is yet to come.
    assert microphone.bounds_ms == [(0, 2540, CutReason.QUIETEST)]
    assert microphone.cut_at_ms == [4000]


def test_what_follows_a_cut_word_joins_without_a_gap():
    microphone = Microphone().speak(9000).flush()

    assert microphone.bounds_ms == [
        (0, 4000, CutReason.QUIETEST),
        (4000, 8000, CutReason.QUIETEST),
        (8000, 9000, CutReason.FLUSH),
    ]


def test_pre_roll_is_not_taken_from_the_fragment_before():
    microphone = Microphone().speak(1500).pause(260).pause(60).speak(1500).pause(400)

    assert microphone.bounds_ms[0][1] == 1780
    assert microphone.bounds_ms[1][0] == 1780


def test_a_discontinuity_flushes_and_leaves_no_pre_roll_behind():
    microphone = Microphone().speak(400).pause(100).skip(500).pause(40).speak(1000).flush()

    assert microphone.bounds_ms == [
        (0, 500, CutReason.DISCONTINUITY),
        (1000, 2040, CutReason.FLUSH),
    ]


def test_a_flush_does_not_end_the_run():
    microphone = Microphone().speak(100).flush().flush().pause(60).speak(100).flush()

    assert microphone.bounds_ms == [(0, 100, CutReason.FLUSH), (100, 260, CutReason.FLUSH)]


def test_rounded_frame_times_are_no_discontinuity():
    fragmenter = Fragmenter()
    cuts = [
        cut
        for index in range(50)
        for cut in fragmenter.push(LevelFrame(index * 20_000_000 + index % 2, 0.0, True))
    ]

    assert cuts == []
    assert fragmenter.flush() == [FragmentCut(0, 10**9, (Span(0, 10**9),), CutReason.FLUSH)]


def test_frames_that_creep_are_a_discontinuity_before_they_are_a_millisecond_off():
    fragmenter = Fragmenter()
    cuts = [cut for index in range(60) for cut in fragmenter.push(LevelFrame(index * 20_050_000, 0.0, True))]

    assert [cut.reason for cut in cuts] == [CutReason.DISCONTINUITY] * 2


def test_a_frame_from_the_past_is_refused():
    fragmenter = Fragmenter()
    fragmenter.push(LevelFrame(0, 0.0, speech=True))

    with pytest.raises(InvalidInputError, match="overlaps the one before it by 20000000 ns"):
        fragmenter.push(LevelFrame(0, 0.0, speech=True))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"frame_ns": 0}, "frame_ns"),
        ({"short_pause_ns": 400 * NS_PER_MS}, "short_pause_ns"),
        ({"min_ns": 4001 * NS_PER_MS}, "min_ns"),
        ({"min_ns": 1, "max_ns": 10, "pre_roll_ns": 0}, "max_ns"),
        ({"pre_roll_ns": 1000 * NS_PER_MS}, "pre_roll_ns"),
    ],
)
def test_bounds_that_contradict_each_other_are_named(settings: dict[str, int], named: str):
    with pytest.raises(ConfigurationError, match=named):
        FragmenterConfig(**settings)
