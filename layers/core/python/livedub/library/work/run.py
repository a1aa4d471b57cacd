"""Does one job, from its source in one bucket to its outputs in the other. Both executors call this and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.media_types import content_type_of
from livedub.library.probe import probe_file
from livedub.library.types import Job, JobKind, JobOutput, TranscodeParameters, TrimParameters
from livedub.library.work.exact_trim import trim_exact
from livedub.library.work.made_file import MadeFile
from livedub.library.work.step_progress import StepProgress
from livedub.library.work.transcode import transcode
from livedub.library.work.trim import trim_copy
from livedub.library.work.work_ports import JobCancelledError, JobProgress, WorkStorage
from livedub.library.work.workspace import disk_full_named, workspace

_DOWNLOADED = 0.1
_MADE = 0.9
_HASHED_BLOCK_BYTES = 1 << 20


def needs_ffmpeg(job: Job) -> bool:
    """Whether the job needs the program LIBRARY_FFMPEG; otherwise PyAV is enough."""
    return job.kind is JobKind.TRANSCODE


def run_job(
    job: Job, storage: WorkStorage, progress: JobProgress, settings: LibrarySettings
) -> tuple[JobOutput, ...]:
    """Do the job in a temporary folder that is gone afterwards, however it ends.

    The same job makes the same bytes under the same keys, so an attempt that is repeated does no harm.

    Raises:
        JobCancelledError: `progress` said so; it names what was uploaded by then.
        LibraryError: anything else; `retryable` says whether another attempt makes sense.
    """
    steps = StepProgress(progress)
    steps.stop_if_cancelled()
    with workspace(settings.work_dir) as folder, disk_full_named(folder):
        source = folder / f"source{PurePosixPath(job.source_key).suffix.lower()}"
        storage.download_file(
            settings.bucket_in, job.source_key, source, steps.part(0, _DOWNLOADED).transferred
        )
        probe_file(source, job.source_key)
        made = _work(job, source, folder, steps.part(_DOWNLOADED, _MADE), settings)
        return upload_made(made, storage, settings.bucket_out, steps.part(_MADE, 1.0))


def upload_made(
    made: Sequence[MadeFile], storage: WorkStorage, bucket: str, progress: StepProgress
) -> tuple[JobOutput, ...]:
    """Store files in their order; a cancellation names what was stored by then.

    Raises:
        JobCancelledError: the job is to stop.
        LibraryError: the storage's reason.
    """
    stored: list[JobOutput] = []
    try:
        for index, file in enumerate(made):
            step = progress.part(index / len(made), (index + 1) / len(made))
            step.stop_if_cancelled()
            content_type = content_type_of(file.key)
            storage.upload_file(file.path, bucket, file.key, content_type, step.transferred)
            stored.append(
                JobOutput(
                    key=file.key,
                    size_bytes=file.path.stat().st_size,
                    content_type=content_type,
                    sha256=_sha256(file.path),
                    language=file.language,
                )
            )
        progress.stop_if_cancelled()
    except JobCancelledError:
        raise JobCancelledError(tuple(output.key for output in stored)) from None
    return tuple(stored)


def _work(
    job: Job, source: Path, folder: Path, progress: StepProgress, settings: LibrarySettings
) -> list[MadeFile]:
    if isinstance(job.parameters, TranscodeParameters):
        if job.preset is None:
            raise LibraryError(
                LibraryErrorCode.UNKNOWN_PRESET,
                f"Job {job.id} carries no preset {job.parameters.preset!r}.",
                "Create the job through the library's API, which puts the preset into it.",
            )
        return transcode(job, job.preset, source, folder, progress, settings)
    target = folder / f"target{PurePosixPath(job.output_key).suffix.lower()}"
    if isinstance(job.parameters, TrimParameters):
        if job.parameters.exact:
            trim_exact(source, job.source_key, target, job.parameters, progress, settings.ffmpeg_threads)
        else:
            trim_copy(source, job.source_key, target, job.parameters, progress)
    return [MadeFile(target, job.output_key)]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASHED_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
