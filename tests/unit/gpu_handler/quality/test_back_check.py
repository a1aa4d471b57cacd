import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.back_check import similarity

TEXTS = st.text("abc déñ.,", max_size=40)


@given(TEXTS)
def test_the_same_text_is_alike(text: str):
    assert similarity(text, text) == 1.0


@given(TEXTS, TEXTS)
def test_likeness_is_mutual_and_between_0_and_1(first: str, second: str):
    assert 0.0 <= similarity(first, second) <= 1.0
    assert similarity(first, second) == similarity(second, first)


def test_case_punctuation_accents_and_spaces_do_not_count():
    assert similarity("¡Buenas noches, España!", "buenas noches espana") == 1.0
    assert similarity("good bye", "goodbye") == 1.0


def test_a_misheard_word_costs_little_and_another_text_much():
    assert similarity("el huésped llegó a las tres", "el westpad llego a las tres") > 0.75
    assert similarity("good evening everyone", "subscribe to my channel") < 0.35


@pytest.mark.parametrize("heard", ["good evening everyone yeah yeah yeah oh yeah", "good"])
def test_words_added_or_missing_count(heard: str):
    assert similarity("good evening everyone", heard) < 0.65


def test_nothing_heard_is_nothing_alike():
    assert similarity("hello", "") == 0.0
    assert similarity("", "") == 1.0
    assert similarity("...", "") == 1.0


def test_long_texts_are_compared_up_to_a_bound():
    assert similarity("a" * 5_000, "a" * 1_000) == 1.0
