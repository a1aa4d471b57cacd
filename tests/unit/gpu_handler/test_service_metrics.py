"""What an operator's Prometheus reads."""

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from gpu_handler.pipeline import Pipeline
from gpu_handler.service_metrics import ServiceMetrics
from gpu_handler.settings import StsSettings
from livedub.sts.contract import ErrorCode, StageTimings
from tests.unit.livedub.sts.exchanges import failure, request, success


@dataclass
class Figures:
    waiting: int = 0
    calls: int = 0
    items: int = 0
    refused: int = 0
    out_of_memory: int = 0
    idle_ns: int = 0


def value(metrics: ServiceMetrics, name: str, **labels: str) -> float:
    (found,) = [
        sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def test_stages_are_asked_at_every_scrape():
    metrics, asr = ServiceMetrics(), Figures()
    metrics.watch_stages(lambda: {"asr": asr})
    assert value(metrics, "livedub_sts_stage_calls_total", stage="asr") == 0
    asr.calls, asr.items, asr.refused, asr.out_of_memory, asr.waiting, asr.idle_ns = 2, 9, 3, 1, 4, 5_000_000
    assert value(metrics, "livedub_sts_stage_calls_total", stage="asr") == 2
    assert value(metrics, "livedub_sts_stage_items_total", stage="asr") == 9
    assert value(metrics, "livedub_sts_stage_refused_total", stage="asr") == 3
    assert value(metrics, "livedub_sts_stage_out_of_memory_total", stage="asr") == 1
    assert value(metrics, "livedub_sts_stage_waiting", stage="asr") == 4
    assert value(metrics, "livedub_sts_stage_idle_seconds_total", stage="asr") == 0.005


async def test_the_pipeline_s_stages_can_be_watched():
    pipeline = Pipeline.from_settings(StsSettings(profile="mock"))
    metrics = ServiceMetrics()
    metrics.watch_stages(lambda: pipeline.counts)
    try:
        pipeline.load()
        await pipeline.process(request(targets=("en", "fr"), duration_ms=1_000, deadline_ms=10_000))
        assert value(metrics, "livedub_sts_stage_items_total", stage="asr") == 1
        assert value(metrics, "livedub_sts_stage_items_total", stage="tts") == 2
    finally:
        pipeline.close()


def test_outcomes_by_status_or_code():
    metrics = ServiceMetrics()
    done = success().model_copy(update={"stage_timings": StageTimings(asr_ms=250)})
    metrics.answered(done, took_s=0.3, audio_ms=4_000)
    metrics.answered(failure(ErrorCode.GPU_OOM), took_s=0.1, audio_ms=4_000)
    metrics.refused(failure(ErrorCode.QUEUE_FULL))
    metrics.cancelled()
    for outcome in ("success", "GPU_OOM", "QUEUE_FULL", "cancelled"):
        assert value(metrics, "livedub_sts_requests_total", outcome=outcome) == 1
    assert value(metrics, "livedub_sts_audio_seconds_total") == 4
    assert value(metrics, "livedub_sts_stage_seconds_sum", stage="asr") == 0.25


def test_what_the_media_cache_gave_is_shown():
    metrics = ServiceMetrics()
    counts = {"hits": 2, "late": 1}
    metrics.watch_media_cache(lambda: counts)
    counts["hits"] = 3
    assert value(metrics, "livedub_sts_media_cache_total", outcome="hits") == 3
    assert value(metrics, "livedub_sts_media_cache_total", outcome="late") == 1
