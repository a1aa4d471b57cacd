"""The bars of scans; the figures go to build/bench/library_scan.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import bench_library_scan

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_500)]

KEYS = bench_library_scan.KEYS
READ = KEYS // 10
"""Files that the first scan reads; it would read all, so the time of a repeated one is a smaller part of it still."""
MEMORY_BAR_MB = 200
TIME_BAR = 0.25
RESULT_PATH = Path(__file__).resolve().parents[2] / "build/bench/library_scan.json"


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    result = bench_library_scan.measure(KEYS, READ)
    RESULT_PATH.parent.mkdir(parents=True, exist_ok=True)
    RESULT_PATH.write_text(json.dumps(result, indent=2) + "\n")
    return result


def test_a_first_scan_finds_all(figures: dict[str, Any]):
    assert figures["first_register"]["registered"] == KEYS
    assert figures["ready"] == READ


def test_a_scan_needs_little_memory(figures: dict[str, Any]):
    assert figures["memory_mb"] < MEMORY_BAR_MB


def test_a_repeated_scan_touches_no_row(figures: dict[str, Any]):
    assert not figures["repeated_touched_rows"]
    assert all(one["skipped"] == KEYS for one in figures["repeated"])


def test_a_repeated_scan_takes_a_fraction_of_the_first(figures: dict[str, Any]):
    assert figures["repeated_over_first"] <= TIME_BAR
