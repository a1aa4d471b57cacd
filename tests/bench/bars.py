"""What the bars share: figures are kept, and times that others spoilt are not judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

QUIET_CORES = 0.25
RESULTS = Path(__file__).resolve().parents[2] / "build/bench"


def kept(name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure, and keep the report as build/bench/<name>.json."""
    report = measure()
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def meets(bar: bool, others: float) -> None:
    """Fail where a bar is missed, skip where it is missed while other programs used `others` cores."""
    if not bar and others > QUIET_CORES:
        pytest.skip(f"other programs used {others} cores meanwhile: times say nothing")
    assert bar
