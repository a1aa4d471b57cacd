"""What working on jobs takes, put together from settings: the same for Celery's workers, hosts and Lambda functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from uuid import UUID

from livedub.errors import ConfigurationError
from livedub.library.catalogue import Catalogue, connect_catalogue
from livedub.library.job_attempt import AttemptPatience, AttemptResult, attempt_job
from livedub.library.jobs import JobStore
from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage
from livedub.library.work.run import run_job


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
        url = self.settings.database_url.get_secret_value()
        if not url:
            raise ConfigurationError("DATABASE_URL is empty.", remedy="Give the catalogue's Postgres.")
        return connect_catalogue(url, lease_s=self.settings.job_lease_s)

    @property
    def jobs(self) -> JobStore:
        """The jobs."""
        return self.catalogue.jobs

    @functools.cached_property
    def storage(self) -> LibraryStorage:
        """The files."""
        return LibraryStorage(self.settings)

    def attempt(self, job_id: UUID, token: str, beat: Callable[[], bool] | None = None) -> AttemptResult:
        """Work on a job from its claim to its end; see attempt_job."""
        return attempt_job(
            job_id,
            token=token,
            jobs=self.jobs,
            work=lambda job, progress: run_job(job, self.storage, progress, self.settings),
            patience=self.patience,
            beat=beat,
        )

    def close(self) -> None:
        """Let connections go."""
        if "catalogue" in self.__dict__:
            self.catalogue.close()
