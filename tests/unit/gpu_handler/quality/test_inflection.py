import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.inflection import plural


@pytest.mark.parametrize(
    ("term", "language", "expected"),
    [
        ("goal", "en", "goals"),
        ("match", "en", "matches"),
        ("penalty", "en", "penalties"),
        ("corner kick", "en", "corner kicks"),
        ("player of the match", "en", "players of the match"),
        ("Grand Slam", "en", "Grand Slams"),
        ("gol", "es", "goles"),
        ("balón", "es", "balones"),
        ("luz", "es", "luces"),
        ("país", "es", "países"),
        ("inglés", "es", "ingleses"),
        ("menú", "es", "menús"),
        ("penalty", "es", "penaltis"),
        ("tiro libre", "es", "tiros libres"),
        ("tiro de esquina", "es", "tiros de esquina"),
        ("cheval", "fr", "chevaux"),
        ("tir au but", "fr", "tirs au but"),
        ("jeu", "fr", "jeux"),
        ("arbitro", "it", "arbitri"),
        ("calcio d'angolo", "it", "calci d'angolo"),
        ("campeão", "pt", "campeões"),
        ("gol", "pt", "gols"),
    ],
)
def test_regular_plurals(term: str, language: str, expected: str):
    assert plural(term, language) == expected


@pytest.mark.parametrize(
    ("term", "language"),
    [
        ("crisis", "es"),
        ("Grand Slam", "es"),
        ("Tor", "de"),
        ("goal", ""),
        ("U", "en"),
        ("", "en"),
        ("C++", "en"),
        ("prix", "fr"),
    ],
)
def test_what_has_no_regular_plural_has_none(term: str, language: str):
    assert plural(term, language) == ""


@given(st.text(max_size=30), st.sampled_from(["en", "es", "fr", "it", "pt", "de", ""]))
def test_any_term_has_a_plural_of_as_many_words_or_none(term: str, language: str):
    changed = plural(term, language)
    assert changed == "" or (changed != term and len(changed.split()) == len(term.split()))
