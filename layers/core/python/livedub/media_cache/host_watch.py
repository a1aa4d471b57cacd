"""What the hourly clean-up tells of the hosts it comes by: their certificate, readiness and volume."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.host_state import host_state
from livedub.media_cache.served_certificate import days_left
from livedub.media_cache.tls_bundle import parse_ca_bundle, ssl_context

HostMetric = tuple[str, Literal["Count", "Percent"], float]


def host_metrics(settings: MediaCacheSettings, now: datetime) -> Iterator[HostMetric]:
    """Of all hosts together, the worst: name, unit and value.

    Raises:
        CaBundleError: the bundle cannot be used.
    """
    left = days_left(settings.base_urls, now)
    if left is not None:
        yield "CertificateDaysLeft", "Count", round(left, 2)
    bundle = settings.ca_bundle.strip()
    tls = ssl_context(parse_ca_bundle(bundle) if bundle else None)
    states = [host_state(base_url, tls) for base_url in settings.base_urls]
    yield "CacheHostsNotReady", "Count", sum(not state.ready for state in states)
    used = [state.used_percent for state in states if state.used_percent is not None]
    if used:
        yield "CacheVolumeUsedPercent", "Percent", max(used)
