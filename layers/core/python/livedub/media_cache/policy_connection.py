"""The policy of whoever may do without a media cache: its libraries load only where the settings name one."""

from __future__ import annotations

from livedub.errors import MissingPrerequisiteError
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
