"""A job's source, fetched into a workspace and looked at."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from livedub.library.library_settings import LibrarySettings
from livedub.library.probe import probe_file
from livedub.library.transfers import disk_errors, require_space
from livedub.library.types import Job
from livedub.library.work.step_progress import StepProgress
from livedub.library.work.work_ports import WorkStorage
from livedub.library.work.workspace import workspace

_FETCHED = 0.1


@contextmanager
def fetched_source(
    job: Job, storage: WorkStorage, progress: StepProgress, settings: LibrarySettings
) -> Generator[tuple[Path, StepProgress]]:
    """The source in a folder of its own, which is gone when the block ends, and the progress that is left.

    Raises:
        JobCancelledError: `progress` said so.
        DiskFullError: there is no room, for the source or for about as much again.
        LibraryError: what is wrong with the source: NO_SUCH_KEY, EMPTY_FILE, NOT_MEDIA, TRUNCATED, WRONG_EXTENSION ...
    """
    progress.stop_if_cancelled()
    with workspace(settings.work_dir) as folder, disk_errors(folder):
        source = folder / f"source{PurePosixPath(job.source_key).suffix.lower()}"
        storage.download_file(
            settings.bucket_in, job.source_key, source, progress.part(0, _FETCHED).transferred
        )
        probe_file(source, job.source_key)
        require_space(folder, source.stat().st_size)
        yield source, progress.part(_FETCHED, 1)
