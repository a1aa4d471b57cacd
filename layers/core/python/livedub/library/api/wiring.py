"""What the library's API runs on: every part is built from the environment when it is first needed, then kept."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from livedub.database.database_secret import database_url
from livedub.errors import ConfigurationError
from livedub.library.api.callback_auth import CallbackGate
from livedub.library.api.service import LibraryService
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import ScanResult
from livedub.supervision.secret_store import SecretStore

if TYPE_CHECKING:
    from livedub.library.asset_store import PostgresAssets
    from livedub.library.catalogue import Catalogue
    from livedub.library.executor import Executor
    from livedub.library.job_store import PostgresJobs
    from livedub.library.preset_store import PostgresPresets
    from livedub.library.storage import LibraryStorage


class ConnectedParts:
    """Implements `service.LibraryParts`: the real ones, each connected with its first use."""

    def __init__(self, settings: LibrarySettings) -> None:
        self._settings = settings

    @property
    def settings(self) -> LibrarySettings:
        """The environment."""
        return self._settings

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue.

        Raises:
            ConfigurationError: nothing says where it is.
        """
        from livedub.library.catalogue import connect_catalogue  # noqa: PLC0415 - brings psycopg

        settings = self._settings
        named = settings.database_url_secret
        url = database_url(_secrets(), named) if named else settings.database_url.get_secret_value()
        if not url:
            raise ConfigurationError(
                "DATABASE_URL is not set: there is no catalogue.",
                remedy="Set it, or LIBRARY_DATABASE_URL_SECRET.",
            )
        return connect_catalogue(url, name="livedub-library-api", lease_s=settings.job_lease_s)

    @property
    def assets(self) -> PostgresAssets:
        """The catalogue's assets."""
        return self.catalogue.assets

    @property
    def jobs(self) -> PostgresJobs:
        """The catalogue's jobs."""
        return self.catalogue.jobs

    @property
    def presets(self) -> PostgresPresets:
        """The catalogue's presets."""
        return self.catalogue.presets

    @property
    def storage(self) -> LibraryStorage:
        """Where the files are."""
        return self._storage

    @property
    def queue(self) -> Executor:
        """Who runs jobs."""
        return self._queue

    @functools.cached_property
    def _storage(self) -> LibraryStorage:
        from livedub.library.storage import LibraryStorage  # noqa: PLC0415 - brings boto3

        return LibraryStorage(self._settings)

    @functools.cached_property
    def _queue(self) -> Executor:
        from livedub.library.executor import executor_from  # noqa: PLC0415 - brings Celery or boto3

        return executor_from(self._settings)

    @property
    def callbacks(self) -> CallbackGate:
        """What checks callbacks; its secret may have been exchanged meanwhile."""
        from livedub.library.api.nonce_store import PostgresNonces  # noqa: PLC0415 - brings psycopg

        settings = self._settings
        secret = _text(settings.callback_secret_name) or settings.callback_secret.get_secret_value()
        return CallbackGate(secret, PostgresNonces(self.catalogue.database))

    def scan(self, prefix: str) -> ScanResult:
        """Compare the bucket `in` with the catalogue, then read what is new for as long as settings allow."""
        from livedub.library.scan import scan_bucket  # noqa: PLC0415 - with its first use

        bucket, budget_s = self._settings.bucket_in, self._settings.scan_read_s
        result = scan_bucket(
            self.storage, self.assets, prefix, bucket_name=bucket, work_dir=self._settings.work_dir
        )
        if budget_s:
            from livedub.library.probing import read_assets  # noqa: PLC0415 - brings PyAV

            read_assets(self.storage, self.assets, prefix, bucket_name=bucket, budget_s=budget_s)
        return result

    def close(self) -> None:
        """Let connections go."""
        if "catalogue" in self.__dict__:
            self.catalogue.close()
        if "_queue" in self.__dict__:
            self.queue.close()


@functools.cache
def library() -> LibraryService:
    """The operations on the environment's library.

    Raises:
        ConfigurationError: a setting is malformed.
    """
    return LibraryService(_parts())


def api_token() -> str:
    """The bearer token of the API, empty where none is set; read anew when it may have been exchanged."""
    settings = _parts().settings
    return _text(settings.api_token_secret) or settings.api_token.get_secret_value()


def forget() -> None:
    """Close everything and build it anew at the next use: for tests, which change the environment."""
    if _parts.cache_info().currsize:
        _parts().close()
    for built in (library, _parts, _secrets):
        built.cache_clear()


@functools.cache
def _parts() -> ConnectedParts:
    return ConnectedParts(LibrarySettings.load())


@functools.cache
def _secrets() -> SecretStore:
    return SecretStore.connect()


def _text(name: str) -> str:
    """What a secret of that name holds; empty without a name."""
    return _secrets().text(name) if name else ""
