"""A service that lives through what engines and callers do to it: nothing lost, doubled, swapped or leaked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rig import REPOSITORY
from tests.prove.sts_soak import IN_FLIGHT, STREAMS

MINUTES = float(os.environ.get("LIVEDUB_SOAK_MINUTES", "10"))
SHORT_S = 20.0
TROUBLE = ("poison", "crash", "out_of_memory", "stall", "long_stall")
MOST_THREADS = 24
MOST_DESCRIPTORS = 2 * STREAMS * IN_FLIGHT + 24
"""Both ends of every connection that the callers may need, and some that are just closing."""


def soaked(seconds: float, log: Path) -> dict[str, Any]:
    """The figures of a soak in a process of its own, which ends with this one."""
    sources = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "layers/core/python")])
    with log.open("wb") as errors:
        done = subprocess.run(
            [
                "setpriv",
                "--pdeathsig",
                "KILL",
                "--",
                sys.executable,
                "-m",
                "tests.prove.sts_soak",
                str(seconds),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": sources},
            check=False,
            stdout=subprocess.PIPE,
            stderr=errors,
            timeout=seconds + 120,
        )
    assert done.returncode == 0, log.read_text(errors="replace")[-4_000:]
    return json.loads(done.stdout)


def holds(figures: dict[str, Any], *, growth_mb: float, dubbed: float) -> None:
    assert figures["wrong"] == []
    outcomes = figures["outcomes"]
    assert sum(outcomes.values()) == figures["fragments"]
    assert outcomes["success"] > figures["fragments"] * dubbed
    assert outcomes["left"] > 0
    assert sum(figures["trouble"].values()) >= 10
    assert figures["memory"]["growth_mb"] < growth_mb
    for counted, most in (("threads", MOST_THREADS), ("descriptors", MOST_DESCRIPTORS)):
        seen = figures[counted]
        assert seen["most_in_the_last_quarter"] <= seen["before"] + most, counted
        assert seen["after"] <= seen["before"] + 4, counted


@pytest.mark.slow
def test_it_lives_through_seconds_of_trouble(tmp_path: Path):
    holds(soaked(SHORT_S, tmp_path / "log"), growth_mb=16, dubbed=0.5)


@pytest.mark.prove
@pytest.mark.timeout(MINUTES * 60 + 300)
def test_it_lives_through_minutes_of_trouble(keep: Callable[[str, dict[str, Any]], None], tmp_path: Path):
    figures = soaked(MINUTES * 60, tmp_path / "log")
    keep("sts_soak", figures)
    holds(figures, growth_mb=8, dubbed=0.7)
    assert all(figures["trouble"][kind] > 0 for kind in TROUBLE), figures["trouble"]
