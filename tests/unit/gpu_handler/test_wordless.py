"""Five minutes of music, noise and silence must not yield one dubbed word."""

import pytest

from gpu_handler.guards import Verdict, judge
from gpu_handler.pipeline import Pipeline
from livedub.audio.codec import encode_audio
from livedub.sts.contract import AudioFormat, Status, StsConfig, StsRequest, Target
from tests.unit.gpu_handler.sounds import wordless_fragments

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(600)]

RATE_HZ = 16_000
TOTAL_S = 300
FRAGMENT_S = 4


@pytest.mark.parametrize("language", ["es", "auto"])
async def test_nothing_is_dubbed(real_pipeline: Pipeline, language: str):
    spoken = []
    for number, (kind, samples) in enumerate(wordless_fragments(TOTAL_S, FRAGMENT_S, RATE_HZ)):
        request = StsRequest(
            fragment_id=f"wordless-{language}/1/{number}",
            stream_id=f"wordless-{language}",
            generation=1,
            sequence_number=number,
            deadline_ms=60_000,
            audio=encode_audio(samples, RATE_HZ, AudioFormat.FLAC),
            config=StsConfig(source_language=language, targets=(Target(language="en"),)),
        )
        result = await real_pipeline.process(request)
        assert result.status is Status.SUCCESS, result.error
        spoken += [(kind, dub.translated_text) for dub in result.dubs if dub.translated_text or dub.audio]
    assert spoken == []


async def test_the_text_rules_hold_alone_when_the_voice_detector_is_fooled(real_pipeline: Pipeline):
    believed = []
    for kind, samples in wordless_fragments(TOTAL_S, FRAGMENT_S, RATE_HZ):
        recognition = await real_pipeline.transcribe(samples, RATE_HZ, "es")
        if judge(recognition, voice_ms=FRAGMENT_S * 1000) is Verdict.FINE:
            believed.append((kind, recognition.text))
    assert believed == []
