"""Prometheus metrics of the upload service, the volume under it and the certificate beside it.

Reads never pass here: with MEDIA_READ_METRICS=metrics Caddy counts them on an endpoint of its own (hits are 200, 206
and 304, misses 404).
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from livedub.served_metrics import ServedMetrics
from media_edge.cache.blob_store import BlobStore

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_SIZE_BUCKETS_BYTES = (4e3, 16e3, 40e3, 80e3, 160e3, 320e3, 640e3, 1.28e6, 2.56e6, 4.2e6)
_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class UploadMetrics(ServedMetrics):
    """Counters and gauges on a registry of their own; `serve` opens the endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self._requests = Counter(
            "media_upload_requests",
            "Requests answered, by method and status",
            ["method", "status"],
            registry=self.registry,
        )
        self._answers: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._latency = Histogram(
            "media_upload_seconds",
            "From the head of a request to its answer",
            ["method"],
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._stored = Counter(
            "media_upload_objects",
            "Objects stored, by whose token and whether they are new",
            ["writer", "result"],
            registry=self.registry,
        )
        self._sizes = Histogram(
            "media_upload_bytes",
            "Sizes of objects stored",
            buckets=_SIZE_BUCKETS_BYTES,
            registry=self.registry,
        )
        self._deleted = Counter(
            "media_upload_deletions",
            "Deletions, by whether there was an object",
            ["result"],
            registry=self.registry,
        )
        self._aborted = Counter(
            "media_upload_aborted", "Clients that left before their body was whole", registry=self.registry
        )
        self._busy = Counter(
            "media_upload_refused_busy",
            "Uploads refused because too many were under way",
            registry=self.registry,
        )
        self._catalogue_failures = Counter(
            "media_upload_catalogue_failures",
            "Rows that the catalogue did not take or let go",
            registry=self.registry,
        )

    def answered(self, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        # A client chooses its method: every one it makes up would be a series.
        name = method if method in _METHODS else "other"
        count, latency = self._answers.get((name, status)) or self._answer(name, status)
        count.inc()
        latency.observe(seconds)

    def _answer(self, method: str, status: int) -> tuple[Counter, Histogram]:
        """The two series of such answers, found once: finding them takes longer than counting."""
        series = self._requests.labels(method, str(int(status))), self._latency.labels(method)
        self._answers[method, status] = series
        return series

    def stored(self, writer: str, size_bytes: int, *, created: bool) -> None:
        """An object was published."""
        self._stored.labels(writer, "created" if created else "replaced").inc()
        self._sizes.observe(size_bytes)

    def deleted(self, *, existed: bool) -> None:
        """A deletion was answered."""
        self._deleted.labels("deleted" if existed else "missing").inc()

    def aborted(self) -> None:
        """A client left."""
        self._aborted.inc()

    def refused_busy(self) -> None:
        """An upload was one too many."""
        self._busy.inc()

    def catalogue_failed(self) -> None:
        """The catalogue failed."""
        self._catalogue_failures.inc()

    def watch_uploads(self, under_way: Callable[[], int]) -> None:
        """Show how many uploads are under way at each scrape."""
        gauge = Gauge("media_upload_in_flight", "Uploads under way", registry=self.registry)
        gauge.set_function(under_way)

    def watch_volume(self, store: BlobStore) -> None:
        """Show the volume's room at each scrape."""
        free = Gauge("media_volume_free_bytes", "Free space of the volume", registry=self.registry)
        free.set_function(lambda: store.disk().free_bytes)
        total = Gauge("media_volume_total_bytes", "Size of the volume", registry=self.registry)
        total.set_function(lambda: store.disk().total_bytes)

    def watch_certificate(self, days_left: Callable[[], float]) -> None:
        """Show how long the served certificate is still valid, NaN where nothing is served."""
        gauge = Gauge(
            "media_certificate_days_left", "Days until the served certificate ends", registry=self.registry
        )
        gauge.set_function(days_left)
