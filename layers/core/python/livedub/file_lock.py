"""One process at a time: a lock on a file that the kernel lets go however its holder ends (flock(2))."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from livedub.errors import LivedubError

_LOOK_EVERY_S = 0.05


@contextmanager
def exclusive(path: Path, *, patience_s: float, refusal: LivedubError, mode: int = 0o600) -> Generator[None]:
    """Hold the lock on `path` for the block, waiting for whoever holds it.

    Threads of one process shut each other out as well. The file is made where there is none and stays: one that is
    removed would let two holders in, each with a file of its own.

    Args:
        path: of the lock, in a folder that is there.
        patience_s: how long to wait.
        refusal: raised when it is still held then.
        mode: of the file where it is made.

    Raises:
        LivedubError: `refusal`.
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        deadline_s = time.monotonic() + patience_s
        while not _locked(descriptor):
            if time.monotonic() >= deadline_s:
                raise refusal
            time.sleep(_LOOK_EVERY_S)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
