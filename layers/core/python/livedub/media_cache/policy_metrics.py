"""What a cache policy counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

CacheCounts = Callable[[], Mapping[str, int]]
"""By outcome, as `PolicyCounts` names them."""


class PolicyCollector(Collector):
    """Hits over all lookups is the hit rate; `late`, `failed` and `skipped` say how the cache is.

    Args:
        name: of the counter, without `_total`.
        counts: asked anew at every scrape.
    """

    def __init__(self, name: str, counts: CacheCounts) -> None:
        self._name = name
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """One sample for each outcome."""
        outcomes = CounterMetricFamily(
            self._name, "Lookups in the media cache and writes to it", labels=["outcome"]
        )
        for name, count in self._counts().items():
            outcomes.add_metric([name], count)
        yield outcomes

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the outcomes are the policy's to name."""
        return iter(())
