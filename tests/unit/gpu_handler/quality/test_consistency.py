import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.consistency import Problem, ProblemKind, check, penalty
from tests.unit.gpu_handler.quality.test_number_words import english, spanish

RIGHT = [
    (
        "El Atlético ganó 3-1 al Real Madrid en 1999.",
        "Atletico beat Real Madrid three-one in nineteen ninety-nine.",
    ),
    ("Subió un 35 por ciento.", "It rose 35%."),
    ("Cuesta 1.500 euros.", "It costs €1,500."),
    ("Marcó un gol en el segundo tiempo.", "He scored in the second half."),
    ("El 3 de mayo de 2024 llegaron veintiuna personas.", "On May 3rd, 2024, 21 people arrived."),
    ("La ONU y la OTAN hablaron en Londres.", "The UN and NATO talked in London."),
    ("Ayer jugó Alemania contra España.", "Germany played against Spain yesterday."),
    ("Hay mil razones.", "There are a thousand reasons."),
    ("Es el lunes 3 de mayo.", "It is on Monday, May 3."),
    ("Fue el 03/05/2024.", "It was on May 3, 2024."),
    ("Fue en mayo.", "It was in May."),
    ("Puede ser que marche.", "He may march."),
]
WRONG = [
    ("Subió un 35 por ciento.", "It rose 53%.", {ProblemKind.NUMBER_MISSING, ProblemKind.NUMBER_ADDED}),
    ("Ganaron dos a cero.", "They won.", {ProblemKind.NUMBER_MISSING}),
    ("Ganaron.", "They won 4 titles.", {ProblemKind.NUMBER_ADDED}),
    ("Son 20 euros.", "It is 20 dollars.", {ProblemKind.UNIT}),
    ("Ayer jugaron Messi y Xavi.", "Yesterday Messi played.", {ProblemKind.NAME}),
    ("Marcó un gol.", "He scored a strike.", {ProblemKind.TERM}),
    ("Es el 3 de mayo.", "It is on June 3.", {ProblemKind.DATE}),
    ("Juegan el martes.", "They play on Thursday.", {ProblemKind.DATE}),
]


@pytest.mark.parametrize(("source", "translated"), RIGHT)
def test_a_right_translation_has_no_problem(source: str, translated: str):
    assert check(source, translated, "es", "en", {}) == ()


@pytest.mark.parametrize(("source", "translated"), RIGHT)
def test_nor_has_it_the_other_way(source: str, translated: str):
    assert check(translated, source, "en", "es", {}) == ()


@pytest.mark.parametrize(("source", "translated", "kinds"), WRONG)
def test_what_is_wrong_is_told(source: str, translated: str, kinds: set[ProblemKind]):
    problems = check(source, translated, "es", "en", {"gol": "goal"})
    assert {problem.kind for problem in problems} == kinds
    assert penalty(problems) > 0


@given(st.integers(2, 99_999), st.integers(2, 99_999))
def test_spelt_numbers_agree_exactly_when_they_are_the_same(said: int, heard: int):
    problems = check(f"Son {spanish(said)} cosas.", f"They are {english(heard)} things.", "es", "en", {})
    assert (problems == ()) == (said == heard)


@given(st.integers(2, 99_999))
def test_digits_answer_for_words(number: int):
    assert check(f"Son {spanish(number)}.", f"They are {number:,}.", "es", "en", {}) == ()


def test_a_translator_that_ran_away_is_worse_than_any_other_doubt():
    away = check("Ganaron.", "they won and they won and they won and they won", "es", "en", {})
    wrong = check("Ayer jugaron Messi, Xavi e Iniesta 3 partidos.", "They play 4.", "es", "en", {})
    assert [problem.unusable for problem in away] == [True]
    assert not any(problem.unusable for problem in wrong)
    assert penalty(away) > penalty(wrong) > 0


def test_each_number_answers_once():
    problems = check("Dos y dos.", "Two.", "es", "en", {})
    assert problems == (Problem(ProblemKind.NUMBER_MISSING, "dos"),)


def test_numbers_spelt_in_a_language_that_is_not_understood_are_no_problem():
    assert check("Son quince.", "Ils sont quinze.", "es", "fr", {}) == ()
    assert [p.kind for p in check("Son quince.", "Ils sont 16.", "es", "fr", {})] == [
        ProblemKind.NUMBER_ADDED
    ]


def test_terms_of_the_glossary_are_no_names():
    assert check("Vive el Clásico hoy", "El derby is on today", "es", "en", {"Clásico": "El derby"}) == ()


def test_german_nouns_and_shouting_are_no_names():
    assert check("Das ist ein Haus", "That is a house", "de", "en", {}) == ()
    assert check("GOL DE VILLA", "He scored", "es", "en", {}) == ()


def test_days_and_languages_are_no_names():
    assert check("He speaks Spanish on Monday", "Habla español el lunes", "en", "es", {}) == ()


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_pair_of_texts_is_checked(source: str, translated: str):
    assert penalty(check(source, translated, "en", "es", {})) >= 0
