"""How full a host's disks and memory are, as an event of which CloudWatch makes metrics.

Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from livedub.host_logs.log_event import LogEvent

DISK, MEMORY = "DiskUsedPercent", "MemoryUsedPercent"
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class HostUse:
    """Of one host, at one moment.

    Attributes:
        disk_percent: of its fullest volume, by room or by files, whichever is scarcer.
        fullest: where that volume is mounted; empty where none could be looked at.
        memory_percent: what no program could get any more.
    """

    disk_percent: float
    fullest: str
    memory_percent: float


@dataclass(frozen=True, slots=True)
class HostName:
    """Whose metrics these are.

    Attributes:
        host: instance id.
        service: what hosts of its kind are called, such as `worker-host`: the one dimension, so that hosts that come and go
            make no metrics of their own.
        namespace: of the environment.
    """

    host: str
    service: str
    namespace: str


def measure(volumes: Iterable[Path], *, meminfo: Path = _MEMINFO) -> HostUse:
    """Look at this host. What cannot be looked at counts as empty."""
    disk_percent, fullest = 0.0, ""
    for volume in volumes:
        try:
            percent = volume_percent(os.statvfs(volume))
        except OSError:
            continue
        if percent >= disk_percent:
            disk_percent, fullest = percent, str(volume)
    try:
        memory_percent = used_memory_percent(meminfo.read_text(encoding="ascii", errors="replace"))
    except OSError:
        memory_percent = 0.0
    return HostUse(disk_percent, fullest, memory_percent)


def volume_percent(found: os.statvfs_result) -> float:
    """How full a volume is for who is not root, as df says it, by room or by files."""
    used = found.f_blocks - found.f_bfree
    files = found.f_files - found.f_ffree
    return max(_percent(used, used + found.f_bavail), _percent(files, files + found.f_favail))


def used_memory_percent(meminfo: str) -> float:
    """Of all memory, what the kernel could not give to a program any more: caches do not count."""
    sizes = {name: int(kb) for name, kb in re.findall(r"^(\w+):\s+(\d+) kB$", meminfo, re.MULTILINE)}
    total = sizes.get("MemTotal", 0)
    return _percent(total - sizes.get("MemAvailable", total), total)


def use_event(use: HostUse, name: HostName, *, timestamp_ms: int, unit: str) -> LogEvent:
    """The event that CloudWatch makes both metrics of."""
    metrics = [{"Name": metric, "Unit": "Percent"} for metric in (DISK, MEMORY)]
    directive = {"Namespace": name.namespace, "Dimensions": [["service"]], "Metrics": metrics}
    said = {
        "_aws": {"Timestamp": timestamp_ms, "CloudWatchMetrics": [directive]},
        "service": name.service,
        "host": name.host,
        "unit": unit,
        "level": "info",
        "fullest_volume": use.fullest,
        DISK: use.disk_percent,
        MEMORY: use.memory_percent,
    }
    return LogEvent.of(timestamp_ms, json.dumps(said))


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole > 0 else 0.0
