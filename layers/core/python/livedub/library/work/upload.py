"""Stores what a job made."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from livedub.library.library_errors import LibraryError
from livedub.library.media_types import content_type_of
from livedub.library.types import JobOutput
from livedub.library.work.made_file import MadeFile
from livedub.library.work.step_progress import StepProgress
from livedub.library.work.work_ports import JobCancelledError, WorkStorage

logger = logging.getLogger(__name__)

_HASHED_BLOCK_BYTES = 1 << 20


def upload_made(
    made: Sequence[MadeFile], storage: WorkStorage, bucket: str, progress: StepProgress
) -> tuple[JobOutput, ...]:
    """Store files in their order; a cancellation takes away again what was stored by then.

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
        for output in stored:
            _take_away(storage, bucket, output.key)
        raise
    return tuple(stored)


def _take_away(storage: WorkStorage, bucket: str, key: str) -> None:
    try:
        storage.delete_object(bucket, key)
    except LibraryError as error:
        logger.warning("%s/%s of a cancelled job stays: %s", bucket, key, error)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASHED_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
