"""A child that must not outlive whoever started it."""

from __future__ import annotations

import ctypes
import os
import signal

from livedub.errors import LivedubError

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process a signal when its parent ends (prctl(2), PR_SET_PDEATHSIG; Linux only).

    Raises:
        LivedubError: the kernel refuses.
    """
    parent_pid = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise LivedubError(f"prctl failed: {os.strerror(ctypes.get_errno())}.")
    if os.getppid() != parent_pid:  # it ended in between
        raise SystemExit(0)
