"""Does one job, from its source in one bucket to its outputs in the other. Both executors call this and nothing else."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import Job, JobKind, JobOutput, TranscodeParameters, TrimParameters
from livedub.library.work.dub_fan_out import dub_whole
from livedub.library.work.exact_trim import trim_exact
from livedub.library.work.made_file import MadeFile
from livedub.library.work.source_file import fetched_source
from livedub.library.work.step_progress import StepProgress
from livedub.library.work.transcode import transcode
from livedub.library.work.trim import trim_copy
from livedub.library.work.upload import upload_made
from livedub.library.work.work_ports import JobProgress, WorkStorage

_MADE = 0.9


def needs_ffmpeg(job: Job) -> bool:
    """Whether the job needs the program LIBRARY_FFMPEG; otherwise PyAV is enough."""
    return job.kind is JobKind.TRANSCODE


def run_job(
    job: Job, storage: WorkStorage, progress: JobProgress, settings: LibrarySettings
) -> tuple[JobOutput, ...]:
    """Do the job in a temporary folder that is gone afterwards, however it ends.

    The same job makes the same bytes under the same keys, so an attempt that is repeated does no harm.

    Raises:
        JobCancelledError: `progress` said so; what was stored by then is deleted again.
        LibraryError: anything else; `retryable` says whether another attempt makes sense.
    """
    with fetched_source(job, storage, StepProgress(progress), settings) as (source, step):
        made = _work(job, source, step.part(0, _MADE), settings)
        return upload_made(made, storage, settings.bucket_out, step.part(_MADE, 1.0))


def _work(job: Job, source: Path, progress: StepProgress, settings: LibrarySettings) -> list[MadeFile]:
    if isinstance(job.parameters, TranscodeParameters):
        if job.preset is None:
            raise LibraryError(
                LibraryErrorCode.UNKNOWN_PRESET,
                f"Job {job.id} carries no preset {job.parameters.preset!r}.",
                "Create the job through the library's API, which puts the preset into it.",
            )
        return transcode(job, job.preset, source, progress, settings)
    target = source.parent / f"target{PurePosixPath(job.output_key).suffix.lower()}"
    if isinstance(job.parameters, TrimParameters):
        if job.parameters.exact:
            trim_exact(source, job.source_key, target, job.parameters, progress, settings.ffmpeg_threads)
        else:
            trim_copy(source, job.source_key, target, job.parameters, progress)
        return [MadeFile(target, job.output_key)]
    return dub_whole(job, source, progress, settings)
