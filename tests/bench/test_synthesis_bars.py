"""The bar of the CDK app; the figures go to build/bench/synthesis.json."""

from __future__ import annotations

import pytest

from livedub.errors import MissingPrerequisiteError
from tests.bench import bench_synthesis
from tests.bench.bars import kept, meets

pytestmark = [pytest.mark.bench, pytest.mark.timeout(700)]

SECOND_RUN_BAR_S = 30


def test_every_stack_is_synthesized_again_in_under_30_s():
    try:
        bench_synthesis.check_built()
    except MissingPrerequisiteError as error:
        pytest.skip(str(error))
    report = kept("synthesis", bench_synthesis.measure)
    assert report["second"]["stacks"] == 8
    meets(report["second"]["wall_s"] < SECOND_RUN_BAR_S, report["second"]["others_cores"])
