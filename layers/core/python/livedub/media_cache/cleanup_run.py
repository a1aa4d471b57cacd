"""One clean-up as its environment describes it; the command and the Lambda function both run this."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from livedub.errors import ConfigurationError
from livedub.media_cache.aws_cleanup_settings import from_aws
from livedub.media_cache.blocking_client import MediaCacheClient
from livedub.media_cache.catalogue_store import connect_catalogue
from livedub.media_cache.cleanup import Cleanup, CleanupOptions, CleanupReport
from livedub.media_cache.cleanup_settings import MediaCleanupSettings
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.stored_blobs import stored_blobs
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.settings import explain


def load_cleanup_settings() -> tuple[MediaCleanupSettings, MediaCacheSettings]:
    """Both parts of the environment, and what AWS holds where they name secrets or parameters.

    Raises:
        ConfigurationError: something is missing or wrong.
        StoreUnavailableError: AWS is named and does not answer, or refuses.
    """
    try:
        cleanup = MediaCleanupSettings()
    except ValidationError as error:
        raise explain(error, MediaCleanupSettings) from None
    try:
        cache = MediaCacheSettings()
    except ValidationError as error:
        raise explain(error, MediaCacheSettings) from None
    cleanup, cache = from_aws(cleanup, cache)
    if not cleanup.database_url.get_secret_value():
        raise ConfigurationError(
            "DATABASE_URL is not set: without a catalogue nothing is known to be over.",
            remedy="Set it to the database that the upload service uses.",
        )
    if not cache.base_urls:
        raise ConfigurationError(
            "TTS_MEDIA_CACHE_BASE_URL is not set: objects are deleted through their hosts.",
            remedy="Set the variables of a consumer that may write.",
        )
    return cleanup, cache


def clean_up(
    settings: MediaCleanupSettings,
    cache_settings: MediaCacheSettings,
    *,
    data_dir: Path | None = None,
    dry_run: bool = False,
    sweep: bool = False,
    within_s: float | None = None,
) -> CleanupReport:
    """Clean up once.

    Args:
        settings: the catalogue, and how fast.
        cache_settings: the hosts, with a token that may write.
        data_dir: where objects lie on this host, to look for those without a row; None does not look.
        dry_run: only say what would be done.
        sweep: delete objects without a row too.
        within_s: stop after so long though the settings allow more.

    Raises:
        ConfigurationError: database URL, token or bundle cannot be used.
        LivedubError: the catalogue does not answer, or `data_dir` cannot be read.
    """
    options = CleanupOptions(
        batch_rows=settings.batch_rows,
        parallel=settings.parallel,
        budget_s=settings.budget_s if within_s is None else min(settings.budget_s, within_s),
        dry_run=dry_run,
        orphan_age_s=settings.orphan_age_s,
        sweep=sweep,
    )
    bundle = cache_settings.ca_bundle.strip()
    cache = MediaCacheClient(
        cache_settings.base_urls,
        token=cache_settings.upload_token.get_secret_value(),
        tls=parse_ca_bundle(bundle) if bundle else None,
        deadline_ms=cache_settings.deadline_ms,
    )
    with cache:
        catalogue = connect_catalogue(
            settings.database_url.get_secret_value(), name="livedub-media-cache-cleanup"
        )
        try:
            return Cleanup(catalogue, cache, options).run(stored_blobs(data_dir) if data_dir else ())
        finally:
            catalogue.close()
