"""Prometheus figures of the STS service, in a registry of their own: one per service, none global."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from livedub.media_cache.policy_metrics import CacheCounts, PolicyCollector
from livedub.sts.contract import StsResult

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0)
_STAGES = ("queue", "asr", "translation", "tts", "fit")


class StageFigures(Protocol):
    """What one stage has done so far, and what lies in it now."""

    waiting: int
    calls: int
    items: int
    refused: int
    out_of_memory: int
    idle_ns: int


Stages = Callable[[], Mapping[str, StageFigures]]


class ServiceMetrics:
    """Counts outcomes and times stages. Labels are bounded: codes and stages, never ids or languages sent."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "livedub_sts_requests",
            "Fragments answered, by outcome (success, partial, cancelled or error code)",
            ["outcome"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "livedub_sts_request_seconds",
            "From receipt to answer",
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._stage_seconds = Histogram(
            "livedub_sts_stage_seconds",
            "Time per stage of answered fragments",
            ["stage"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._audio_seconds = Counter(
            "livedub_sts_audio_seconds", "Source audio of answered fragments", registry=self._registry
        )
        self._waiting = Gauge("livedub_sts_waiting", "Fragments in the queue", registry=self._registry)
        self._running = Gauge("livedub_sts_running", "Fragments being worked on", registry=self._registry)
        self._ready = Gauge("livedub_sts_ready", "1 when every model is loaded", registry=self._registry)

    def watch_stages(self, stages: Stages) -> None:
        """Show the stages' own figures, asked anew at every scrape; call once."""
        self._registry.register(_StageCollector(stages))

    def watch_media_cache(self, counts: CacheCounts) -> None:
        """Show what the media cache gave and took, asked anew at every scrape; call once."""
        self._registry.register(PolicyCollector("livedub_sts_media_cache", counts))

    def answered(self, result: StsResult, *, took_s: float, audio_ms: int) -> None:
        """Record one answer to a fragment that was accepted."""
        self._count(result)
        self._seconds.observe(took_s)
        if result.error is None or result.dubs:
            self._audio_seconds.inc(audio_ms / 1_000)
            for stage in _STAGES:
                self._stage_seconds.labels(stage).observe(
                    getattr(result.stage_timings, f"{stage}_ms") / 1_000
                )

    def refused(self, result: StsResult) -> None:
        """Record an answer that cost no work."""
        self._count(result)

    def cancelled(self) -> None:
        """Record a caller that hung up."""
        self._requests.labels("cancelled").inc()

    def load(self, *, waiting: int, running: int) -> None:
        """Record how busy the service is."""
        self._waiting.set(waiting)
        self._running.set(running)

    def ready(self, *, ready: bool) -> None:
        """Record whether the models are loaded."""
        self._ready.set(int(ready))

    def _count(self, result: StsResult) -> None:
        error = result.error
        self._requests.labels(error.code.value if error and not result.dubs else result.status.value).inc()

    def exposition(self) -> bytes:
        """The text that `GET /metrics` answers."""
        return generate_latest(self._registry)


class _StageCollector(Collector):
    """Batching as it is: items over calls is the mean batch."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("livedub_sts_stage_waiting", "Items in a stage's queue", labels=["stage"])
        calls = CounterMetricFamily("livedub_sts_stage_calls", "Calls of a stage's engine", labels=["stage"])
        items = CounterMetricFamily("livedub_sts_stage_items", "Items in these calls", labels=["stage"])
        refused = CounterMetricFamily(
            "livedub_sts_stage_refused", "Items not computed: too late for their deadline", labels=["stage"]
        )
        out_of_memory = CounterMetricFamily(
            "livedub_sts_stage_out_of_memory", "Calls that ran out of memory", labels=["stage"]
        )
        idle = CounterMetricFamily(
            "livedub_sts_stage_idle_seconds", "Time items waited while the engine was free", labels=["stage"]
        )
        for name, stage in self._stages().items():
            waiting.add_metric([name], stage.waiting)
            calls.add_metric([name], stage.calls)
            items.add_metric([name], stage.items)
            refused.add_metric([name], stage.refused)
            out_of_memory.add_metric([name], stage.out_of_memory)
            idle.add_metric([name], stage.idle_ns / 1e9)
        yield from (waiting, calls, items, refused, out_of_memory, idle)

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the registry need not ask the stages to know the names."""
        return iter(())
