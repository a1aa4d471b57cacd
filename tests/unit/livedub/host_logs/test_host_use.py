"""What is said of disks and memory."""

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from livedub.host_logs.host_use import (
    HostName,
    HostUse,
    measure,
    use_event,
    used_memory_percent,
    volume_percent,
)

NAME = HostName("i-1", "worker-host", "livedub/prod")
COUNTS = st.integers(0, 2**50)


def found(
    *, blocks: int = 0, free: int = 0, available: int = 0, files: int = 0, files_free: int = 0
) -> os.statvfs_result:
    return os.statvfs_result((4_096, 4_096, blocks, free, available, files, files_free, files_free, 0, 255))


def test_room_is_counted_as_df_counts_it():
    assert volume_percent(found(blocks=100, free=30, available=20)) == 77.8


def test_a_volume_without_files_left_is_full():
    assert volume_percent(found(blocks=100, free=90, available=90, files=50, files_free=1)) == 98.0


def test_a_volume_that_counts_no_files_is_judged_by_room():
    assert volume_percent(found(blocks=100, free=50, available=50)) == 50.0


def test_caches_are_no_used_memory():
    meminfo = "MemTotal:        1000 kB\nMemFree:          10 kB\nMemAvailable:     400 kB\nHugePages_Total:       0\n"
    assert used_memory_percent(meminfo) == 60.0
    assert used_memory_percent("") == 0.0


@given(COUNTS, COUNTS, st.floats(0, 1), COUNTS, st.floats(0, 1))
def test_a_percentage_is_one(blocks: int, used: int, portion: float, files: int, taken: float):
    free = max(0, blocks - used)
    percent = volume_percent(
        found(
            blocks=blocks,
            free=free,
            available=int(free * portion),
            files=files,
            files_free=int(files * taken),
        )
    )
    assert 0 <= percent <= 100


def test_this_machine_can_be_looked_at(tmp_path: Path):
    use = measure([tmp_path / "not-there", tmp_path])
    assert use.fullest == str(tmp_path)
    assert 0 < use.memory_percent <= 100
    nothing = measure([], meminfo=tmp_path / "not-there")
    assert nothing == HostUse(0.0, "", 0.0)


def test_the_event_is_one_that_cloudwatch_makes_metrics_of():
    event = use_event(
        HostUse(80.5, "/var", 40.0), NAME, timestamp_ms=1_795_317_005_796, unit="livedub-logs.service"
    )
    said = json.loads(event.message)
    assert said["_aws"]["Timestamp"] == event.timestamp_ms == 1_795_317_005_796
    (directive,) = said["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "livedub/prod"
    assert directive["Dimensions"] == [["service"]]
    assert {each["Name"]: said[each["Name"]] for each in directive["Metrics"]} == {
        "DiskUsedPercent": 80.5,
        "MemoryUsedPercent": 40.0,
    }
    assert (said["service"], said["host"], said["fullest_volume"]) == ("worker-host", "i-1", "/var")
