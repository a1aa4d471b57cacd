"""A worker between real servers, beside a media cache that has every line there is."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import numpy as np
import pytest

from livedub.media_cache.policy import READ_RATE_HZ
from tests.integration.worker.rig import WorkerRig
from tests.unit.livedub.media_cache.fake_cache import FakeCache, Received, respond, running
from tests.unit.livedub.media_cache.tls_files import self_signed, server_context

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(150)]

TOKEN = "-".join(["geheim"] * 3)
SPEECH = (9_000 * np.sin(np.arange(READ_RATE_HZ) * 0.05)).astype("<i2").tobytes()


async def has_everything(_: Received, writer: asyncio.StreamWriter) -> bool:
    await respond(writer, 200, SPEECH)
    return True


async def test_a_worker_airs_what_the_cache_has(
    rig: WorkerRig, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    certificate, key = self_signed()
    # The voice is in no hurry: what the cache has comes first.
    monkeypatch.setenv("STS_MOCK_TTS_MS", "1000")
    sts = await rig.sts()
    async with running(
        FakeCache(behaviour=has_everything), server_context(tmp_path, certificate, key)
    ) as cache:
        monkeypatch.setenv("TTS_MEDIA_CACHE_BASE_URL", cache.url)
        monkeypatch.setenv("TTS_MEDIA_CACHE_CA_BUNDLE", base64.b64encode(certificate.encode()).decode())
        monkeypatch.setenv("TTS_MEDIA_CACHE_UPLOAD_TOKEN", TOKEN)
        monkeypatch.setenv("TTS_MEDIA_CACHE_LOOKUP_MS", "1000")  # a slow machine is no slow cache
        publisher = await rig.publish(clip)
        async with rig.supervised(sts_url=sts, source_language="es", target_language="en") as worker:
            await worker.until(lambda line: line["event"] == "fragment" and line["cache_hit"])
            await rig.supervisor.stop(publisher)
            assert await worker.ended() == 4
    assert worker.said("the media cache answers")
    (diagnosis,) = worker.said("tlsDiag")
    assert '\\"mediaCacheTlsMode\\": \\"bundle-b64\\"' in diagnosis
    assert TOKEN not in "".join(worker.log)
    lines = [json.loads(line) for line in rig.events_path.read_text().splitlines()]
    hits = [line for line in lines if line["event"] == "fragment" and line["cache_hit"]]
    assert {line["rung"] for line in hits} == {"dub"}
    assert all(line["stage_timings"]["asr_ms"] >= 0 for line in hits)
