"""The bar of the library's transfers; the figures go to build/bench/library_transfer.json."""

import json
from pathlib import Path

import pytest

from livedub.errors import MissingPrerequisiteError
from tests.bench import bench_library_transfer

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

RATIO_BAR = 0.9
RESULT_PATH = Path(__file__).resolve().parents[2] / "build/bench/library_transfer.json"


def test_a_gigabyte_moves_as_fast_as_with_the_aws_cli():
    try:
        figures = bench_library_transfer.measure()
    except MissingPrerequisiteError as missing:
        pytest.skip(str(missing))
    RESULT_PATH.parent.mkdir(parents=True, exist_ok=True)
    RESULT_PATH.write_text(json.dumps(figures, indent=2) + "\n")
    assert min(figures["own_over_aws_median"].values()) >= RATIO_BAR, figures
