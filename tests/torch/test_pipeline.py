"""Whole fragments through the pipeline: translated by models of the real architectures, spoken by VITS, fitted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_handler.engines.base import EngineInfo, Recognition, Utterance
from gpu_handler.engines.registry import build_engines
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.audio.codec import decode_audio, encode_audio
from livedub.errors import ConfigurationError
from livedub.sts.contract import AudioFormat, Status, StsConfig, StsRequest, Target
from tests.torch import tiny_models as tiny

RATE_HZ = 16_000
DURATION_MS = 5_000


class Prompter:
    """Hears the sentence that a fragment's pitch stands for: the recogniser is not what is tested here."""

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("prompter", "none", "none")

    def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    def languages(self) -> frozenset[str]:
        return frozenset({"en", "es", "fr"})

    def translation_targets(self) -> frozenset[str]:
        return frozenset()

    def transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        heard = []
        for utterance in batch:
            spectrum = np.abs(np.fft.rfft(utterance.samples))
            pitch_hz = float(np.argmax(spectrum)) * RATE_HZ / len(utterance.samples)
            heard.append(Recognition(tiny.TEXTS["en"][round(pitch_hz / 200) - 1], "en"))
        return heard


def request(index: int, *targets: str, stream_id: str = "torch") -> StsRequest:
    seconds = np.arange(RATE_HZ * DURATION_MS // 1000) / RATE_HZ
    samples = (0.2 * np.sin(2 * np.pi * 200 * (index + 1) * seconds)).astype(np.float32)
    return StsRequest(
        fragment_id=f"{stream_id}/1/{index}",
        stream_id=stream_id,
        generation=1,
        sequence_number=index,
        deadline_ms=100_000,
        audio=encode_audio(samples, RATE_HZ, AudioFormat.FLAC),
        config=StsConfig(source_language="en", targets=tuple(Target(language=target) for target in targets)),
    )


@pytest.fixture(params=["ctranslate2", "marian", "m2m100", "nllb"])
async def pipeline(request: pytest.FixtureRequest, settings: StsSettings) -> AsyncIterator[Pipeline]:
    chosen = settings.model_copy(
        update={
            "profile": "mock",
            "transcriber": "mock",
            "translator": request.param,
            "synthesizer": "coqui",
            "allow_noncommercial": True,
        }
    )
    made = Pipeline(replace(build_engines(chosen), transcriber=Prompter()), settings=chosen)
    made.load()
    yield made
    made.close()


async def test_fragments_of_several_streams_come_back_translated_and_in_their_own_time(pipeline: Pipeline):
    asked = [request(index, "es", stream_id=f"stream{index}") for index in range(4)]
    results = await asyncio.gather(*(pipeline.process(one) for one in asked))
    for index, result in enumerate(results):
        assert result.transcript is not None, result.error
        assert result.transcript.text == tiny.TEXTS["en"][index]
        if result.status is Status.SUCCESS:
            (dub,) = result.dubs
            assert dub.translated_text == tiny.TEXTS["es"][index]
            assert dub.audio is not None
            assert dub.audio.duration_ms == pytest.approx(DURATION_MS, abs=300)
            assert np.isfinite(decode_audio(dub.audio)).all()
    spoken = [result for result in results if result.status is Status.SUCCESS]
    # noise of random weights can have a length that no voice has; the check of speech then refuses it
    assert len(spoken) >= 2, [result.error for result in results]


async def test_the_answer_names_the_models(pipeline: Pipeline):
    result = await pipeline.process(request(2, "es"))
    assert "vits" in str(result.models)
    assert any(name in str(result.models) for name in ("opus-mt", "m2m100", "nllb"))


@pytest.mark.parametrize(
    "changes",
    [
        {"translator": "nllb", "synthesizer": "coqui"},
        {"translator": "ctranslate2", "synthesizer": "xtts"},
    ],
)
def test_what_must_not_run_keeps_the_pipeline_from_starting(settings: StsSettings, changes: dict[str, Any]):
    chosen = settings.model_copy(update={"profile": "mock", "transcriber": "mock", **changes})
    pipeline = Pipeline.from_settings(chosen)
    with pytest.raises(ConfigurationError, match="STS_ALLOW_NONCOMMERCIAL"):
        pipeline.load()
    pipeline.close()
