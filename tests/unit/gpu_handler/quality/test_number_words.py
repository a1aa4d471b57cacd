from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.number_words import Quantity, quantities

ONE_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TWENTY_TO_NINETY = "- - twenty thirty forty fifty sixty seventy eighty ninety"
UNO_A_VEINTINUEVE = (
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete "
    "dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete "
    "veintiocho veintinueve"
)
DECENAS = "- - - treinta cuarenta cincuenta sesenta setenta ochenta noventa"
CIENTOS = (
    "- ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos"
)
ONES, TENS = ONE_TO_NINETEEN.split(), TWENTY_TO_NINETY.split()


def english(number: int) -> str:
    """The number spelt out."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1_000:
        rest = f" and {english(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    scale, name = (1_000_000, "million") if number >= 1_000_000 else (1_000, "thousand")
    rest = f" {english(number % scale)}" if number % scale else ""
    return f"{english(number // scale)} {name}{rest}"


def spanish(number: int) -> str:
    """The number spelt out."""
    if number < 30:
        return UNO_A_VEINTINUEVE.split()[number]
    if number < 100:
        return DECENAS.split()[number // 10] + (f" y {spanish(number % 10)}" if number % 10 else "")
    if number == 100:
        return "cien"
    if number < 1_000:
        rest = f" {spanish(number % 100)}" if number % 100 else ""
        return CIENTOS.split()[number // 100] + rest
    if number < 1_000_000:
        head = "mil" if number < 2_000 else f"{spanish(number // 1_000)} mil"
        rest = f" {spanish(number % 1_000)}" if number % 1_000 else ""
        return head + rest
    head = "un millón" if number < 2_000_000 else f"{spanish(number // 1_000_000)} millones"
    rest = f" {spanish(number % 1_000_000)}" if number % 1_000_000 else ""
    return head + rest


def values(text: str, language: str) -> list[set[Fraction]]:
    return [set(quantity.values) for quantity in quantities(text, language)]


def one(text: str, language: str) -> Quantity:
    (quantity,) = quantities(text, language)
    return quantity


NUMBERS = st.integers(0, 30) | st.integers(0, 1_100) | st.integers(0, 999_999_999)


@given(NUMBERS)
def test_english_numbers_are_read_as_they_are_spelt(number: int):
    assert values(f"There are {english(number)}.", "en") == [{number}]


@given(NUMBERS)
def test_spanish_numbers_are_read_as_they_are_spelt(number: int):
    assert values(f"Hay {spanish(number)}.", "es") == [{number}]


@given(st.integers(0, 999_999_999))
def test_digits_with_separators_are_read_by_their_language(number: int):
    grouped = f"{number:,}"
    assert number in values(grouped, "en")[0]
    assert number in values(grouped.replace(",", "."), "es")[0]
    assert values(grouped.replace(",", "\u202f"), "fr") == [{number}]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("1.5", "en", ["3/2"]),
        ("1,5", "es", ["3/2"]),
        ("1,500", "en", ["1500"]),
        ("1.500", "es", ["1500"]),
        ("1.234.567,89", "es", ["123456789/100"]),
        ("1,234,567.89", "en", ["123456789/100"]),
        ("2,5 millones", "es", ["2500000"]),
        ("3 mil millones", "es", ["3000000000"]),
        ("3.5 billion", "en", ["3500000000"]),
        ("three point one four", "en", ["157/50"]),
        ("cero coma cero cinco", "es", ["1/20"]),
        ("nineteen ninety-nine", "en", ["1999"]),
        ("twenty twenty-four", "en", ["2024"]),
        ("nineteen oh five", "en", ["1905"]),
        ("nineteen hundred", "en", ["1900"]),
        ("mil novecientos noventa y nueve", "es", ["1999"]),
        ("veintiún", "es", ["21"]),
        ("May 3rd, 2024", "en", ["3", "2024"]),
        ("el 3 de mayo de 2024 a las 10:30", "es", ["3", "2024", "10", "30"]),
        ("10h30", "fr", ["10", "30"]),
        ("03/05/2024", "es", ["3", "5", "2024"]),
        ("ten thirty", "en", ["10", "30"]),
        ("seven, eight, nine", "en", ["7", "8", "9"]),
        ("dos y tres", "es", ["2", "3"]),
        ("between three and four", "en", ["3", "4"]),
    ],
)
def test_numbers_as_they_are_said(text: str, language: str, expected: list[str]):
    assert values(text, language) == [{Fraction(value)} for value in expected]


@pytest.mark.parametrize(
    ("text", "language", "unit"),
    [
        ("$5", "en", "USD"),
        ("5 €", "es", "EUR"),
        ("five dollars", "en", "USD"),
        ("tres millones de euros", "es", "EUR"),
        ("50 %", "fr", "%"),
        ("fifty per cent", "en", "%"),
        ("cincuenta por ciento", "es", "%"),
        ("£20", "en", "GBP"),
        ("veinte libras", "es", ""),
    ],
)
def test_units(text: str, language: str, unit: str):
    assert one(text, language).unit == unit


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a second", "en"),
        ("one", "en"),
        ("un", "es"),
        ("el segundo", "es"),
        ("la primera", "es"),
        ("a dozen", "en"),
    ],
)
def test_what_may_be_no_number_is_vague(text: str, language: str):
    assert one(text, language).vague


def test_a_mark_of_the_other_language_leaves_both_readings():
    assert values("1,500", "es") == [{Fraction(1_500), Fraction(3, 2)}]


def test_spelt_numbers_of_other_languages_are_not_read():
    assert values("quinze, 15", "fr") == [{Fraction(15)}]


def test_a_row_of_digits_is_no_number():
    assert quantities("1" * 5_000 + " and two", "en")[0].written == "two"


@given(st.text(max_size=60), st.sampled_from(["en", "es", "fr", "xx"]))
def test_any_text_is_read(text: str, language: str):
    for quantity in quantities(text, language):
        assert quantity.values


@given(
    st.lists(
        st.sampled_from([*ONES, *TENS[2:], "hundred", "thousand", "million", "and", "point", "oh"]),
        max_size=9,
    )
)
def test_any_run_of_number_words_is_read(words: list[str]):
    for quantity in quantities(" ".join(words), "en"):
        assert min(quantity.values) >= 0
