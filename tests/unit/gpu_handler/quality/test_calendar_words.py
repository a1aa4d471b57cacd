import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.calendar_words import CALENDAR_LANGUAGES, CalendarKind, Mention, mentions


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("El lunes 3 de mayo", "es", [(CalendarKind.WEEKDAY, 1), (CalendarKind.MONTH, 5)]),
        ("Am Sonntag, dem 1. März", "de", [(CalendarKind.WEEKDAY, 7), (CalendarKind.MONTH, 3)]),
        ("mercoledì 9 dicembre", "it", [(CalendarKind.WEEKDAY, 3), (CalendarKind.MONTH, 12)]),
        ("le 14 août", "fr", [(CalendarKind.MONTH, 8)]),
        ("nothing", "en", []),
        ("lundi", "xx", []),
    ],
)
def test_months_and_days_are_found(text: str, language: str, expected: list[tuple[CalendarKind, int]]):
    found = mentions(text, language)
    assert [(one.kind, one.number) for one in found] == expected
    assert all(one.certain for one in found)


@pytest.mark.parametrize(
    ("text", "language", "certain"),
    [
        ("He may come", "en", False),
        ("on May 3rd", "en", True),
        ("the 3rd of May 2024", "en", True),
        ("na segunda parte", "pt", False),
        ("em 3 de março", "pt", True),
    ],
)
def test_words_with_other_meanings_are_certain_beside_a_number_alone(text: str, language: str, certain: bool):
    (mention,) = mentions(text, language)
    assert mention.certain is certain


def test_a_mention_says_how_it_was_written():
    assert mentions("EN ENERO", "es") == (Mention(CalendarKind.MONTH, 1, "ENERO"),)


@given(st.text(max_size=60), st.sampled_from(sorted(CALENDAR_LANGUAGES)))
def test_any_text_is_read(text: str, language: str):
    for mention in mentions(text, language):
        assert 1 <= mention.number <= 12
