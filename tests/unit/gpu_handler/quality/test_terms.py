"""Terms through translators that keep, garble and swallow code words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.terms import (
    Occurrence,
    glossary_of,
    missing_terms,
    post_edit,
    protect,
    restore,
)

WORDS = st.sampled_from(
    ["gol", "Gol", "el", "de", "Madrid", "penalti", "y", "hoy", "KX-1", "qz", "wx-2", "¿", "."]
)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)
GLOSSARIES = st.dictionaries(
    st.text("abcgol KQXZ-1.'", min_size=1, max_size=8), st.text("xyz KQ-2.", max_size=8), max_size=6
)


def through(text: str, glossary: dict[str, str], source: str = "es", target: str = "en") -> str:
    """What a translator that copies everything makes of a text."""
    protected = protect(text, glossary, source=source, target=target)
    restored = restore(protected.text, protected)
    assert restored.lost == ()
    return restored.text


@given(st.lists(st.sampled_from(["gol", "ayer", "tiro libre", "tiro", "MADRID", "casa"]), max_size=10))
def test_a_translator_that_copies_gives_the_text_with_its_terms_replaced(parts: list[str]):
    glossary = {"gol": "goal", "tiro": "shot", "tiro libre": "free kick", "Madrid": "Madrid"}
    expected = {"gol": "goal", "tiro": "shot", "tiro libre": "free kick", "MADRID": "Madrid"}
    text = ", ".join(parts)
    assert through(text, glossary) == ", ".join(expected.get(part, part) for part in parts)


@given(TEXTS)
def test_a_text_without_terms_goes_through_untouched(text: str):
    assert through(text, {}) == text
    assert protect(text, {}).text == text
    assert through(text, {"estadio": "stadium"}) == text


@given(TEXTS, GLOSSARIES, st.data())
def test_no_code_word_is_ever_left_whatever_the_translator_does(
    text: str, glossary: dict[str, str], data: st.DataObject
):
    protected = protect(text, glossary, source="es", target="en")
    stem = protected.stem
    assert not protected.occurrences or not re.search(stem, text, re.IGNORECASE)
    pieces = st.one_of(
        st.just(protected.text),
        WORDS.filter(lambda word: not re.search(stem, word, re.IGNORECASE)),
        st.sampled_from(
            [stem, stem.lower(), f"{stem}-", f"{stem}-1", f"{stem} 2", f"{stem}\u20113", f"{stem}-99"]
        ),
    )
    answer = " ".join(data.draw(st.lists(pieces, max_size=6)))
    restored = restore(answer, protected)
    if protected.occurrences:
        assert not re.search(stem, restored.text, re.IGNORECASE)
    terms = {occurrence.term for occurrence in protected.occurrences}
    assert set(restored.lost) <= terms
    if protected.text in answer:
        assert restored.lost == ()
    if not answer:
        assert set(restored.lost) == terms


@given(TEXTS, GLOSSARIES)
def test_code_words_are_told_apart_from_the_text_and_the_wordings(text: str, glossary: dict[str, str]):
    protected = protect(text, glossary)
    if protected.occurrences:
        everything = "\n".join([text, *glossary.values()])
        assert not re.search(protected.stem, everything, re.IGNORECASE)
    codes = re.findall(rf"{protected.stem}-(\d+)", protected.text)
    assert (
        codes == [str(number) for number in range(1, len(protected.occurrences) + 1)]
        or not protected.occurrences
    )


@pytest.mark.parametrize(
    "garbled",
    ["kx-1 marca", "KX 1 marca", "KX1 marca", "KX\u20111 marca", "KX - 1 marca", "Kx_1 marca", "KX-01 marca"],
)
def test_garbled_code_words_are_recognised(garbled: str):
    protected = protect("el delantero marca", {"delantero": "striker"})
    assert restore(garbled, protected).text == "striker marca"


def test_what_the_translator_swallows_is_named_once():
    protected = protect("gol y gol de Oblak", {"gol": "goal", "Oblak": "Oblak"})
    restored = restore("one and one by KX-3", protected)
    assert restored.text == "one and one by Oblak"
    assert restored.lost == ("gol",)


def test_a_term_said_twice_by_the_translator_is_said_twice():
    protected = protect("un gol", {"gol": "goal"})
    assert restore("a KX-1, a KX-1", protected).text == "a goal, a goal"


def test_of_overlapping_terms_the_longest_counts():
    glossary = {"Madrid": "Madrid", "Real Madrid": "Real", "Real Madrid Castilla": "Castilla"}
    assert (
        through("el Real Madrid Castilla, el Real Madrid y Madrid", glossary)
        == "el Castilla, el Real y Madrid"
    )


def test_terms_match_whole_words_in_any_case_and_any_spacing():
    glossary = {"fuera de juego": "offside", "var": "VAR"}
    assert through("FUERA  DE\nJUEGO", glossary) == "Offside"
    assert through("variante, varón, Var", glossary) == "variante, varón, VAR"


def test_short_acronyms_match_in_their_own_case_alone():
    assert through("the US beat us", {"US": "EE. UU."}, "en", "es") == "the EE. UU. beat us"


def test_both_apostrophes_are_one():
    assert through("O\u2019Neill and O'Neill", {"O'Neill": "O'Neill"}, "en", "es") == "O'Neill and O'Neill"


def test_a_possessive_keeps_its_term():
    assert through("Arsenal's goal", {"Arsenal": "Arsenal"}, "en", "es") == "Arsenal's goal"


def test_terms_stand_anywhere_where_words_are_not_spaced():
    assert through("東京は大谷の勝ち", {"大谷": "Ohtani"}, "ja", "en") == "東京はOhtaniの勝ち"


def test_plurals_are_said_in_the_plural():
    glossary = {"tiro de esquina": "corner kick", "gol": "goal", "Galáctico": "Galáctico"}
    assert through("dos goles y tres tiros de esquina", glossary) == "dos goals y tres corner kicks"
    assert (
        through("two corner kicks", {"corner kick": "saque de esquina"}, "en", "es")
        == "two saques de esquina"
    )


def test_a_plural_that_cannot_be_formed_is_left_alone():
    assert through("zwei goles", {"gol": "Tor"}, "es", "de") == "zwei goles"


def test_a_kept_term_is_spelt_as_the_glossary_spells_it_in_the_plural_too():
    glossary = {"iPhone": "iPhone"}
    assert through("two IPHONES and an iphone", glossary, "en", "es") == "two iPhones and an iPhone"


def test_a_wording_at_the_start_of_a_sentence_is_capitalised():
    assert through("Gol. Gol, ¡gol! ¿Gol?", {"gol": "goal"}) == "Goal. Goal, ¡goal! ¿Goal?"
    assert through("gol de Oblak", {"gol": "goal"}) == "goal de Oblak"
    assert through("IPHONE. Iphone", {"iPhone": "iPhone"}) == "iPhone. iPhone"


def test_an_empty_wording_drops_its_term_and_a_blank_term_is_passed_over():
    assert through("un pues gol", {"pues": "", " ": "x", "": "y"}).split() == ["un", "gol"]


def test_post_editing_replaces_terms_that_came_through():
    glossary = {"gol": "goal", "Oblak": "Jan Oblak"}
    assert post_edit("a gol by oblak", glossary) == "a goal by Jan Oblak"


def test_post_editing_leaves_a_wording_that_holds_its_term():
    assert post_edit("Real Madrid and Madrid", {"Madrid": "Real Madrid"}) == "Real Madrid and Real Madrid"


def test_post_editing_replaces_what_the_translator_makes_of_a_term():
    edited = post_edit(
        "two strikers outside of game",
        {"fuera de juego": "offside"},
        renderings={"fuera de juego": "outside of game"},
    )
    assert edited == "two strikers offside"


@given(TEXTS, GLOSSARIES)
def test_post_editing_twice_is_post_editing_once_where_terms_and_wordings_differ(
    text: str, glossary: dict[str, str]
):
    apart = {term: f"<{index}>" for index, term in enumerate(glossary)}
    once = post_edit(text, apart)
    assert post_edit(once, {term: wanted for term, wanted in apart.items() if term.isalpha()}) == once


def test_missing_terms_are_told():
    glossary = {"gol": "goal", "Oblak": "Jan Oblak"}
    assert missing_terms("gol de Oblak", "Goal by Oblak", glossary) == (Occurrence("Oblak", "Jan Oblak"),)
    assert missing_terms("hoy", "today", glossary) == ()
    assert missing_terms("dos goles", "two Goals", glossary, source="es", target="en") == ()
    assert missing_terms("gol", "subgoal", glossary) == (Occurrence("gol", "goal"),)


def test_a_language_s_own_terms_win_in_any_case():
    assert glossary_of({"Gol": "goal", "VAR": "VAR"}, {"gol": "but"}) == {"gol": "but", "VAR": "VAR"}


def test_a_term_glued_to_a_digit_is_another_word():
    assert through("C++17, C++, 大谷17", {"C++": "C plus plus", "大谷": "Ohtani"}, "", "") == (
        "C++17, C plus plus, 大谷17"
    )


def test_every_term_of_a_full_glossary_is_found():
    glossary = {f"term{index}": f"wort{index}" for index in range(500)}
    text = " ".join(f"term{index}" for index in range(0, 500, 7))
    assert through(text, glossary, "", "") == " ".join(f"wort{index}" for index in range(0, 500, 7))
