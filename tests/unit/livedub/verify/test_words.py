"""Texts that say the same count as the same; texts that do not, do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.verify.words import content_words, recall, stem, tokens, word_errors

WORDS = st.lists(st.sampled_from(["goal", "referee", "seven", "the", "train"]), max_size=12)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It's 7 o'clock.", "it is seven o'clock"),
        ("They don't, and can't!", "they do not and can not"),
        ("the 21st of 1,250 men", "the twenty one of one thousand two hundred fifty men"),
        ("A 3-2 win", "a three two win"),
        ("50% off", "fifty percent off"),
        ("He\u2019ll wait \u2013 we\u2019re late", "he will wait we are late"),
    ],
)
def test_english_spellings_of_the_same_words_meet(one: str, other: str):
    assert tokens(one, "en") == tokens(other, "en")


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("0", "cero"),
        ("31", "treinta y uno"),
        ("100", "cien"),
        ("121", "ciento veintiuno"),
        ("2026", "dos mil veintiséis"),
    ],
)
def test_spanish_numbers_are_spelled_out(digits: str, words: str):
    assert tokens(digits, "es") == words.split()


def test_accents_are_letters():
    assert tokens("¿Qué pasó, señor?", "es") == ["qué", "pasó", "señor"]


def test_another_language_keeps_its_digits():
    assert tokens("Um 7 Uhr", "de") == ["um", "7", "uhr"]


@pytest.mark.parametrize(
    ("reference", "heard", "edits"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b b c", 1),
        ("a b c", "", 3),
        ("", "a", 1),
        ("a b c d", "b c d e", 2),
    ],
)
def test_errors_are_counted_in_words(reference: str, heard: str, edits: int):
    errors = word_errors(reference.split(), heard.split())

    assert errors.edits == edits
    assert errors.words == len(reference.split())


def test_the_rate_may_exceed_one():
    assert word_errors(["a"], ["b", "c", "d"]).rate == 3
    assert word_errors([], ["b"]).rate == 1
    assert word_errors([], []).rate == 0


@given(WORDS, WORDS)
def test_the_distance_is_symmetric_and_bounded(one: list[str], other: list[str]):
    edits = word_errors(one, other).edits

    assert edits == word_errors(other, one).edits
    assert abs(len(one) - len(other)) <= edits <= max(len(one), len(other))
    assert (edits == 0) is (one == other)


@pytest.mark.parametrize(
    "forms",
    [
        ("goal", "goals"),
        ("play", "plays", "played", "playing"),
        ("run", "running"),
        ("city", "cities"),
        ("score", "scores", "scored", "scoring"),
    ],
)
def test_inflected_forms_share_a_stem(forms: tuple[str, ...]):
    assert len({stem(form, "en") for form in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("train", "team"), ("goal", "goalkeeper"), ("rain", "train"), ("red", "read")]
)
def test_different_words_keep_different_stems(one: str, other: str):
    assert stem(one, "en") != stem(other, "en")


def test_recall_counts_each_word_as_often_as_it_is_due():
    reference = content_words("The red team scores and the red fans sing.", "en")

    assert reference.total() == 6
    assert recall(reference, content_words("red team, a fan sang", "en")) == pytest.approx(3 / 6)
    assert recall(reference, content_words("RED! red teams score. Fans are singing", "en")) == 1
    assert recall(reference, content_words("nothing of it", "en")) == 0
    assert recall(content_words("and the of", "en"), reference) is None
