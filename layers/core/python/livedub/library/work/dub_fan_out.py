"""A dub job in three steps, each of which another host may do: plan its ranges, dub one, join them all.

Between the steps lie parts in the bucket `out`, one object for each range below `part_prefix`. A part's key and bytes
follow from job and range, so a range that is dubbed twice is stored twice the same. `dub_whole` does the three in one
process and without that detour; what comes out is the same to the byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from livedub.errors import LivedubError
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import DubParameters, Job, JobOutput, Wire
from livedub.library.work.dub_file import (
    dub_config,
    dub_to_part,
    join_to_file,
    refuse_too_many_failures,
    stoppable,
    subtitles,
)
from livedub.library.work.dub_part import DubPartFile, PartSummary
from livedub.library.work.dub_plan import DubPlan, DubRange
from livedub.library.work.made_file import MadeFile
from livedub.library.work.patient_sts import PatientSts
from livedub.library.work.programme_file import plan_file
from livedub.library.work.source_file import fetched_source
from livedub.library.work.step_progress import StepProgress
from livedub.library.work.upload import upload_made
from livedub.library.work.work_ports import JobProgress, WorkStorage
from livedub.sts.client import SpeechToSpeech, connect_sts

__all__ = [
    "DubPart",
    "DubPlan",
    "DubRange",
    "dub_range",
    "dub_whole",
    "join_parts",
    "part_prefix",
    "plan_dub",
]

Connect = Callable[[LibrarySettings], SpeechToSpeech]
_PLANNED = 0.1
_DUBBED = 0.9
_FETCHED = 0.3
_ENOUGH_FAILURES = 3


class DubPart(Wire):
    """One dubbed range, in the bucket `out`."""

    index: int
    key: str


def part_prefix(job: Job) -> str:
    """What the keys of a job's parts begin with: deleted when the dub is joined, or by whoever gives the job up."""
    return f".parts/{job.id}/"


def plan_dub(job: Job, storage: WorkStorage, progress: JobProgress, settings: LibrarySettings) -> DubPlan:
    """Read the source and say in which ranges it is to be dubbed.

    Raises:
        JobCancelledError: `progress` said so.
        LibraryError: what is wrong with the source.
    """
    with fetched_source(job, storage, StepProgress(progress), settings) as (source, step):
        return plan_file(source, job.source_key, settings.dub_range_s, step)


def dub_range(
    job: Job, dub_range: DubRange, storage: WorkStorage, progress: JobProgress, settings: LibrarySettings
) -> DubPart:
    """Dub one range and store its part.

    Raises:
        JobCancelledError: `progress` said so.
        LibraryError: what is wrong; with the service, only where no fragment of the range could be dubbed.
    """
    key = _part_key(job, dub_range)
    with fetched_source(job, storage, StepProgress(progress), settings) as (source, step):
        part = source.parent / "part.zip"
        _dub_one(job, source, dub_range, part, step.part(0, _DUBBED), settings, connect_service)
        storage.upload_file(part, settings.bucket_out, key, "", step.part(_DUBBED, 1).transferred)
    return DubPart(index=dub_range.index, key=key)


def join_parts(
    job: Job, plan: DubPlan, storage: WorkStorage, progress: JobProgress, settings: LibrarySettings
) -> tuple[JobOutput, ...]:
    """Make the dubbed file out of the parts, store it, and delete the parts.

    Raises:
        JobCancelledError: `progress` said so; what was stored by then is deleted again.
        LibraryError: NO_SUCH_KEY where a part is missing; WORK_FAILED where too much stayed undubbed.
    """
    with fetched_source(job, storage, StepProgress(progress), settings) as (source, step):
        parts: list[DubPartFile] = []
        share = _FETCHED / len(plan.ranges)
        for one in plan.ranges:
            path = source.parent / f"part-{one.index:05}.zip"
            step_of_part = step.part(one.index * share, (one.index + 1) * share)
            storage.download_file(settings.bucket_out, _part_key(job, one), path, step_of_part.transferred)
            parts.append(DubPartFile(path))
        made = _join(job, source, parts, step.part(_FETCHED, _DUBBED), settings)
        outputs = upload_made(made, storage, settings.bucket_out, step.part(_DUBBED, 1))
    for one in plan.ranges:
        storage.delete_object(settings.bucket_out, _part_key(job, one))
    return outputs


def connect_service(settings: LibrarySettings) -> SpeechToSpeech:
    """The STS service that settings name.

    Raises:
        LibraryError: MISCONFIGURED, none is named, or its address is none.
    """
    if not settings.sts_service_url:
        raise LibraryError(
            LibraryErrorCode.MISCONFIGURED,
            "STS_SERVICE_URL is empty: nobody can dub.",
            "Give the workers the address of an STS service, http(s)://HOST or runpod://ENDPOINT_ID.",
        )
    try:
        return connect_sts(
            settings.sts_service_url,
            api_key=settings.sts_api_key.get_secret_value(),
            runpod_base_url=settings.sts_runpod_base_url,
        )
    except LivedubError as error:
        raise LibraryError(LibraryErrorCode.MISCONFIGURED, error.message, error.remedy) from error


def dub_whole(
    job: Job,
    source: Path,
    progress: StepProgress,
    settings: LibrarySettings,
    connect: Connect = connect_service,
) -> list[MadeFile]:
    """All three steps, one range after the other.

    Raises:
        As the steps.
    """
    plan = plan_file(source, job.source_key, settings.dub_range_s, progress.part(0, _PLANNED))
    parts: list[DubPartFile] = []
    share = (_DUBBED - _PLANNED) / len(plan.ranges)
    for one in plan.ranges:
        begin = _PLANNED + one.index * share
        part = source.parent / f"part-{one.index:05}.zip"
        _dub_one(job, source, one, part, progress.part(begin, begin + share), settings, connect)
        parts.append(DubPartFile(part))
    return _join(job, source, parts, progress.part(_DUBBED, 1), settings)


def _dub_one(
    job: Job,
    source: Path,
    one: DubRange,
    part: Path,
    progress: StepProgress,
    settings: LibrarySettings,
    connect: Connect,
) -> None:
    config = dub_config(f"job-{job.id}", one.index, _parameters(job), separate=settings.dub_separates)

    async def dub() -> PartSummary:
        sts = connect(settings)
        try:
            patient = PatientSts(sts)
            return await stoppable(
                dub_to_part(source, job.source_key, one, config, patient, part, progress), progress
            )
        finally:
            await sts.aclose()

    # Where nothing of a range can be dubbed, nothing of the others could.
    refuse_too_many_failures([asyncio.run(dub())], allowed_percent=99, least=_ENOUGH_FAILURES)


def _join(
    job: Job, source: Path, parts: Sequence[DubPartFile], progress: StepProgress, settings: LibrarySettings
) -> list[MadeFile]:
    parameters = _parameters(job)
    refuse_too_many_failures((part.summary for part in parts), settings.dub_failed_percent)
    key = PurePosixPath(job.output_key)
    target = source.parent / f"target{key.suffix.lower()}"
    config = dub_config(f"job-{job.id}", 0, parameters, separate=settings.dub_separates)
    asyncio.run(join_to_file(source, parts, target, config, progress))
    made: list[MadeFile] = []
    for number, language in enumerate(it.language for it in parameters.targets if parameters.subtitles):
        text = source.parent / f"{number:02}.vtt"
        text.write_text(subtitles(parts, number), encoding="utf-8")
        # Players look for subtitles under the film's own name; there is room for one language.
        suffix = ".vtt" if len(parameters.targets) == 1 else f".{language}.vtt"
        made.append(MadeFile(text, str(key.with_suffix(suffix)), language))
    return [*made, MadeFile(target, job.output_key)]


def _part_key(job: Job, one: DubRange) -> str:
    return f"{part_prefix(job)}{one.index:05}.zip"


def _parameters(job: Job) -> DubParameters:
    if not isinstance(job.parameters, DubParameters):
        raise LibraryError(
            LibraryErrorCode.INVALID_REQUEST, f"Job {job.id} dubs nothing.", "Create a job of kind dub."
        )
    return job.parameters
