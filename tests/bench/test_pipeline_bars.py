"""The bars of the pipeline itself; the figures go to build/bench/pipeline_*.json and refusals.json."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench import (
    bench_pipeline_batching,
    bench_pipeline_overhead,
    bench_pipeline_overlap,
    bench_refusals,
)
from tests.bench.bars import kept, meets

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def overhead() -> dict[str, Any]:
    return kept("pipeline_overhead", bench_pipeline_overhead.measure)


@pytest.fixture(scope="module")
def batching() -> dict[str, Any]:
    return kept("pipeline_batching", bench_pipeline_batching.measure)


@pytest.fixture(scope="module")
def refusals() -> dict[str, Any]:
    return kept("refusals", bench_refusals.measure)


@pytest.mark.parametrize("streams", bench_pipeline_overhead.STREAMS)
def test_a_fragment_costs_less_than_5_ms_beside_its_engines(overhead: dict[str, Any], streams: int):
    level = next(level for level in overhead["levels"] if level["streams"] == streams)
    meets(level["overhead_ms"]["p95"] < 5, level["cores_used_by_others"])


def test_batches_carry_six_times_the_fragments(batching: dict[str, Any]):
    meets(batching["gain"] >= 6, batching["batched"]["cores_used_by_others"])


def test_batches_keep_every_deadline(batching: dict[str, Any]):
    meets(batching["batched"]["failed"] == 0, batching["batched"]["cores_used_by_others"])


def test_every_refusal_comes_within_50_ms(refusals: dict[str, Any]):
    meets(refusals["slowest"][0]["median_ms"] < 50, refusals["cores_used_by_others"])


@pytest.mark.models
def test_overlapping_stages_gain_a_quarter():
    """With a thread per engine. Engines that take every core for themselves leave nothing to overlap on."""
    report = kept("pipeline_overlap", bench_pipeline_overlap.measure)
    row = next(row for row in report["rows"] if row["threads_per_engine"] == 1)
    others = max(way["cores_used_by_others"] for way in (row["one_after_another"], row["overlapped"]))
    meets(row["gain"] >= 1.25, others)
