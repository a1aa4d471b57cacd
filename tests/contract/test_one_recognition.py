"""However many languages a fragment is wanted in, it is recognised once."""

from __future__ import annotations

from collections import Counter

import pytest

from gpu_handler.dispatcher import Dispatcher
from gpu_handler.job_handler import JobHandler
from gpu_handler.service_metrics import ServiceMetrics
from livedub.sts.contract import StsResult
from livedub.sts.http_client import HttpSts
from tests.contract.counting import counting_pipeline
from tests.contract.sts_rig import service
from tests.unit.livedub.sts.exchanges import request

LANGUAGES = ("en", "fr", "de", "it")


@pytest.mark.parametrize("targets", [LANGUAGES[:1], LANGUAGES])
@pytest.mark.parametrize("fragments", [1, 3])
async def test_over_http(targets: tuple[str, ...], fragments: int):
    calls: Counter[str] = Counter()
    async with service(counting_pipeline(calls)) as running:
        calls.clear()  # what warming up did
        sts = HttpSts(running.url)
        try:
            for number in range(fragments):
                asked = request(
                    sequence_number=number, targets=targets, duration_ms=1_000, deadline_ms=10_000
                )
                result = await sts.process(asked)
                assert {dub.language for dub in result.dubs if dub.audio} == set(targets)
        finally:
            await sts.aclose()
    assert (calls["transcribe"], calls["spans"]) == (fragments, fragments)
    assert calls["synthesize"] >= fragments


async def test_in_a_runpod_job():
    calls: Counter[str] = Counter()
    dispatcher = Dispatcher(
        counting_pipeline(calls), max_concurrency=2, queue_size=2, metrics=ServiceMetrics()
    )
    await dispatcher.load()
    calls.clear()
    handler = JobHandler(dispatcher, replace_worker=pytest.fail)
    asked = request(targets=LANGUAGES, duration_ms=1_000, deadline_ms=10_000).model_dump(mode="json")
    try:
        elements = [element async for element in handler.handle({"id": "a", "input": asked})]
    finally:
        await dispatcher.close()
    result = StsResult.model_validate(elements[-1]["result"], strict=False)
    assert {dub.language for dub in result.dubs} == set(LANGUAGES)
    assert (calls["transcribe"], calls["spans"]) == (1, 1)
