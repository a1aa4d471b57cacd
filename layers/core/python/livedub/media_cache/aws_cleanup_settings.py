"""Settings of the clean-up that are kept in AWS, for a function whose environment names them and does not hold them."""

from __future__ import annotations

from pydantic import SecretStr

from livedub.database.database_secret import database_url, secret_object
from livedub.errors import ConfigurationError
from livedub.media_cache.cleanup_settings import MediaCleanupSettings
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.parameter_store import ParameterStore
from livedub.supervision.secret_store import SecretStore

_TOKEN = "TTS_MEDIA_CACHE_UPLOAD_TOKEN"  # noqa: S105 - its name


def from_aws(
    cleanup: MediaCleanupSettings, cache: MediaCacheSettings
) -> tuple[MediaCleanupSettings, MediaCacheSettings]:
    """Both with what AWS holds in place of what they name; as they are where they name nothing.

    Raises:
        ConfigurationError: a secret is not what it should be, or the host has not published its bundle yet.
        StoreUnavailableError: AWS does not answer, or refuses.
    """
    if cleanup.database_secret:
        url = SecretStr(database_url(SecretStore.connect(), cleanup.database_secret))
        cleanup = cleanup.model_copy(update={"database_url": url})
    if cleanup.token_secret:
        token = secret_object(SecretStore.connect(), cleanup.token_secret).get(_TOKEN)
        if not isinstance(token, str) or not token:
            raise ConfigurationError(
                f"Secret {cleanup.token_secret} has no {_TOKEN}.",
                remedy="Put one of the host's tokens into it.",
            )
        cache = cache.model_copy(update={"upload_token": SecretStr(token)})
    if cleanup.bundle_prefix:
        cache = cache.model_copy(update={"ca_bundle": _bundle(cleanup.bundle_prefix)})
    return cleanup, cache


def _bundle(prefix: str) -> str:
    held = ParameterStore.connect().bundles(prefix)
    found = next((value for value in held.values() if value.strip()), "")
    if not found:
        raise ConfigurationError(
            f"None of {', '.join(held)} is set.",
            remedy="Run livedub media rotate on the cache host: it publishes what vouches for it.",
        )
    return found
