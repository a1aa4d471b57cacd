"""A job's own folder for temporary files: there is room in it or the job says so, and nothing of it stays behind.

A worker that is killed cannot clean up. So each folder holds a lock for as long as its process lives, and whoever
opens the next workspace removes those whose lock is free.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from livedub.library.transfers import disk_errors

logger = logging.getLogger(__name__)

_PREFIX = "livedub-job-"
_LOCK = "lock"


@contextmanager
def workspace(parent: Path | None) -> Generator[Path]:
    """An empty folder below `parent` (None: the system's folder for temporary files), gone when the block ends.

    Raises:
        DiskFullError: the disk was full, at the start or within the block.
    """
    place = Path(tempfile.gettempdir()) if parent is None else parent
    with disk_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        sweep_abandoned(place)
        folder, lock = _locked_folder(place)
        try:
            files = folder / "files"
            files.mkdir()
            yield files
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def sweep_abandoned(place: Path) -> int:
    """Remove the workspaces in `place` whose process is gone; returns how many."""
    swept = 0
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
    if swept:
        logger.warning("Removed %d workspaces of jobs whose worker had died in %s.", swept, place)
    return swept


def _locked_folder(place: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock. It takes its name when it is locked: no sweep comes between."""
    made = Path(tempfile.mkdtemp(prefix="livedub-new-", dir=place))
    try:
        descriptor = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = made.with_name(made.name.replace("livedub-new-", _PREFIX))
        return made.rename(folder), descriptor
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _abandoned(folder: Path) -> bool:
    """Whether nobody holds the lock."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
