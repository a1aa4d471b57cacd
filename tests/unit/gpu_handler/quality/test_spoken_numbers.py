import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.number_words import quantities
from gpu_handler.quality.spoken_numbers import localise


@pytest.mark.parametrize(
    ("text", "source", "target", "expected"),
    [
        ("Hay 1,500 personas.", "en", "es", "Hay 1.500 personas."),
        ("Mide 1.85 metros.", "en", "es", "Mide 1,85 metros."),
        ("It is 1.234.567,89.", "es", "en", "It is 1,234,567.89."),
        ("Il y a 1,500 personnes.", "en", "fr", "Il y a 1 500 personnes."),
        ("Am 03.05.2024 um 10:30.", "de", "en", "Am 03.05.2024 um 10:30."),
        ("A las 10.30 h.", "es", "en", "A las 10.30 h."),
        ("Version 1.2.3 and 2024", "en", "es", "Version 1.2.3 and 2024"),
        ("a 1,500 b", "en", "xx", "a 1,500 b"),
        ("1,500", "xx", "es", "1,500"),
    ],
)
def test_figures_that_were_copied_get_the_target_s_marks(text: str, source: str, target: str, expected: str):
    assert localise(text, text, source, target) == expected


def test_a_figure_that_the_translator_rewrote_stays():
    assert localise("Mide 1,500 metros.", "It is 1.5 metres.", "en", "es") == "Mide 1,500 metros."


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("Cuesta $5.", "es", "Cuesta 5 dólares."),
        ("Cuesta $1.", "es", "Cuesta 1 dólar."),
        ("It costs €3.50 or £20", "en", "It costs 3.50 euros or 20 pounds"),
        ("Son $1,5 millones.", "es", "Son 1,5 millones de dólares."),
        ("Son $3 mil millones.", "es", "Son 3 mil millones de dólares."),
        ("Son $3 mil.", "es", "Son 3 mil dólares."),
        ("C'est €2 millions.", "fr", "C'est 2 millions d'euros."),
        ("Sono €2 milioni.", "it", "Sono 2 milioni di euro."),
        ("It is $2 million.", "en", "It is 2 million dollars."),
        ("Es kostet $5", "de", "Es kostet 5 Dollar"),
        ("US$5 and $$5 and $a", "en", "US$5 and $$5 and $a"),
        ("5 €", "es", "5 €"),
    ],
)
def test_prices_are_said_as_people_say_them(text: str, target: str, expected: str):
    assert localise(text, "", "en" if target != "en" else "es", target) == expected


def test_both_at_once():
    english = "They invested $1,500,000 in 2024."
    assert (
        localise("Invirtieron $1,500,000 en 2024.", english, "en", "es")
        == "Invirtieron 1.500.000 dólares en 2024."
    )


@given(st.integers(0, 10**9), st.integers(0, 99), st.booleans(), st.sampled_from(["", "$", "€"]))
def test_a_copied_number_means_the_same_in_the_target(whole: int, cents: int, decimals: bool, symbol: str):
    number = f"{whole:,}" + (f".{cents:02}" if decimals else "")
    spanish = localise(f"son {symbol}{number} hoy", f"it is {symbol}{number} today", "en", "es")
    (said,), (heard,) = quantities(f"{symbol}{number}", "en"), quantities(spanish, "es")
    assert said.values & heard.values
    assert said.unit == heard.unit


@given(
    st.text(max_size=60),
    st.sampled_from(["en", "es", "fr", "it", "pt", "de"]),
    st.sampled_from(["en", "es", "fr"]),
)
def test_any_text_is_taken_and_once_is_enough(text: str, source: str, target: str):
    once = localise(text, "", source, target)
    assert localise(once, "", source, target) == once
