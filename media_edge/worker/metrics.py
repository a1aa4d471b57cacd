"""Prometheus metrics of one worker, on a registry of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from livedub.media_cache.policy_metrics import CacheCounts, PolicyCollector
from livedub.served_metrics import ServedMetrics
from livedub.sts.breaker import BreakerState

_BREAKER_CODES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
_RTT_BUCKETS_MS = (100, 200, 400, 700, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 10_000)


class WorkerMetrics(ServedMetrics):
    """Counters and gauges; `serve` opens the endpoint, without it they cost next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.fragments = Counter(
            "worker_audio_fragments",
            "Fragments decided, by the rung that went to air",
            ["rung"],
            registry=self.registry,
        )
        self.fallback = Counter(
            "worker_fallback",
            "Fragments that did not air as a dub, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.rtt = Histogram(
            "worker_sts_rtt_ms",
            "From sending a fragment to its dub",
            buckets=_RTT_BUCKETS_MS,
            registry=self.registry,
        )
        self.in_flight = self._gauge("worker_inflight_fragments", "Fragments that STS works on now")
        self.breaker = self._gauge(
            "worker_sts_breaker_state", "STS circuit breaker: 0 closed, 1 half open, 2 open"
        )
        self.delay = self._gauge("worker_delay_ms", "D, as configured")
        self.av_sync = self._gauge(
            "worker_av_sync_delta_ms", "Where audio was placed minus where its timestamps are, average"
        )
        self.video_buffer = self._gauge("worker_video_buffer_bytes", "Pictures waiting out the delay")
        self.output_media = self._gauge("worker_output_media_ms", "Media time that last left")
        self.output_live = self._gauge(
            "worker_output_live", "Whether each language's output is published", ["output"]
        )
        self.output_sent = self._gauge(
            "worker_output_sent_media_ms", "Media time that each language's output last sent", ["output"]
        )
        self._outputs: set[str] = set()
        self.language_fragments = Counter(
            "worker_language_fragments",
            "Fragments decided in each language beside the first, by the rung that went to air",
            ["language", "rung"],
            registry=self.registry,
        )
        self.input_absent = self._gauge("worker_input_absent_ms", "How long no media has arrived")
        self.drift = self._gauge(
            "worker_publisher_drift_ppm", "How much slower than this host the publisher runs"
        )
        self.sessions = self._gauge("worker_ingest_sessions", "Publisher sessions received")
        self.gst_errors = Counter(
            "worker_gst_bus_errors",
            "Sessions that GStreamer reported an error for",
            ["side"],
            registry=self.registry,
        )

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def observe_event(self, event: dict[str, Any]) -> None:
        """Count one line of the session's event log."""
        if event.get("event") != "fragment":
            return
        rung = str(event.get("rung"))
        self.fragments.labels(rung=rung).inc()
        if rung != "dub":
            self.fallback.labels(reason=str(event.get("reason") or "unknown")[:64]).inc()
        for language, entry in (event.get("languages") or {}).items():
            self.language_fragments.labels(language=language, rung=entry["rung"]).inc()
        sent_ns, ready_ns = event.get("sent_ns"), event.get("ready_ns")
        if isinstance(sent_ns, int) and isinstance(ready_ns, int):
            self.rtt.observe((ready_ns - sent_ns) / 1_000_000)

    def watch_media_cache(self, counts: CacheCounts) -> None:
        """Show what the media cache gave and took, asked anew at every scrape; call once."""
        self.registry.register(PolicyCollector("worker_media_cache", counts))

    def count_failure(self, side: str) -> None:
        """Count a session on side `ingest` or `egress` that GStreamer reported an error for."""
        self.gst_errors.labels(side=side).inc()

    def observe_outputs(self, outputs: Mapping[str, Mapping[str, Any]]) -> None:
        """Show how each language's output is doing; one that is gone leaves no figure behind."""
        for gone in self._outputs - set(outputs):
            self.output_live.remove(gone)
            self.output_sent.remove(gone)
        self._outputs = set(outputs)
        for output, figures in outputs.items():
            self.output_live.labels(output=output).set(figures["state"] == "live")
            self.output_sent.labels(output=output).set(figures["sent_media_ms"] or 0)

    def observe_figures(self, figures: dict[str, Any], breaker: BreakerState, *, sessions: int) -> None:
        """Show the figures of one progress report."""
        self.in_flight.set(figures["in_flight"])
        self.av_sync.set(figures["av_sync_delta_ms"])
        self.video_buffer.set(figures["video_buffer_bytes"])
        self.output_media.set(figures["output_media_ms"] or 0)
        self.input_absent.set(figures["input_absent_ms"])
        self.drift.set(figures["drift_ppm"])
        self.sessions.set(sessions)
        self.breaker.set(_BREAKER_CODES[breaker])
