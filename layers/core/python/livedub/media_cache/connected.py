"""The policy over a real cache, from settings."""

from __future__ import annotations

from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.media_cache_client import AsyncMediaCacheClient, connect_media_cache
from livedub.media_cache.policy import CachePolicy, PolicyConfig
from livedub.sts.breaker import BreakerConfig

HOST_BREAKER = BreakerConfig(failures_to_open=2, cool_down_ms=2_000)
"""One host of several that is down must not make each of its keys late."""


def connect_store(settings: MediaCacheSettings) -> AsyncMediaCacheClient | None:
    """The cache that the settings describe; None where they name none. Connects on first use.

    Raises:
        ConfigurationError: the token or the CA bundle cannot be used.
    """
    return connect_media_cache(settings, breaker=HOST_BREAKER)


def connect_policy(settings: MediaCacheSettings) -> CachePolicy | None:
    """The policy that the settings describe; None where they name no cache. Connects on first use.

    Raises:
        ConfigurationError: the token or the CA bundle cannot be used.
    """
    client = connect_store(settings)
    if client is None:
        return None
    config = PolicyConfig(
        lookup_ms=settings.lookup_ms,
        admit_on_sight=settings.admit_on_sight,
        ttl_s=settings.ttl_s or None,
        variants=settings.stored_variants,
    )
    return CachePolicy(client, config)
