"""Dying with the parent (Linux): whoever is killed leaves no child behind."""

from __future__ import annotations

import ctypes
import os
import signal

from livedub.errors import LivedubError

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals = signal.SIGKILL, *, parent_pid: int | None = None) -> None:
    """Have the kernel send this process a signal when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    It comes when the thread that started this process ends; programs that change their user lose it.

    Args:
        number: the signal; SIGTERM for what has something to put in order.
        parent_pid: the parent expected. Where it is gone already, the signal comes at once.

    Raises:
        LivedubError: the kernel refuses.
    """
    expected = os.getppid() if parent_pid is None else parent_pid
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise LivedubError(f"prctl failed: {os.strerror(ctypes.get_errno())}.")
    if os.getppid() != expected:
        os.kill(os.getpid(), number)
