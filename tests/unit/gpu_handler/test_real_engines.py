"""Real models on real (synthesised) speech. What they reach is measured by tests/bench; here it must work at all."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_handler.engines.base import Utterance
from gpu_handler.engines.calibration import audible_range
from gpu_handler.engines.kokoro import KokoroSynthesizer
from gpu_handler.engines.whisper import WhisperTranscriber
from gpu_handler.guards import words_of
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.audio.codec import decode_audio, encode_audio
from livedub.audio.resample import resample
from livedub.errors import MissingPrerequisiteError
from livedub.sts.contract import AudioFormat, Status, StsConfig, StsRequest, Target

pytestmark = pytest.mark.models

RATE_HZ = 16_000
SPANISH = "La policía ha cerrado tres calles cerca del estadio."
ENGLISH = "The police have closed three streets near the stadium."


def request(samples: np.ndarray, rate_hz: int, source: str, *targets: str) -> StsRequest:
    return StsRequest(
        fragment_id="real/1/1",
        stream_id="real",
        generation=1,
        sequence_number=1,
        deadline_ms=60_000,
        audio=encode_audio(samples, rate_hz, AudioFormat.FLAC),
        config=StsConfig(
            source_language=source,
            targets=tuple(Target(language=target) for target in targets),
            max_overflow_ms=300,
        ),
    )


async def spoken(pipeline: Pipeline, text: str, voice: str, lead_ms: int = 400) -> tuple[np.ndarray, int]:
    """A sentence behind a lead of silence, at the voice's own rate."""
    speech = await pipeline.speak(text, voice)
    start, end = audible_range(speech.samples)
    lead = np.zeros(speech.sample_rate_hz * lead_ms // 1000, np.float32)
    tail = np.zeros(speech.sample_rate_hz // 5, np.float32)
    return np.concatenate([lead, speech.samples[start:end], tail]), speech.sample_rate_hz


async def test_spanish_becomes_english_speech_in_its_own_time(real_pipeline: Pipeline):
    samples, rate_hz = await spoken(real_pipeline, SPANISH, "es/em_alex")
    result = await real_pipeline.process(request(samples, rate_hz, "es", "en"))
    assert result.status is Status.SUCCESS, result.error
    (dub,) = result.dubs
    assert {"police", "closed", "streets"} <= set(words_of(dub.translated_text))
    assert dub.audio is not None
    heard = decode_audio(dub.audio)
    onset_ms = audible_range(heard)[0] * 1000 / dub.audio.sample_rate_hz
    assert onset_ms == pytest.approx(400, abs=150)
    assert result.stage_timings.asr_ms > 0
    back = await real_pipeline.transcribe(heard, dub.audio.sample_rate_hz, "en")
    assert {"police", "closed", "streets"} <= set(words_of(back.text))


async def test_english_becomes_spanish_speech(real_pipeline: Pipeline):
    samples, rate_hz = await spoken(real_pipeline, ENGLISH, "en/af_heart")
    result = await real_pipeline.process(request(samples, rate_hz, "auto", "es"))
    assert result.status is Status.SUCCESS, result.error
    assert result.transcript is not None
    assert result.transcript.language == "en"
    assert {"policía", "cerrado", "calles"} <= set(words_of(result.dubs[0].translated_text))


async def test_one_recognition_serves_two_languages(real_pipeline: Pipeline):
    samples, rate_hz = await spoken(
        real_pipeline, "Bonjour à tous, la ville est belle ce matin.", "fr/ff_siwis"
    )
    result = await real_pipeline.process(request(samples, rate_hz, "fr", "en", "es"))
    assert result.status is Status.SUCCESS, result.error
    texts = {dub.language: set(words_of(dub.translated_text)) for dub in result.dubs}
    assert {"city", "morning"} & texts["en"]
    assert {"ciudad", "mañana"} & texts["es"]


class Counting:
    """Counts the calls of a CTranslate2 model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("encode", "generate", "detect_language"):
            self.calls.append(name)
        return getattr(self._model, name)


@pytest.fixture(scope="module")
def whisper() -> WhisperTranscriber:
    engine = WhisperTranscriber(StsSettings())
    engine.load()
    return engine


async def test_the_encoder_runs_once_for_language_transcript_and_translation(
    real_pipeline: Pipeline, whisper: WhisperTranscriber, monkeypatch: pytest.MonkeyPatch
):
    samples, rate_hz = await spoken(real_pipeline, SPANISH, "es/em_alex")
    assert whisper._model is not None
    counting = Counting(whisper._model.model)
    monkeypatch.setattr(whisper, "_model", replace(whisper._model, model=counting))
    (heard,) = whisper.transcribe([Utterance(resample(samples, rate_hz, RATE_HZ), "auto", frozenset({"en"}))])
    assert counting.calls == ["encode", "detect_language", "generate"]
    assert heard.language == "es"
    assert heard.language_probability is not None
    assert heard.language_probability > 0.7
    assert "policía" in heard.text
    assert "police" in heard.translations["en"]


async def test_context_steers_spelling_without_being_repeated(
    real_pipeline: Pipeline, whisper: WhisperTranscriber
):
    samples, rate_hz = await spoken(real_pipeline, ENGLISH, "en/af_heart")
    (heard,) = whisper.transcribe(
        [
            Utterance(
                resample(samples, rate_hz, RATE_HZ),
                "en",
                context="Traffic news. The harbour was busy today.",
            )
        ]
    )
    assert {"police", "streets"} <= set(words_of(heard.text))
    assert "harbour" not in heard.text


@pytest.mark.parametrize("milliseconds", [1, 20, 1_000, 30_000])
def test_any_length_of_clip_is_taken(whisper: WhisperTranscriber, milliseconds: int):
    samples = np.zeros(RATE_HZ * milliseconds // 1000, np.float32)
    whisper.transcribe([Utterance(samples, "es", frozenset({"en"}))])


def test_whisper_knows_the_languages_it_was_trained_on(whisper: WhisperTranscriber):
    assert {"en", "es", "fr", "it", "pt", "de", "ja"} <= whisper.languages()
    assert 90 < len(whisper.languages()) < 110


@pytest.mark.slow
async def test_a_text_beyond_the_voice_limit_is_spoken_whole(real_pipeline: Pipeline):
    text = " ".join(["The police have closed three streets near the stadium,"] * 12) + " goodbye."
    speech = await real_pipeline.speak(text, "en/af_heart")
    assert len(speech.samples) / speech.sample_rate_hz > 25
    tail = resample(speech.samples[-3 * speech.sample_rate_hz :], speech.sample_rate_hz, RATE_HZ)
    assert "goodbye" in (await real_pipeline.transcribe(tail, RATE_HZ, "en")).text.lower()


async def test_pace_follows_the_speed_asked_for(real_pipeline: Pipeline):
    lengths = {}
    for speed in (0.85, 1.0, 1.12):
        speech = await real_pipeline.speak(ENGLISH, "en/af_heart", speed)
        start, end = audible_range(speech.samples)
        lengths[speed] = (end - start) * speech.speed
    assert max(lengths.values()) / min(lengths.values()) < 1.12


async def test_the_estimate_of_the_natural_duration_is_close(real_pipeline: Pipeline):
    speech = await real_pipeline.speak(SPANISH, "es/em_alex")
    start, end = audible_range(speech.samples)
    estimate_ms = real_pipeline._engines.synthesizer.natural_duration_ms(SPANISH, voice="es/em_alex")
    assert estimate_ms == pytest.approx((end - start) * 1000 / speech.sample_rate_hz, rel=0.2)


def test_loading_needs_no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a model load tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    pipeline = Pipeline.from_settings(StsSettings(profile="cpu"))
    try:
        pipeline.load()
        assert pipeline.health().ready
    finally:
        pipeline.close()


@pytest.mark.parametrize("engine", [WhisperTranscriber, KokoroSynthesizer])
def test_missing_models_name_make_setup(engine: Any, tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="make setup"):
        engine(StsSettings(model_dir=tmp_path)).load()
