"""The STS service as a process beside a media cache: hits, one that is down, and settings that are wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from pathlib import Path

import httpx
import numpy as np
import pytest

from livedub.media_cache.key import Variant, object_path
from livedub.sts.contract import Dub
from livedub.sts.http_client import HttpSts
from tests.contract.test_sts_process import SERVE, ended, ready_url, run, started
from tests.unit.livedub.media_cache.fake_cache import FakeCache, running
from tests.unit.livedub.media_cache.tls_files import self_signed, server_context
from tests.unit.livedub.sts.exchanges import request

TOKEN = "-".join(["geheim"] * 3)


async def dubbed(sts: HttpSts, sequence_number: int) -> Dub:
    result = await sts.process(
        request(sequence_number=sequence_number, deadline_ms=20_000, duration_ms=1_000)
    )
    return result.dubs[0]


async def test_a_dub_comes_from_the_cache_over_tls(tmp_path: Path):
    certificate, key = self_signed()
    bundle = base64.b64encode(certificate.encode()).decode()
    speech = (8_000 * np.sin(np.arange(19_200) * 0.05)).astype("<i2").tobytes()
    async with running(FakeCache(), server_context(tmp_path, certificate, key)) as cache:
        env = {
            "TTS_MEDIA_CACHE_BASE_URL": cache.url,
            "TTS_MEDIA_CACHE_CA_BUNDLE": bundle,
            "TTS_MEDIA_CACHE_UPLOAD_TOKEN": TOKEN,
            "TTS_MEDIA_CACHE_LOOKUP_MS": "1000",  # a slow machine is no slow cache
        }
        async with started(*SERVE, **env) as process:
            url = await ready_url(process)
            sts = HttpSts(url)
            first = await dubbed(sts, 1)
            assert not first.cache_hit
            cache.objects[object_path(first.cache_key, Variant.PCM)] = speech
            second = await dubbed(sts, 2)
            assert second.cache_hit
            assert second.cache_key == first.cache_key
            async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
                metrics = (await http.get("/metrics")).text
            await sts.aclose()
            process.terminate()
            code, log = await ended(process)
    assert code == 0
    assert 'livedub_sts_media_cache_total{outcome="hits"} 1.0' in metrics
    assert 'livedub_sts_media_cache_total{outcome="misses"} 1.0' in metrics
    (diagnosis,) = (line for line in map(json.loads, log.splitlines()) if "tlsDiag" in line["message"])
    assert '"mediaCacheTlsMode": "bundle-b64"' in diagnosis["message"]
    assert f'"decodedCaBundleByteLength": {len(certificate)}' in diagnosis["message"]
    assert TOKEN not in log
    assert bundle[:60] not in log


async def test_a_cache_that_hangs_costs_no_dub_and_no_exit():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with started(*SERVE, TTS_MEDIA_CACHE_BASE_URL=address) as process:
            sts = HttpSts(await ready_url(process))
            for number in range(8):
                assert (await dubbed(sts, number)).audio is not None
            await sts.aclose()
            process.terminate()
            code, log = await asyncio.wait_for(ended(process), 30)
    assert code == 0
    assert log.count("the media cache is hardly asked any more") == 1


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("TTS_MEDIA_CACHE_CA_BUNDLE", "-----BEGIN CERTIFICATE-----", "cut off"),
        ("TTS_MEDIA_CACHE_BASE_URL", "http://10.0.0.1", "in the clear"),
        ("TTS_MEDIA_CACHE_UPLOAD_TOKEN", "two words", "TTS_MEDIA_CACHE_UPLOAD_TOKEN"),
    ],
)
async def test_settings_that_cannot_work_stop_the_start(variable: str, value: str, problem: str):
    env = {"TTS_MEDIA_CACHE_BASE_URL": "https://10.0.0.1:8443", variable: value}
    code, out, errors = await run(*SERVE[2:], **env)
    assert (code, out) == (2, "")
    assert problem in errors
    assert "Traceback" not in errors
