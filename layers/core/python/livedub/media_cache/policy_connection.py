"""The policy of whoever may do without a media cache: its libraries load only where the settings name one."""

from __future__ import annotations

import asyncio

from livedub.errors import ConfigurationError, MissingPrerequisiteError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.policy import CachePolicy


def connect_cache_policy(settings: MediaCacheSettings) -> CachePolicy | None:
    """The policy that the settings describe; None where they name no cache. Connects on first use.

    Raises:
        ConfigurationError: the token or the CA bundle cannot be used.
        MissingPrerequisiteError: the client's libraries are not installed.
    """
    if not settings.base_urls:
        return None
    try:
        from livedub.media_cache.connected import connect_policy  # noqa: PLC0415 - brings HTTP and certificates
    except ImportError as error:
        raise MissingPrerequisiteError(
            f"{error.name} is not installed, which TTS_MEDIA_CACHE_BASE_URL needs.",
            remedy="Install livedub with the extra media-cache-client.",
        ) from error

    return connect_policy(settings)


async def follow_settings(policy: CachePolicy, settings: MediaCacheSettings) -> None:
    """Let `policy` go on with the address, the token and the bundle of `settings`; nothing that is under way notices.

    Raises:
        ConfigurationError: there is no address, or the token or the CA bundle cannot be used: all stays as it is.
    """
    from livedub.media_cache.connected import connect_store  # noqa: PLC0415 - as above

    # Reading certificates takes the processor for milliseconds, which a stream's loop does not have.
    store = await asyncio.to_thread(connect_store, settings)
    if store is None:
        raise ConfigurationError(
            "TTS_MEDIA_CACHE_BASE_URL is empty: a running worker keeps the cache that it has.",
            remedy="Restart the stream's worker to go on without one.",
        )
    policy.replace_store(store)
