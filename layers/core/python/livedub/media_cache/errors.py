"""What can go wrong between a consumer and the media cache."""

from __future__ import annotations

from livedub.errors import ConfigurationError, LivedubError


class CaBundleError(ConfigurationError):
    """`TTS_MEDIA_CACHE_CA_BUNDLE` holds no usable certificates; the message never repeats its contents."""


class MediaCacheError(LivedubError):
    """Base of what a client raises."""


class MediaCacheUnavailableError(MediaCacheError):
    """No host answered in time, or one broke off: the same request may succeed later."""


class MediaCacheUntrustedError(MediaCacheUnavailableError):
    """The host's certificate is not vouched for by the consumer's bundle, or is for another name."""


class MediaCacheRefusedError(MediaCacheError):
    """A host answered, and does not do what was asked; `status_code` is its HTTP status."""

    def __init__(self, message: str, *, status_code: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status_code = status_code
