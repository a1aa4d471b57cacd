"""What working on jobs takes, put together from settings: the same for Celery's workers, hosts and Lambda functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from uuid import UUID

from livedub.database.database_secret import database_url
from livedub.errors import ConfigurationError
from livedub.library.catalogue import Catalogue, connect_catalogue
from livedub.library.job_attempt import AttemptPatience, AttemptResult, attempt_job
from livedub.library.jobs import JobStore
from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage
from livedub.library.work.run import run_job
from livedub.supervision.secret_store import SecretStore


class JobKit:
    """Catalogue, storage and patience of one process. Each is connected to when first used, from any thread."""

    def __init__(self, settings: LibrarySettings) -> None:
        self.settings = settings
        self.patience = AttemptPatience(
            beat_s=settings.job_beat_s, lease_s=settings.job_lease_s, timeout_s=settings.job_timeout_s
        )

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue.

        Raises:
            ConfigurationError: DATABASE_URL is empty or cannot be read.
        """
        named = self.settings.database_url_secret
        url = database_url(self._secrets, named) if named else self.settings.database_url.get_secret_value()
        if not url:
            raise ConfigurationError(
                "DATABASE_URL is empty.", remedy="Set it, or LIBRARY_DATABASE_URL_SECRET."
            )
        return connect_catalogue(url, lease_s=self.settings.job_lease_s)

    @property
    def jobs(self) -> JobStore:
        """The jobs."""
        return self.catalogue.jobs

    @functools.cached_property
    def storage(self) -> LibraryStorage:
        """The files."""
        return LibraryStorage(self.settings)

    @property
    def callback_url(self) -> str:
        """The address of the library's API."""
        return self.settings.callback_url

    @property
    def callback_secret(self) -> str:
        """What callbacks are signed with; it may have been exchanged meanwhile."""
        named = self._secret(self.settings.callback_secret_name)
        return named or self.settings.callback_secret.get_secret_value()

    def attempt(
        self,
        job_id: UUID,
        token: str,
        beat: Callable[[], bool] | None = None,
        *,
        patience: AttemptPatience | None = None,
    ) -> AttemptResult:
        """Work on a job from its claim to its end; see attempt_job."""
        return attempt_job(
            job_id,
            token=token,
            jobs=self.jobs,
            work=lambda job, progress: run_job(job, self.storage, progress, self.settings),
            patience=patience or self.patience,
            beat=beat,
        )

    @functools.cached_property
    def _secrets(self) -> SecretStore:
        return SecretStore.connect()

    def _secret(self, name: str) -> str:
        return self._secrets.text(name) if name else ""

    def close(self) -> None:
        """Let connections go."""
        if "catalogue" in self.__dict__:
            self.catalogue.close()
