"""Real weights, wherever `livedub models fetch` has put them; else each test is skipped and names the command.

Voices are judged by what Whisper hears of them, translators by the words that every good translation must hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_handler.engines.base import Line, Sentence, Synthesizer, Translator, Utterance
from gpu_handler.engines.coqui import VitsSynthesizer
from gpu_handler.engines.ctranslate import CTranslateTranslator
from gpu_handler.engines.m2m100 import M2M100Translator, NllbTranslator
from gpu_handler.engines.marian import MarianTranslator
from gpu_handler.engines.whisper import WhisperTranscriber
from gpu_handler.engines.xtts import XttsSynthesizer
from gpu_handler.guards import words_of
from gpu_handler.settings import DEFAULT_MODEL_DIR, StsSettings
from livedub.audio.resample import resample

RECALL_BAR = 0.75
WER_BAR = 0.15

HOME = DEFAULT_MODEL_DIR.expanduser()

WORDS = {
    ("en", "es"): [
        ("The police have closed three streets near the stadium.", {"policía", "tres", "calles", "estadio"}),
        ("Twenty thousand people are expected tonight.", {"mil", "personas", "noche"}),
        ("Good evening and welcome to Madrid.", {"buenas", "bienvenidos", "madrid"}),
    ],
    ("es", "en"): [
        ("La policía ha cerrado tres calles cerca del estadio.", {"police", "three", "streets", "stadium"}),
        ("Esta noche se esperan veinte mil personas.", {"tonight", "people", "expected"}),
        ("Buenas noches y bienvenidos a Madrid.", {"good", "welcome", "madrid"}),
    ],
}
SPOKEN = {
    "en": "The police have closed three streets near the stadium this evening.",
    "es": "La policía ha cerrado tres calles cerca del estadio esta noche.",
}


def needs(*names: str) -> Path:
    """The folder of fetched models, or a skip that says how to fill it."""
    absent = [name for name in names if not (HOME / name).is_dir()]
    if absent:
        pytest.skip(f"no real weights here: run `livedub models fetch {' '.join(absent)}`")
    return HOME


def real(**changes: Any) -> StsSettings:
    return StsSettings(allow_noncommercial=True, coqui_tos_agreed=True, **changes)


def recall(translator: Translator, pair: tuple[str, str]) -> float:
    """The share of the words that every good translation holds."""
    said = translator.translate([Sentence(text, *pair) for text, _ in WORDS[pair]])
    found = wanted = 0
    for translation, (_, words) in zip(said, WORDS[pair], strict=True):
        found += len(words & set(words_of(translation.text)))
        wanted += len(words)
    return found / wanted


def word_errors(expected: str, heard: str) -> float:
    """Word error rate: the fewest words changed, added and left out, over the words expected."""
    wanted, got = words_of(expected), words_of(heard)
    row = list(range(len(got) + 1))
    for index, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(got, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other)),
            )
    return row[-1] / len(wanted)


@pytest.fixture(scope="module")
def whisper() -> Iterator[WhisperTranscriber]:
    needs("whisper-base")
    engine = WhisperTranscriber(StsSettings())
    engine.load()
    yield engine
    engine.close()


def test_word_errors_are_counted():
    assert word_errors("one two three", "One, two three!") == 0
    assert word_errors("one two three four", "one too four five") == 0.75


@pytest.mark.parametrize("pair", WORDS)
@pytest.mark.parametrize("kind", [MarianTranslator, CTranslateTranslator])
def test_opus_mt_says_the_words_that_matter(kind: Any, pair: tuple[str, str]):
    needs("opus-mt-" + "-".join(pair))
    engine = kind(real(mt_pairs="-".join(pair)))
    engine.load()
    assert recall(engine, pair) >= RECALL_BAR


@pytest.mark.parametrize("pair", WORDS)
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        (M2M100Translator, "m2m100-418m"),
        (CTranslateTranslator, "m2m100-418m"),
        (NllbTranslator, "nllb-200-distilled-600m"),
        (CTranslateTranslator, "nllb-200-distilled-600m"),
    ],
)
def test_a_multilingual_model_says_the_words_that_matter(kind: Any, model: str, pair: tuple[str, str]):
    needs(model)
    engine = kind(real(mt_model=model))
    engine.load()
    assert recall(engine, pair) >= RECALL_BAR


@pytest.mark.parametrize("brevity", [1, 2])
def test_brevity_shortens_what_opus_mt_says_and_keeps_what_matters(brevity: int):
    needs("opus-mt-en-es")
    engine = CTranslateTranslator(real(mt_pairs="en-es"))
    engine.load()
    sentences = [text for text, _ in WORDS["en", "es"]]
    plain, brief = (
        [item.text for item in engine.translate([Sentence(t, "en", "es", brevity=step) for t in sentences])]
        for step in (0, brevity)
    )
    assert sum(map(len, brief)) <= sum(map(len, plain))


def intelligible(voice: Synthesizer, whisper: WhisperTranscriber, languages: tuple[str, ...]) -> None:
    for language in languages:
        (speech,) = voice.synthesize([Line(SPOKEN[language], voice.voices()[language][0])])
        samples = resample(speech.samples.astype(np.float32), speech.sample_rate_hz, 16_000)
        (heard,) = whisper.transcribe([Utterance(samples, language)])
        assert word_errors(SPOKEN[language], heard.text) <= WER_BAR, heard.text


@pytest.mark.parametrize(
    ("model", "language"),
    [("coqui-vits-en-ljspeech", "en"), ("coqui-vits-en-vctk", "en"), ("coqui-vits-es-css10", "es")],
)
def test_vits_is_understood(whisper: WhisperTranscriber, tmp_path: Path, model: str, language: str):
    needs(model)
    (tmp_path / model).symlink_to(HOME / model)
    engine = VitsSynthesizer(real(coqui_model_dir=tmp_path))
    engine.load()
    intelligible(engine, whisper, (language,))


def test_xtts_is_understood(whisper: WhisperTranscriber):
    needs("xtts-v2")
    engine = XttsSynthesizer(real())
    engine.load()
    intelligible(engine, whisper, ("en", "es"))


@pytest.mark.parametrize("model", ["whisper-base", "whisper-large-v3-turbo"])
def test_whisper_understands_kokoro(model: str):
    from gpu_handler.engines.kokoro import KokoroSynthesizer  # noqa: PLC0415 - loads its runtime

    needs(model, "kokoro-82m", "kokoro-voices")
    engine = WhisperTranscriber(real(whisper_model=model))
    engine.load()
    voice = KokoroSynthesizer(real())
    voice.load()
    intelligible(voice, engine, ("en", "es"))
