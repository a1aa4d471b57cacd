import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.brevity import MAX_TEMPO, Candidate, choose, needed_tempo
from livedub.errors import InvalidInputError
from livedub.timeline.slot import Slot

SLOT = Slot(fragment_ms=4_000, speech_start_ms=0, speech_end_ms=3_500, room_end_ms=4_000)


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    fragment_ms = draw(st.integers(500, 6_000))
    start = draw(st.integers(0, fragment_ms - 1))
    return Slot(
        fragment_ms, start, draw(st.integers(start + 1, fragment_ms)), fragment_ms + draw(st.integers(0, 800))
    )


CANDIDATES = st.lists(
    st.builds(Candidate, st.text(max_size=3), st.integers(1, 9_000), st.sampled_from([0.0, 1.0, 3.0])),
    min_size=1,
    max_size=5,
)


def test_speech_that_fits_its_room_needs_no_haste():
    assert needed_tempo(4_000, SLOT) == 1.0
    assert needed_tempo(5_000, SLOT) == 1.25
    assert needed_tempo(4_400, Slot(4_000, 0, 3_500, 4_400)) == 1.0
    assert needed_tempo(100, Slot(4_000, 4_000, 4_000, 4_000)) == math.inf


def test_the_translation_itself_is_kept_where_it_fits():
    natural, short = Candidate("natural", 4_800), Candidate("short", 3_000)
    assert choose([natural, short], SLOT) is natural


def test_a_shorter_wording_is_taken_where_it_does_not():
    natural, short = Candidate("natural", 5_200), Candidate("short", 4_900)
    assert choose([natural, short], SLOT) is short


def test_a_wording_with_a_wrong_number_gives_way_to_a_later_one_without():
    wrong, right = Candidate("wrong", 4_000, 3.0), Candidate("right", 4_500, 0.0)
    assert choose([Candidate("natural", 6_000), wrong, right], SLOT) is right


def test_where_none_fits_the_shortest_is_taken():
    candidates = [Candidate("a", 7_000), Candidate("b", 5_600), Candidate("c", 6_000)]
    assert choose(candidates, SLOT).text == "b"


def test_a_wording_that_left_out_most_is_none():
    assert choose([Candidate("natural", 6_000), Candidate("oh", 300)], SLOT).text == "natural"


def test_no_candidate_is_an_error():
    with pytest.raises(InvalidInputError, match="candidates"):
        choose([], SLOT)


@given(CANDIDATES, slots(), st.floats(1.0, 1.6))
def test_the_choice_fits_wherever_a_credible_wording_does_and_is_the_best_of_those(
    candidates: list[Candidate], slot: Slot, max_tempo: float
):
    chosen = choose(candidates, slot, max_tempo)
    assert chosen in candidates
    credible = [one for one in candidates if one.natural_ms >= 0.4 * candidates[0].natural_ms]
    fitting = [one for one in credible if needed_tempo(one.natural_ms, slot) <= max_tempo]
    if fitting:
        assert chosen in fitting
        assert chosen.penalty == min(one.penalty for one in fitting)
    else:
        assert chosen.natural_ms == min(one.natural_ms for one in credible)


@given(CANDIDATES, slots())
def test_the_choice_never_needs_more_haste_than_the_translation_itself_unless_both_fit(
    candidates: list[Candidate], slot: Slot
):
    chosen = choose(candidates, slot)
    needed = needed_tempo(chosen.natural_ms, slot)
    assert needed <= max(MAX_TEMPO, needed_tempo(candidates[0].natural_ms, slot))
