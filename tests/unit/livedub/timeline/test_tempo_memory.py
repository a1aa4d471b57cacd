from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.brevity import needed_tempo
from livedub.audio.fit import plan_tempo
from livedub.timeline.isochrony import ANY_TEMPO
from livedub.timeline.slot import Slot
from livedub.timeline.tempo_memory import FORGET_AFTER_S, MAX_CHANGE, TempoMemory

STREAM = ("stadium", 3)
ANYTHING = (0.8, 1.6)


def smooth(
    memory: TempoMemory, wanted: float, number: int, now_s: float = 0.0, **bounds: tuple[float, float]
) -> float:
    """The allowed tempo nearest to `wanted`, within `bounds` even where the neighbour's tempo is outside."""
    near = memory.allowed(STREAM, "en", sequence_number=number, now_s=now_s)
    low, high = bounds.get("bounds", ANYTHING)
    tempo = max(low, min(high, near.clamp(wanted)))
    memory.learn(STREAM, "en", tempo, sequence_number=number, now_s=now_s)
    return tempo


@given(st.lists(st.floats(0.8, 1.6), min_size=1, max_size=40))
def test_neighbours_never_differ_by_more_than_8_percent(wanted: list[float]):
    memory = TempoMemory()
    tempos = [smooth(memory, tempo, number) for number, tempo in enumerate(wanted)]
    assert tempos[0] == wanted[0]
    for before, after in pairwise(tempos):
        assert 1 / (1 + MAX_CHANGE) - 1e-9 <= after / before <= 1 + MAX_CHANGE + 1e-9


@given(
    st.lists(st.tuples(st.integers(300, 9_000), st.integers(500, 6_000), st.integers(0, 500)), max_size=30)
)
def test_planned_dubs_change_by_8_percent_at_most_unless_words_would_be_lost(
    fragments: list[tuple[int, int, int]],
):
    memory, before = TempoMemory(), None
    for number, (natural_ms, fragment_ms, overflow_ms) in enumerate(fragments):
        slot = Slot(fragment_ms, 0, fragment_ms, fragment_ms + overflow_ms)
        near = memory.allowed(STREAM, "en", sequence_number=number, now_s=0.0)
        tempo = plan_tempo(natural_ms, slot, neighbours=near).tempo
        memory.learn(STREAM, "en", tempo, sequence_number=number, now_s=0.0)
        needed = min(1.6, needed_tempo(natural_ms, slot))
        assert 0.8 <= tempo <= 1.6
        assert tempo >= needed - 1e-9 or needed == 1.0
        if before is not None:
            assert tempo >= before / (1 + MAX_CHANGE) - 1e-9
            assert tempo <= max(before * (1 + MAX_CHANGE), needed) + 1e-9
        before = tempo


def test_bounds_come_before_the_neighbour():
    memory = TempoMemory()
    smooth(memory, 1.0, 0)
    assert smooth(memory, 1.5, 1, bounds=(1.4, 1.6)) == 1.4
    assert smooth(memory, 1.0, 2) == 1.4 / (1 + MAX_CHANGE)


def test_streams_languages_and_generations_do_not_hear_each_other():
    memory = TempoMemory()
    smooth(memory, 1.5, 0)
    for stream, language in ((STREAM, "fr"), (("stadium", 4), "en"), (("arena", 3), "en")):
        assert memory.allowed(stream, language, sequence_number=1, now_s=0.0) == ANY_TEMPO


def test_after_a_pause_nobody_remembers():
    memory = TempoMemory()
    smooth(memory, 1.5, 0, now_s=100.0)
    assert smooth(memory, 1.0, 1, now_s=100.0 + FORGET_AFTER_S) > 1.3
    assert smooth(memory, 1.0, 2, now_s=101.0 + 2 * FORGET_AFTER_S) == 1.0


def test_the_neighbour_is_the_fragment_before_even_where_a_later_one_was_quicker():
    memory = TempoMemory()
    for number, tempo in ((0, 1.2), (2, 1.5), (1, 1.25)):
        memory.learn(STREAM, "en", tempo, sequence_number=number, now_s=0.0)
    assert memory.allowed(STREAM, "en", sequence_number=2, now_s=0.0).high == 1.25 * (1 + MAX_CHANGE)
    assert memory.allowed(STREAM, "en", sequence_number=0, now_s=0.0) == ANY_TEMPO


def test_what_a_dub_got_replaces_what_was_planned_for_it():
    memory = TempoMemory()
    memory.learn(STREAM, "en", 1.3, sequence_number=0, now_s=0.0)
    memory.learn(STREAM, "en", 1.1, sequence_number=0, now_s=0.0)
    assert memory.allowed(STREAM, "en", sequence_number=1, now_s=0.0).high == 1.1 * (1 + MAX_CHANGE)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 500)), max_size=200))
def test_memory_is_bounded(told: list[tuple[int, int]]):
    memory = TempoMemory(streams=5)
    for stream, number in told:
        memory.learn((f"s{stream}", 0), "en", 1.0, sequence_number=number, now_s=0.0)
    assert len(memory) <= 5
    assert sum(len(fragments) for fragments in memory._spoken.values()) <= 5 * 4
