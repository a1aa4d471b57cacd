"""What a host does for each step of the state machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from livedub.library.job_kit import JobKit
from livedub.library.job_names import parts_prefix
from livedub.library.job_steps import dub_one_range, join_job, split_job, whole_job_end
from livedub.library.types import Job, JobOutput
from livedub.library.work.dub_fan_out import DubPlan, DubRange, dub_range, join_parts, plan_dub
from livedub.library.work.work_ports import JobProgress
from livedub.library.work_item import StepEnd, WorkItem, WorkStep

Beat = Callable[[], bool]
_Step = Callable[[WorkItem, JobKit, str, Beat], StepEnd]


def run_step(item: WorkItem, kit: JobKit, delivery: str, beat: Beat) -> StepEnd:
    """Do the step; the answer for the state machine.

    Args:
        item: what is to be done.
        kit: catalogue and storage.
        delivery: names the task; the same one again says that the host that had it is dead.
        beat: called every LIBRARY_JOB_BEAT_S.

    Raises:
        StepFailedError: it failed, or must be tried again.
        LibraryError: the catalogue cannot be asked.
    """
    return _STEPS[item.step](item, kit, delivery, beat)


def _whole(item: WorkItem, kit: JobKit, delivery: str, beat: Beat) -> StepEnd:
    return whole_job_end(kit.attempt(item.job_id, delivery, beat))


def _split(item: WorkItem, kit: JobKit, delivery: str, beat: Beat) -> StepEnd:
    def plan_of(job: Job, progress: JobProgress) -> dict[str, Any]:
        return plan_dub(job, kit.storage, progress, kit.settings).model_dump(mode="json")

    return split_job(item.job_id, delivery, plan_of, kit.jobs, kit.patience, beat)


def _range(item: WorkItem, kit: JobKit, _delivery: str, beat: Beat) -> StepEnd:
    wanted = DubRange.model_validate(item.dub_range)

    def dub(job: Job, progress: JobProgress) -> float:
        dub_range(job, wanted, kit.storage, progress, kit.settings)
        parts = kit.storage.list_objects(kit.settings.bucket_out, parts_prefix(job.id))
        return min(1.0, sum(1 for _ in parts) / max(1, item.range_count))

    return dub_one_range(item.job_id, item.attempt, dub, kit.jobs, kit.patience, beat)


def _join(item: WorkItem, kit: JobKit, _delivery: str, beat: Beat) -> StepEnd:
    plan = DubPlan.model_validate(item.plan)

    def join(job: Job, progress: JobProgress) -> Sequence[JobOutput]:
        return join_parts(job, plan, kit.storage, progress, kit.settings)

    end = join_job(item.job_id, item.attempt, join, kit.jobs, kit.patience, beat)
    # Only now: a host that takes over from a dead one needs them.
    kit.storage.delete_prefix(kit.settings.bucket_out, parts_prefix(item.job_id))
    return end


_STEPS: Mapping[WorkStep, _Step] = {
    WorkStep.JOB: _whole,
    WorkStep.SPLIT: _split,
    WorkStep.RANGE: _range,
    WorkStep.JOIN: _join,
}
