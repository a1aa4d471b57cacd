"""Prometheus metrics of the agent and, because workers of one host cannot share a port, the main figures of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from livedub.served_metrics import ServedMetrics

_FIGURES = {
    "output_media_ms": "Media time sent, of each worker",
    "input_absent_ms": "How long each worker's publisher has been away",
    "in_flight": "Fragments STS works on now, of each worker",
    "cpu_percent": "Processor time of each worker, percent of one core",
    "rss_bytes": "Memory of each worker",
}
_START_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20)


class AgentMetrics(ServedMetrics):
    """Counters and gauges on a registry of their own; `serve` opens the endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Gauge("agent_slots", "Streams this host dubs at once", registry=self.registry)
        self.used = Gauge("agent_slots_used", "Streams this host dubs now", registry=self.registry)
        self.draining = Gauge(
            "agent_draining", "1 while the host lets go of its streams", registry=self.registry
        )
        self.claims = Counter(
            "agent_claims", "Work messages, by what became of them", ["result"], registry=self.registry
        )
        self.beats = Counter(
            "agent_beats", "Renewals and heartbeats, by result", ["result"], registry=self.registry
        )
        self.ends = Counter(
            "agent_runs_ended", "Streams let go, by outcome", ["outcome"], registry=self.registry
        )
        self.start_time = Histogram(
            "agent_start_seconds",
            "From the claim to the worker's first line",
            buckets=_START_BUCKETS_S,
            registry=self.registry,
        )
        self._figures = {
            name: Gauge(f"agent_worker_{name}", text, ["stream_id"], registry=self.registry)
            for name, text in _FIGURES.items()
        }

        self._outputs_live = Gauge(
            "agent_worker_output_live",
            "Whether each language's output of each worker is published",
            ["stream_id", "output"],
            registry=self.registry,
        )
        self._outputs: dict[str, set[str]] = {}

    def observe_worker(self, stream_id: str, event: Mapping[str, Any]) -> None:
        """Show one progress line."""
        if event.get("event") != "progress":
            return
        for name, gauge in self._figures.items():
            value = event.get(name)
            if isinstance(value, int | float):
                gauge.labels(stream_id=stream_id).set(value)
        self._observe_outputs(stream_id, event.get("outputs") or {})

    def forget_worker(self, stream_id: str) -> None:
        """The worker is gone, and so are its figures."""
        for gauge in self._figures.values():
            gauge.remove_by_labels({"stream_id": stream_id})
        self._observe_outputs(stream_id, {})

    def _observe_outputs(self, stream_id: str, outputs: Mapping[str, Mapping[str, Any]]) -> None:
        for gone in self._outputs.pop(stream_id, set()) - set(outputs):
            self._outputs_live.remove(stream_id, gone)
        if outputs:
            self._outputs[stream_id] = set(outputs)
        for output, figures in outputs.items():
            self._outputs_live.labels(stream_id=stream_id, output=output).set(figures.get("state") == "live")
