"""Where a file is cut for dubbing: in pauses, about evenly, never within a fragment."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from livedub.library.work.dub_plan import borders
from livedub.timeline.clock import NS_PER_S, Span

RANGE_NS = 60 * NS_PER_S


def spans(lengths: list[tuple[int, int]]) -> tuple[list[Span], int]:
    """Fragments of so many milliseconds, each behind a pause of so many; and where the last one ends."""
    found: list[Span] = []
    at = 0
    for pause_ms, length_ms in lengths:
        start = at + pause_ms * 1_000_000
        at = start + length_ms * 1_000_000
        found.append(Span(start, at))
    return found, at


@given(
    st.lists(st.tuples(st.integers(0, 90_000), st.integers(200, 8_000)), max_size=60), st.integers(0, 200_000)
)
def test_ranges_are_even_and_no_fragment_is_cut(lengths: list[tuple[int, int]], tail_ms: int):
    fragments, last = spans(lengths)
    last += tail_ms * 1_000_000
    found = borders(fragments, 0, last, RANGE_NS)
    edges = [0, *found, last]
    assert edges == sorted(edges)
    assert not any(span.start_ns < border < span.end_ns for span in fragments for border in found)
    ranges = [end - start for start, end in pairwise(edges)]
    assert all(length >= RANGE_NS * 3 // 4 for length in ranges[:-1])
    # A fragment is 8 s at most, so there is a place to cut at least that often.
    assert all(length <= RANGE_NS * 5 // 4 + 8 * NS_PER_S for length in ranges)


def test_the_longest_pause_around_is_taken():
    talk = [(500, 5_000)] * 9 + [(2_000, 5_000)] + [(500, 5_000)] * 9
    fragments, last = spans(talk)
    (border,) = borders(fragments, 0, last, RANGE_NS)
    assert fragments[8].end_ns + NS_PER_S == border


def test_music_without_a_word_is_cut_too():
    assert borders([], 0, 10 * RANGE_NS, RANGE_NS) == [at * RANGE_NS for at in range(1, 10)]


def test_a_short_file_is_one_range():
    assert borders([Span(0, NS_PER_S)], 0, RANGE_NS, RANGE_NS) == []
