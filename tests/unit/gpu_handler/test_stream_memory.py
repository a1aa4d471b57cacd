"""What is remembered of a stream: bounded, in order, and never from the future."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.languages import AUTO
from gpu_handler.stream_memory import StreamMemory

STREAM = ("stream", 1)


def test_what_was_said_last_comes_in_order_whatever_the_order_of_the_answers():
    memory = StreamMemory()
    for number, text in ((2, "two"), (1, "one"), (4, "four")):
        memory.learn_text(STREAM, number, text)
    assert memory.context(STREAM, 3) == "one two"
    assert memory.context(STREAM, 5) == "two four"
    assert memory.context(STREAM, 1) == ""


def test_what_was_said_long_ago_is_no_context():
    memory = StreamMemory()
    memory.learn_text(STREAM, 1, "one")
    assert memory.context(STREAM, 4) == "one"
    assert memory.context(STREAM, 5) == ""


def test_a_fragment_that_comes_twice_counts_once():
    memory = StreamMemory()
    memory.learn_text(STREAM, 1, "one")
    memory.learn_text(STREAM, 1, "one again")
    assert memory.context(STREAM, 2) == "one"


def test_another_generation_starts_anew():
    memory = StreamMemory()
    memory.learn_text(STREAM, 1, "one")
    memory.learn_language(STREAM, "es", 0.99)
    assert memory.context(("stream", 2), 2) == ""
    assert memory.language(("stream", 2)) == AUTO


@pytest.mark.parametrize(("probability", "kept"), [(0.69, AUTO), (0.7, "es")])
def test_only_a_sure_language_is_kept(probability: float, kept: str):
    memory = StreamMemory()
    memory.learn_language(STREAM, "es", probability)
    assert memory.language(STREAM) == kept


@given(
    st.lists(st.tuples(st.integers(0, 30), st.text(st.sampled_from("ab cd"), max_size=80)), max_size=40),
    st.integers(0, 60),
    st.integers(0, 32),
)
def test_context_is_bounded_and_older_than_the_fragment(
    said: list[tuple[int, str]], characters: int, number: int
):
    memory = StreamMemory(context_characters=characters)
    for at, text in said:
        memory.learn_text(STREAM, at, text)
    context = memory.context(STREAM, number)
    assert len(context) <= characters
    earlier = " ".join(text for at, text in said if at < number)
    assert set(context.split()) <= {word[i:] for word in earlier.split() for i in range(len(word))}


def test_the_streams_used_last_are_remembered_and_no_more():
    memory = StreamMemory()
    for number in range(300):
        memory.learn_text((f"s{number}", 1), 1, "text")
        memory.context(("s0", 1), 2)
    assert len(memory) == 256
    assert memory.context(("s0", 1), 2) == "text", "it was asked for all the time"
    assert memory.context(("s1", 1), 2) == ""
    assert memory.context(("s299", 1), 2) == "text"


def test_asking_about_unknown_streams_keeps_nothing():
    memory = StreamMemory()
    for number in range(1_000):
        memory.context((f"s{number}", 1), 1)
        memory.language((f"s{number}", 1))
    assert len(memory) == 0
