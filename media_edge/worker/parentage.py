"""Dying with the parent (Linux): a supervisor that is killed leaves no worker behind."""

from __future__ import annotations

import ctypes
import os
import signal

from livedub.errors import LivedubError

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int | None = None) -> None:
    """Ask the kernel to send this process SIGKILL when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    Args:
        parent_pid: the parent expected; where it is gone already, the process ends at once.

    Raises:
        LivedubError: the kernel refuses.
    """
    expected = os.getppid() if parent_pid is None else parent_pid
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise LivedubError(f"prctl failed: {os.strerror(ctypes.get_errno())}.")
    if os.getppid() != expected:
        os.kill(os.getpid(), signal.SIGKILL)
