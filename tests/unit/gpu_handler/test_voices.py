# ruff: noqa: RUF001 - phonetic letters are what is tested here
"""Phonemes by the installed espeak-ng, cutting of long texts, and the last-resort voice."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.engines import phonemes as phonemes_module
from gpu_handler.engines.base import Line
from gpu_handler.engines.calibration import audible_range
from gpu_handler.engines.espeak import EspeakSynthesizer
from gpu_handler.engines.kokoro import KokoroSynthesizer, split_phonemes
from gpu_handler.engines.phonemes import ESPEAK_VOICES, phonemes, to_kokoro
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError

SENTENCES = {
    "en": "Good evening, everyone! The weather is cold; isn't it? Join us at 10:30 for 1,500 euros.",
    "en-gb": "The boat goes down the coast.",
    "es": "¿Qué tal? ¡Muchas gracias! La niña corrió por la calle... y llegó a las 3.5 horas.",
    "fr": "Bonjour à tous, le temps est froid mais l'équipe est prête.",
    "it": "Buonasera a tutti, la piazza è piena e gli spettatori cantano.",
    "pt": "Boa noite a todos, não há lugares vazios no estádio.",
}


@pytest.mark.parametrize("language", ESPEAK_VOICES)
@pytest.mark.models
def test_every_symbol_is_one_the_voice_knows(language: str):
    vocabulary = json.loads(Path("~/.cache/livedub/models/kokoro-82m/vocab.json").expanduser().read_text())[
        "vocab"
    ]
    assert set(phonemes(SENTENCES[language], language)) - set(vocabulary) == set()


def test_pauses_stay_where_they_were():
    spoken = phonemes("Hola, amigos. ¿Vamos? Sí", "es")
    assert [mark for mark in spoken if mark in ".,?!;:"] == [",", ".", "?"]


def test_points_and_commas_inside_numbers_are_no_pauses():
    spoken = phonemes("It costs 1,500 euros and 3.5 cents at 10:30", "en")
    assert not set(spoken) & set(".,:")


def test_an_abbreviation_does_not_end_the_sentence():
    spoken = phonemes("El Sr. Pérez habla con Dra. López.", "es")
    assert spoken.count(".") == 1


def test_english_diphthongs_are_one_letter():
    spoken = phonemes("I say no boy now", "en")
    assert [letter for letter in spoken if letter in "IAOYW"] == ["I", "A", "O", "Y", "W"]


def test_affricates_are_one_letter_in_every_language():
    assert "ʧ" in phonemes("noche", "es")
    assert "ʤ" in phonemes("giorno", "it")


def test_language_marks_and_ties_are_removed():
    assert to_kokoro("(en)wˈi^kɛnd(es) t^ʃ", "es") == "wˈikɛnd ʧ"


@pytest.mark.parametrize("text", ["", "   ", "...", "¿?", "— « » ()", "\0"])
def test_nothing_to_say_is_empty(text: str):
    assert phonemes(text, "es") == ""


@pytest.mark.parametrize(
    "text", ["-v en --help", "<break/>hola", "hola\nadiós", "a\x01b\x02c", '"; rm -rf x"']
)
def test_text_is_never_taken_for_options_or_markup(text: str):
    assert phonemes(text, "es")


def test_a_missing_espeak_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("espeak-ng") is None
    with pytest.raises(MissingPrerequisiteError, match="espeak-ng"):
        phonemes("hola", "es")


def test_clause_by_clause_when_espeak_breaks_a_line(monkeypatch: pytest.MonkeyPatch):
    real = phonemes_module._espeak
    monkeypatch.setattr(
        phonemes_module,
        "_espeak",
        lambda lines, voice: ["one", "line", "too", "many"] if len(lines) > 1 else real(lines, voice),
    )
    assert phonemes("hola, amigos.", "es") == "ˈola, amˈiɣos."


@given(st.text(alphabet="abc .,;", max_size=400), st.integers(5, 60))
def test_pieces_of_a_long_text_fit_and_lose_nothing(symbols: str, limit: int):
    pieces = split_phonemes(symbols, limit)
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(symbols.split())


def test_a_long_text_is_cut_at_its_pauses():
    assert split_phonemes("ab cd, ef gh. ij", 9) == ["ab cd,", "ef gh. ij"]


def test_kokoro_offers_a_default_voice_per_language():
    voices = KokoroSynthesizer(StsSettings()).voices()
    assert set(voices) == {"en", "es", "fr", "it", "pt"}
    assert all(name.startswith(f"{language}/") for language, names in voices.items() for name in names)


@pytest.mark.parametrize("language", sorted(EspeakSynthesizer(StsSettings()).voices()))
def test_espeak_speaks_each_language(language: str):
    engine = EspeakSynthesizer(StsSettings())
    (speech,) = engine.synthesize([Line("1, 2, 3", engine.voices()[language][0])])
    start, end = audible_range(speech.samples)
    assert (end - start) / speech.sample_rate_hz > 0.4


def test_espeak_learns_its_pace():
    engine = EspeakSynthesizer(StsSettings())
    text = "The rain has stopped and the players are coming back to the field."
    (speech,) = engine.synthesize([Line(text, "en/espeak", 1.2)])
    start, end = audible_range(speech.samples)
    natural_ms = (end - start) * 1000 / speech.sample_rate_hz * speech.speed
    assert engine.natural_duration_ms(text, voice="en/espeak") == pytest.approx(natural_ms, rel=0.05)
