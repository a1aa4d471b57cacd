"""Prometheus figures of the STS service, in a registry of their own: one per service, none global."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from livedub.sts.contract import StsResult

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0)
_STAGES = ("queue", "asr", "translation", "tts", "fit")


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
