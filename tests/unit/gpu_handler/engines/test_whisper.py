"""Whisper on synthesised speech: batches, languages, what stands before an utterance, word times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_handler.engines.base import Line, Utterance
from gpu_handler.engines.calibration import audible_range
from gpu_handler.engines.espeak import EspeakSynthesizer
from gpu_handler.engines.kokoro import KokoroSynthesizer
from gpu_handler.engines.whisper import WhisperTranscriber
from gpu_handler.guards import words_of
from gpu_handler.settings import StsSettings
from livedub.audio.resample import resample
from livedub.errors import MissingPrerequisiteError

pytestmark = pytest.mark.models

RATE_HZ = 16_000
ENGLISH = "The police have closed three streets near the stadium."
SPANISH = "La policía ha cerrado tres calles cerca del estadio."
WELCOME = "Good evening everyone, and welcome to our live programme from Madrid."


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    voice = KokoroSynthesizer(StsSettings())
    voice.load()
    spoken = {}
    for text, name in ((ENGLISH, "en/af_heart"), (SPANISH, "es/em_alex"), (WELCOME, "en/af_heart")):
        (speech,) = voice.synthesize([Line(text, name)])
        start, end = audible_range(speech.samples)
        spoken[text] = resample(speech.samples[start:end], speech.sample_rate_hz, RATE_HZ)
    voice.close()
    return spoken


@pytest.fixture(scope="module")
def whisper() -> Iterator[WhisperTranscriber]:
    engine = WhisperTranscriber(StsSettings(whisper_max_batch=4, whisper_word_times="on"))
    engine.load()
    yield engine
    engine.close()


def test_a_batch_hears_what_each_utterance_alone_says(
    whisper: WhisperTranscriber, clips: dict[str, np.ndarray]
):
    batch = [
        Utterance(clips[ENGLISH], "en"),
        Utterance(clips[SPANISH], "auto", frozenset({"en", "fr"})),
        Utterance(
            clips[WELCOME], "en", frozenset({"en"}), context="It was a quiet day until the evening came."
        ),
        Utterance(clips[ENGLISH], "auto", frozenset({"en"})),
    ]
    english, spanish, welcome, detected = whisper.transcribe(batch)
    assert {"police", "closed", "streets", "stadium"} <= set(words_of(english.text))
    assert {"policía", "calles", "estadio"} <= set(words_of(spanish.text))
    assert set(spanish.translations) == {"en"}
    assert "police" in spanish.translations["en"].lower()
    assert {"welcome", "madrid"} <= set(words_of(welcome.text))
    assert [item.language for item in (english, spanish, welcome, detected)] == ["en", "es", "en", "en"]
    assert [item.language_probability is None for item in (english, spanish, welcome, detected)] == [
        True,
        False,
        True,
        False,
    ]
    assert not english.translations
    assert not detected.translations
    for item, utterance in zip((english, spanish, welcome, detected), batch, strict=True):
        assert words_of(whisper.transcribe([utterance])[0].text) == words_of(item.text)


class Counting:
    """Counts the rows that go through a CTranslate2 model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.encoded: list[int] = []
        self.decoded: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, features: Any) -> Any:
        self.encoded.append(features.shape[0])
        return self._model.encode(features)

    def generate(self, encoded: Any, prompts: Any, **options: Any) -> Any:
        assert len({len(prompt) for prompt in prompts}) == 1, "CTranslate2 wants prompts of one length"
        self.decoded.append(len(prompts))
        return self._model.generate(encoded, prompts, **options)


def test_every_utterance_is_encoded_once_whatever_is_wanted_of_it(
    whisper: WhisperTranscriber, clips: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    assert whisper._model is not None
    counting = Counting(whisper._model.model)
    monkeypatch.setattr(whisper, "_model", replace(whisper._model, model=counting))
    whisper.transcribe(
        [
            Utterance(clips[SPANISH], "auto", frozenset({"en"})),
            Utterance(clips[ENGLISH], "en"),
            Utterance(clips[SPANISH], "es", frozenset({"en"})),
        ]
    )
    assert counting.encoded == [3]
    assert counting.decoded == [5]


def test_streams_with_different_contexts_still_share_batches(
    whisper: WhisperTranscriber, clips: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    assert whisper._model is not None
    counting = Counting(whisper._model.model)
    monkeypatch.setattr(whisper, "_model", replace(whisper._model, model=counting))
    contexts = [" ".join(["the harbour was busy"] * count) for count in (6, 7, 8, 9)]
    heard = whisper.transcribe([Utterance(clips[ENGLISH], "en", context=context) for context in contexts])
    assert counting.encoded == [4]
    assert all("stadium" in item.text for item in heard)


def test_the_language_of_english_is_english_whatever_the_dub_is(
    whisper: WhisperTranscriber, clips: dict[str, np.ndarray]
):
    """Whisper told that English is Spanish writes half a translation; what it is asked for must not get there."""
    assert whisper.translation_targets() == {"en"}
    for language in ("auto", "en"):
        (heard,) = whisper.transcribe([Utterance(clips[ENGLISH], language, frozenset({"es", "fr"}))])
        assert heard.language == "en"
        assert {"police", "streets"} <= set(words_of(heard.text))
        assert not heard.translations


def test_terms_decide_the_spelling(whisper: WhisperTranscriber):
    voice = EspeakSynthesizer(StsSettings())
    voice.load()
    (speech,) = voice.synthesize(
        [Line("Good evening from Caitlin Clark and the fans of the team.", "en/espeak")]
    )
    clip = resample(speech.samples, speech.sample_rate_hz, RATE_HZ)
    plain, told = (
        whisper.transcribe([Utterance(clip, "en", terms=terms)])[0].text
        for terms in ((), ("Kaitlyn Klarke",))
    )
    assert "Kaitlyn Klarke" in told
    assert "Klarke" not in plain


def test_words_have_times_in_order_within_the_clip(whisper: WhisperTranscriber, clips: dict[str, np.ndarray]):
    for text, language in ((ENGLISH, "en"), (SPANISH, "es")):
        silence = np.zeros(RATE_HZ, np.float32)
        (heard,) = whisper.transcribe([Utterance(np.concatenate([silence, clips[text]]), language)])
        (segment,) = heard.segments
        assert " ".join(word.text for word in segment.words) == heard.text
        edges = [edge for word in segment.words for edge in (word.start_ms, word.end_ms)]
        assert edges == sorted(edges)
        assert edges[-1] <= segment.end_ms
        # a second of silence lies before the first word's end
        assert segment.words[0].end_ms > 800
        assert segment.words[-1].end_ms > segment.end_ms - 700


def test_silence_and_snippets_have_no_words_to_time(
    whisper: WhisperTranscriber, clips: dict[str, np.ndarray]
):
    batch = [
        Utterance(np.zeros(RATE_HZ, np.float32), "en"),
        Utterance(clips[ENGLISH][:160], "en"),
        Utterance(np.zeros(0, np.float32), "en"),
        Utterance(clips[ENGLISH], "en"),
    ]
    heard = whisper.transcribe(batch)
    assert len(heard) == len(batch)
    assert len(heard[3].segments[0].words) > 5


def test_words_are_timed_on_a_cpu_only_when_asked_for():
    assert not WhisperTranscriber(StsSettings())._times_words
    assert WhisperTranscriber(StsSettings(whisper_word_times="on"))._times_words
    assert WhisperTranscriber(StsSettings(profile="gpu"))._times_words
    assert not WhisperTranscriber(StsSettings(profile="gpu", whisper_word_times="off"))._times_words


def test_batches_are_for_gpus_unless_asked_for():
    assert WhisperTranscriber(StsSettings()).info.max_batch == 1
    assert WhisperTranscriber(StsSettings(profile="gpu")).info.max_batch == 16
    assert WhisperTranscriber(StsSettings(whisper_max_batch=3)).info.max_batch == 3


def test_a_folder_that_is_no_model_is_named(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="STS_WHISPER_MODEL"):
        WhisperTranscriber(StsSettings(whisper_model=str(tmp_path))).load()


def test_an_impossible_number_format_is_named():
    with pytest.raises(MissingPrerequisiteError, match="STS_WHISPER_COMPUTE_TYPE"):
        WhisperTranscriber(StsSettings(whisper_compute_type="int3")).load()
