"""Code words through the translator that is installed everywhere: it must hand back every one."""

from collections.abc import Iterator

import pytest

from gpu_handler.engines.apertium import ApertiumTranslator
from gpu_handler.engines.base import Sentence
from gpu_handler.quality.terms import protect, restore
from gpu_handler.settings import StsSettings

ENGLISH = {
    "corner kick": "saque de esquina",
    "Red Dragons": "Red Dragons",
    "keeper": "guardameta",
    "VAR": "VAR",
}
SPANISH = {
    "fuera de juego": "offside",
    "gol": "goal",
    "Dragones Rojos": "Red Dragons",
    "delantero": "striker",
}
CASES = [
    ("en", "es", ENGLISH, "The Red Dragons win a corner kick."),
    ("en", "es", ENGLISH, "The keeper of the Red Dragons is very good tonight, and VAR agrees."),
    ("en", "es", ENGLISH, "Red Dragons!"),
    ("en", "es", ENGLISH, "Two corner kicks, three keepers and the keeper's gloves."),
    ("en", "es", ENGLISH, "What does the VAR say about the Red Dragons' corner kick?"),
    ("es", "en", SPANISH, "El delantero estaba en fuera de juego."),
    ("es", "en", SPANISH, "Gol de los Dragones Rojos, ¡qué gol!"),
    ("es", "en", SPANISH, "Los delanteros marcaron dos goles en diez minutos."),
    ("es", "en", SPANISH, "¿Fuera de juego? No, gol."),
]


@pytest.fixture(scope="module")
def translator() -> Iterator[ApertiumTranslator]:
    engine = ApertiumTranslator(StsSettings())
    engine.load()
    yield engine
    engine.close()


@pytest.mark.parametrize(("source", "target", "glossary", "text"), CASES)
def test_every_term_comes_back_in_its_wording(
    translator: ApertiumTranslator, source: str, target: str, glossary: dict[str, str], text: str
):
    protected = protect(text, glossary, source=source, target=target)
    (translation,) = translator.translate([Sentence(protected.text, source, target)])
    restored = restore(translation.text, protected)
    assert restored.lost == ()
    assert protected.stem not in restored.text
    assert protected.occurrences
    for occurrence in protected.occurrences:
        assert occurrence.wanted.casefold() in restored.text.casefold()


def test_eighteen_terms_in_one_sentence_come_back_in_their_places(translator: ApertiumTranslator):
    names = [f"Player{letter}" for letter in "ABCDEFGHIJKLMNOPQR"]
    glossary = {name: name.upper() for name in names}
    protected = protect(f"The players are {', '.join(names)}.", glossary, source="en", target="es")
    (translation,) = translator.translate([Sentence(protected.text, "en", "es")])
    assert restore(translation.text, protected).text.endswith(f"{', '.join(glossary.values())}.")
