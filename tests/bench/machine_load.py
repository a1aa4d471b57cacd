"""The machine that a benchmark runs on, and what else runs on it."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path


def machine() -> dict[str, object]:
    """Where it was measured, and how busy that was."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model.group(1) if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def cpu_seconds() -> float:
    """CPU time of this process and of the programs it has run and waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def busy_seconds() -> float:
    """CPU time of everything on this machine since it started, proc(5): all but idle and iowait."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


class Bystanders:
    """How much of the machine others used meanwhile: more than a little of it, and wall times say nothing."""

    def __init__(self) -> None:
        self._started_s, self._busy_s, self._own_s = time.perf_counter(), busy_seconds(), cpu_seconds()

    @property
    def cores(self) -> float:
        elapsed_s = time.perf_counter() - self._started_s
        others_s = (busy_seconds() - self._busy_s) - (cpu_seconds() - self._own_s)
        return round(max(0.0, others_s / elapsed_s), 2)
