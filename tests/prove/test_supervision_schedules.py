"""A hundred thousand schedules of supervision, none of which may break a promise."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.supervision.simulation.schedule import Result, digest, run_schedule

SCHEDULES = 100_000
FIRST_SEED = 1_000_000
"""Other seeds than those of `make test`."""
_CHUNK = 500


def run_chunk(first: int) -> list[Result]:
    return [run_schedule(seed) for seed in range(first, first + _CHUNK)]


@pytest.mark.prove
@pytest.mark.timeout(1_800)
def test_a_hundred_thousand_schedules(keep: Callable[[str, dict[str, Any]], None]):
    started_s = time.monotonic()
    chunks = range(FIRST_SEED, FIRST_SEED + SCHEDULES, _CHUNK)
    results: list[Result] = []
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for chunk in pool.imap(run_chunk, chunks):
            results += chunk
    settled_ms = sorted(result.settled_ms for result in results)
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.counts)
        counts.update(f"stream at rest: {reason or 'running'}" for reason in result.reasons)
    broken = [result for result in results if result.violations]
    keep(
        "supervision_schedules",
        {
            "schedules": len(results),
            "violations": len(broken),
            "first_seed": FIRST_SEED,
            "digest": digest(results),
            "simulated_events": sum(result.events for result in results),
            "seconds": round(time.monotonic() - started_s, 1),
            "settled_ms": {
                "p50": settled_ms[len(settled_ms) // 2],
                "p99": settled_ms[len(settled_ms) * 99 // 100],
                "max": settled_ms[-1],
            },
            "counts": dict(sorted(counts.items())),
        },
    )
    assert [(result.seed, result.violations) for result in broken] == []
    assert len(results) == SCHEDULES
