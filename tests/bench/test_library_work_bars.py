"""The bars of the library's work; the figures go to build/bench/library_work.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import bench_library_work

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

CANCEL_BAR_MS = 2_000
RESULT_PATH = Path(__file__).resolve().parents[2] / "build/bench/library_work.json"


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    result = bench_library_work.measure()
    RESULT_PATH.parent.mkdir(parents=True, exist_ok=True)
    RESULT_PATH.write_text(json.dumps(result, indent=2) + "\n")
    return result


def test_a_cancelled_encoding_is_gone_in_time_and_leaves_nothing(figures: dict[str, Any]):
    assert figures["cancel_ms"]["runs"] == bench_library_work.CANCELS
    assert figures["cancel_ms"]["worst"] < CANCEL_BAR_MS
    assert figures["left_behind"] == 0


def test_an_exact_cut_has_its_frames_and_samples(figures: dict[str, Any]):
    exact = figures["exact_trim"]
    assert exact["frames"] == exact["frames_expected"]
    assert exact["samples"] == exact["samples_expected"]
